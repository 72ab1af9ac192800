"""The math verifier against answers that others labelled: wrong ones must never pass, right ones are counted."""

from __future__ import annotations

import json
import os
import threading
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from rlsp.evaluation.grading import Graded, grade
from rlsp.rollouts import foreign
from rlsp.types import Problem, Reason, Verdict
from rlsp.verifiers import pool, verify_all
from rlsp.verifiers.settings import Settings
from tests.corpora.adversarial import Pair, pairs
from tests.corpora.torture import references, torture
from tests.corpora.variants import benchmark_references, variants

LABELS = Path(__file__).parent / "corpora" / "math500"
KNOWN_MISSES = 5
"""Right answers of the adversarial corpus that are turned down; docs/verifiers.md lists them."""


def judged(references: Sequence[str], answers: Sequence[str], deadline: float = 30.0) -> list[Verdict]:
    problems = [Problem(str(number), "math", "What?", reference) for number, reference in enumerate(references)]
    boxed = [f"\\boxed{{{answer}}}" for answer in answers]
    return verify_all(problems, boxed, Settings(deadline_seconds=deadline))


@pytest.fixture(scope="module")
def adversarial() -> list[tuple[Pair, Verdict]]:
    every = pairs()
    verdicts = judged([pair.reference for pair in every], [pair.answer for pair in every])
    return list(zip(every, verdicts, strict=True))


def test_no_wrong_answer_passes(adversarial: list[tuple[Pair, Verdict]]) -> None:
    wrong = [(pair, verdict) for pair, verdict in adversarial if not pair.correct]
    assert len(wrong) >= 1800
    assert [(pair.reference, pair.answer) for pair, verdict in wrong if verdict.correct] == []
    assert [pair.answer for pair, verdict in adversarial if verdict.reason.unjudged] == []


def test_few_right_answers_are_missed(adversarial: list[tuple[Pair, Verdict]]) -> None:
    right = [(pair, verdict) for pair, verdict in adversarial if pair.correct]
    assert len(right) >= 800
    missed = [(pair.reference, pair.answer) for pair, verdict in right if not verdict.correct]
    assert len(missed) == KNOWN_MISSES, missed


@pytest.mark.parametrize("name", ["math500", "aime24", "aime_1983_2023", "amc23", "gsm8k_test"])
def test_references_equal_themselves_however_they_are_written(shared_data: Path, name: str) -> None:
    """Each reference and at least five other spellings of it."""
    written = benchmark_references(shared_data)[name]
    asked = [(reference, text) for reference in written for text in (reference, *(t for _, t in variants(reference)))]
    assert len(asked) >= 6 * len(written)
    verdicts = judged([reference for reference, _ in asked], [text for _, text in asked])
    missed = [pair for pair, verdict in zip(asked, verdicts, strict=True) if not verdict.correct]
    assert missed == []


@pytest.fixture(scope="module", params=["base", "rlsp-length"])
def labelled(request: pytest.FixtureRequest, shared_data: Path) -> list[tuple[dict[str, object], Graded]]:
    """(label made by reading, our lenient verdict) of real responses to MATH-500."""
    file = shared_data / "math500_rollouts" / f"qwen2.5-1.5b-instruct.{request.param}.jsonl"
    labels = [json.loads(line) for line in (LABELS / f"{request.param}.jsonl").read_text().splitlines()]
    graded = grade(foreign.read(file), Settings(extraction="lenient"))
    assert len(graded) == 500
    return list(zip(labels, graded, strict=True))


def test_no_response_that_a_reader_calls_wrong_passes(labelled: list[tuple[dict[str, object], Graded]]) -> None:
    assert [label["idx"] for label, graded in labelled if graded.correct and not label["correct"]] == []


def test_readers_side_with_us_against_the_published_grader(labelled: list[tuple[dict[str, object], Graded]]) -> None:
    differing = [(label, graded) for label, graded in labelled if graded.correct != graded.published_correct]
    assert len(differing) >= 25
    lost = [label["idx"] for label, graded in differing if graded.correct != label["correct"]]
    assert len(lost) <= 0.025 * len(differing), lost


def test_torture_ends_in_time_and_leaves_the_pool_well(tmp_path: Path) -> None:
    canary, deadline = tmp_path / "canary", 1.0
    hostile, plain = torture(str(canary), 1000), references()
    started = time.monotonic()
    with PeakMemory() as peak:
        verdicts = judged([plain[number % len(plain)] for number in range(len(hostile))], hostile, deadline)
    assert time.monotonic() - started < len(hostile) / pool.shared().workers * deadline + 5
    assert (1 << 20) < peak.bytes < pool.shared().memory_bytes
    assert not canary.exists()
    assert not any(verdict.correct for verdict in verdicts)
    reasons = Counter(verdict.reason for verdict in verdicts)
    assert reasons[Reason.TOO_COMPLEX] > 100
    assert reasons[Reason.CRASHED] == reasons[Reason.OUT_OF_MEMORY] == 0
    assert all(verdict.detail for verdict in verdicts if verdict.reason.unjudged)
    assert all(verdict.correct for verdict in judged(plain, plain))


class PeakMemory:
    """The most bytes that any process below this one holds while it is open."""

    def __init__(self) -> None:
        self.bytes = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def _watch(self) -> None:
        while not self._stop.wait(0.05):
            self.bytes = max(self.bytes, *map(_peak_memory, _descendants(os.getpid())), 0)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def _descendants(root: int) -> list[int]:
    parents = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended since
        parents[int(entry.parent.name)] = int(fields[1])
    found = [root]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found[1:]


def _peak_memory(pid: int) -> int:
    """Bytes resident at most, 0 when the process has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM")), 0)

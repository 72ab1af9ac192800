"""Verdicts during sampling: the same as afterwards, begun before sampling ends, and no error is lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import pytest

from rlsp.rl import judging
from rlsp.rl.judging import Judge
from rlsp.types import Finish, Problem, Rollout, Verdict
from rlsp.verifiers import verify_all
from rlsp.verifiers.settings import STRICT, Settings

PROBLEMS = [Problem(id=f"p{number}", task="exact", question="?", answer=str(number)) for number in range(3)]


def rollout(problem: int, sample: int, text: str) -> Rollout:
    return Rollout(f"p{problem}", sample, (1,), (2, 3), (-0.1, -0.2), text, Finish.EOS, 1.0, 0)


ROLLOUTS = [rollout(problem, sample, f"Answer: {sample}") for problem in range(3) for sample in range(4)]


def test_verdicts_are_those_of_all_at_once_in_the_order_asked_for() -> None:
    with Judge(PROBLEMS, STRICT) as judge:
        for rollouts in (ROLLOUTS[5:7], ROLLOUTS[:5], ROLLOUTS[7:]):
            judge.see(rollouts)
        verdicts = judge.verdicts(ROLLOUTS)
    owners = [problem for problem in PROBLEMS for _ in range(4)]
    assert verdicts == verify_all(owners, [each.text for each in ROLLOUTS], STRICT)
    assert [verdict.correct for verdict in verdicts[:8]] == [True] + [False] * 4 + [True] + [False] * 2


def test_judging_begins_while_others_are_sampled(monkeypatch: pytest.MonkeyPatch) -> None:
    begun = threading.Event()

    def spy(problems: Sequence[Problem], texts: Sequence[str], settings: Settings) -> list[Verdict]:
        begun.set()
        return verify_all(problems, texts, settings)

    monkeypatch.setattr(judging, "verify_all", spy)
    with Judge(PROBLEMS, STRICT) as judge:
        judge.see(ROLLOUTS[:1])
        assert begun.wait(timeout=30), "sampling would still be going on here"
        judge.see(ROLLOUTS[1:])
        assert len(judge.verdicts(ROLLOUTS)) == 12


def test_what_waits_is_judged_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """While one round is judged, all that ends makes up the next."""
    sizes, goes_on = [], threading.Event()

    def slow(problems: Sequence[Problem], texts: Sequence[str], settings: Settings) -> list[Verdict]:
        sizes.append(len(texts))
        assert goes_on.wait(timeout=30)
        return verify_all(problems, texts, settings)

    monkeypatch.setattr(judging, "verify_all", slow)
    with Judge(PROBLEMS, STRICT) as judge:
        judge.see(ROLLOUTS[:1])
        while not sizes:
            time.sleep(0.01)
        for place in (1, 2, 3):
            judge.see(ROLLOUTS[place : place + 1])
        goes_on.set()
        assert len(judge.verdicts(ROLLOUTS[:4])) == 4
    assert sizes == [1, 3]


def test_a_verifier_that_breaks_is_heard() -> None:
    unknown = [Problem(id="p0", task="no-such-task", question="?", answer="0")]
    with pytest.raises(Exception, match="no verifier for task 'no-such-task'"), Judge(unknown, STRICT) as judge:
        judge.see(ROLLOUTS[:1])
        judge.verdicts(ROLLOUTS[:1])

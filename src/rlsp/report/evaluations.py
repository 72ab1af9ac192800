"""The evaluations of a run in the order a reader wants them, and the differences between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt

from rlsp.errors import InputError
from rlsp.evaluation.evaluate import Summary, place
from rlsp.evaluation.statistics import Interval
from rlsp.files import read_records
from rlsp.runs import Run
from rlsp.types import Score, from_json

BASE = "base"


@dataclass(frozen=True, slots=True)
class Difference:
    """Accuracy against another evaluation, as a share, with its 95 % interval. `paired`: the interval knows which
    problems both solved."""

    value: float
    interval: Interval
    paired: bool

    @property
    def clear(self) -> bool:
        return self.interval[0] > 0 or self.interval[1] < 0


def read_evaluations(run: Run) -> list[Summary]:
    """Base, self-consistency, SFT, RLSP, then the others in the order in which they were made."""
    found = []
    for name, values in run.evaluations().items():
        path = run.path("evaluation", f"{name}.json")
        summary = from_json(Summary, values, where=str(path))
        if summary.name != name:
            raise InputError(f"{path}: the summary of {summary.name!r:.80} stands here; put the right one back")
        found.append(summary)
    return sorted(found, key=lambda each: place(each.name))


def read_scores(run: Run, name: str) -> list[Score]:
    """The scores of one evaluation; empty when the run does not hold them."""
    path = run.path("evaluation", f"{name}.scores.jsonl.zst")
    return list(read_records(path, Score)) if path.is_file() else []


def compare(run: Run, base: Summary, other: Summary, others_run: Run | None = None) -> Difference:
    """Paired when both evaluations hold one score for each of the same problems, else as if independent. `others_run`:
    where `other` is from, if not from `run`."""
    before, after = _verdicts(run, base), _verdicts(others_run or run, other)
    paired = bool(before) and before.keys() == after.keys()
    return difference(base, other, _correlation(before, after) if paired else 0.0, paired)


def difference(base: Summary, other: Summary, correlation: float, paired: bool) -> Difference:
    """Newcombe's square-and-add interval (Statistics in Medicine 17, 1998, method 10) from the intervals of the two
    accuracies and the correlation φ of their outcomes."""
    value = other.accuracy - base.accuracy
    down, up = other.accuracy - other.interval[0], other.interval[1] - other.accuracy
    base_down, base_up = base.accuracy - base.interval[0], base.interval[1] - base.accuracy
    low = value - sqrt(max(0.0, down**2 - 2 * correlation * down * base_up + base_up**2))
    high = value + sqrt(max(0.0, up**2 - 2 * correlation * up * base_down + base_down**2))
    return Difference(value, (max(-1.0, low), min(1.0, high)), paired)


def _verdicts(run: Run, evaluation: Summary) -> dict[str, bool]:
    """Whether each problem was solved; empty unless there is exactly one score a problem."""
    scores = read_scores(run, evaluation.name)
    verdicts = {score.problem_id: score.verdict.correct for score in scores}
    return verdicts if len(verdicts) == len(scores) == evaluation.problems else {}


def _correlation(before: Mapping[str, bool], after: Mapping[str, bool]) -> float:
    """φ of the two-by-two table, with Newcombe's continuity correction when it is positive."""
    pairs = [(before[identity], after[identity]) for identity in before]
    both, lost = pairs.count((True, True)), pairs.count((True, False))
    gained, neither = pairs.count((False, True)), pairs.count((False, False))
    scale = sqrt((both + lost) * (gained + neither) * (both + gained) * (lost + neither))
    if not scale:
        return 0.0
    product = both * neither - lost * gained
    return (max(product - len(pairs) / 2, 0) if product > 0 else product) / scale

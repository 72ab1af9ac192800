"""One model on one benchmark, from the verdicts on its responses: every figure with its 95 % interval."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from rlsp.evaluation.grading import Graded
from rlsp.evaluation.resampling import mean_interval, ratio_interval
from rlsp.evaluation.statistics import Interval, clustered, pass_at_k
from rlsp.evaluation.votes import majority_at_k


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its interval; None: fewer than two problems, too few for one."""

    value: float
    interval: Interval | None

    @property
    def clear(self) -> bool:
        """Of a difference: whether its interval excludes 0."""
        return self.interval is not None and (self.interval[0] > 0 or self.interval[1] < 0)


@dataclass(frozen=True, slots=True)
class Row:
    """All problems, or those of one level. `accuracy` is avg@n: the mean over problems of the share of samples that
    are right; `length` is of all responses, `length_right` and `length_wrong` of those; None where nothing is known."""

    problems: int
    responses: int
    accuracy: Estimate
    length: Estimate | None
    length_right: Estimate | None
    length_wrong: Estimate | None
    truncated: Estimate | None


@dataclass(frozen=True, slots=True)
class Benchmark:
    """`samples` is the smallest number of samples of a problem: what bounds k. `length_unit` is tokens or, when the
    file that was graded has none, characters. `unjudged` names the responses that the verifier gave up on; they count
    as wrong. `by_level` is empty when there are no levels."""

    samples: int
    length_unit: str
    overall: Row
    pass_at: dict[int, Estimate]
    majority_at: dict[int, Estimate]
    reasons: dict[str, int]
    unjudged: list[str]
    by_level: dict[int, Row]


Problems = Mapping[str, Sequence[Graded]]
LengthUnit = Literal["tokens", "characters"]


def summarise(graded: Sequence[Graded], unit: LengthUnit | None = None) -> Benchmark:
    """The figures of all verdicts of one model.

    Args:
        unit: of lengths; None: tokens where every response's are known, else characters.

    Raises:
        ValueError: no verdicts.
    """
    problems = by_problem(graded)
    samples = min(map(len, problems.values()))
    ks = powers_of_two(samples)
    votes = [
        majority_at_k([each.answer for each in group], [each.correct for each in group], ks)
        for group in problems.values()
    ]
    in_tokens = unit == "tokens" or (unit is None and all(each.tokens is not None for each in graded))
    length: Callable[[Graded], int | None] = _tokens if in_tokens else _characters
    levels = sorted({each.level for each in graded})
    return Benchmark(
        samples=samples,
        length_unit="tokens" if in_tokens else "characters",
        overall=_row(problems, length),
        pass_at={
            k: _mean([pass_at_k(len(group), right(group), k) for group in problems.values()]) for k in ks if k > 1
        },
        majority_at={k: _mean([vote[index] for vote in votes]) for index, k in enumerate(ks) if k > 1},
        reasons=dict(Counter(str(each.reason) for each in graded).most_common()),
        unjudged=[
            f"{each.problem_id} sample {each.sample}: {each.reason}" + (f" ({each.detail})" if each.detail else "")
            for each in graded
            if each.reason.unjudged
        ],
        by_level={
            level: _row({key: group for key, group in problems.items() if group[0].level == level}, length)
            for level in levels
            if len(levels) > 1
        },
    )


def by_problem(graded: Sequence[Graded]) -> dict[str, list[Graded]]:
    """Each problem's verdicts, in the order in which problems first appear.

    Raises:
        ValueError: no verdicts.
    """
    if not graded:
        raise ValueError("no verdicts")
    groups: dict[str, list[Graded]] = {}
    for each in graded:
        groups.setdefault(each.problem_id, []).append(each)
    return groups


def right(group: Sequence[Graded]) -> int:
    """How many of a problem's samples are right."""
    return sum(each.correct for each in group)


def accuracy(problems: Problems) -> Estimate:
    """avg@n with its interval over problems; Wilson's for one sample each."""
    shares = [right(group) / len(group) for group in problems.values()]
    return Estimate(sum(shares) / len(shares), clustered(shares, sum(map(len, problems.values()))))


def powers_of_two(most: int) -> list[int]:
    """1, 2, 4 … up to `most`."""
    return [1 << power for power in range(most.bit_length())]


def _row(problems: Problems, length: Callable[[Graded], int | None]) -> Row:
    return Row(
        problems=len(problems),
        responses=sum(map(len, problems.values())),
        accuracy=accuracy(problems),
        length=_mean_length(problems, length, lambda each: True),
        length_right=_mean_length(problems, length, lambda each: each.correct),
        length_wrong=_mean_length(problems, length, lambda each: not each.correct),
        truncated=_truncated(problems),
    )


def _mean(values: Sequence[float]) -> Estimate:
    return Estimate(sum(values) / len(values), mean_interval(values))


def _mean_length(
    problems: Problems, length: Callable[[Graded], int | None], chosen: Callable[[Graded], bool]
) -> Estimate | None:
    """None when no response was chosen, or a length is unknown."""
    lengths = [[length(each) for each in group if chosen(each)] for group in problems.values()]
    known = [[each for each in group if each is not None] for group in lengths]
    counts = [len(group) for group in known]
    if known != lengths or not sum(counts):
        return None
    sums = [sum(group) for group in known]
    return Estimate(sum(sums) / sum(counts), ratio_interval(sums, counts))


def _truncated(problems: Problems) -> Estimate | None:
    """The share of responses that were cut off; None unless it is known of each."""
    if any(each.truncated is None for group in problems.values() for each in group):
        return None
    shares = [sum(bool(each.truncated) for each in group) / len(group) for group in problems.values()]
    return Estimate(sum(shares) / len(shares), clustered(shares, sum(map(len, problems.values()))))


def _tokens(graded: Graded) -> int | None:
    return graded.tokens


def _characters(graded: Graded) -> int | None:
    return graded.characters

"""How far two graders agree, and how often each is wrong: counts, shares and their 95 % intervals.

With labels the error rates are measured. Without labels they are only bounded; nothing is guessed in between.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from rlsp.evaluation.audit import Item
from rlsp.evaluation.statistics import Interval, pooled


@dataclass(frozen=True, slots=True)
class Table:
    """What two judges took for right. `kappa` is Cohen's, None where chance alone explains everything: both gave
    everything the same verdict."""

    both_right: int
    first_only: int
    second_only: int
    both_wrong: int
    kappa: float | None
    kappa_interval: Interval | None


@dataclass(frozen=True, slots=True)
class Rate:
    """`count` among `among` responses; no interval where there are none."""

    count: int
    among: int
    interval: Interval | None


@dataclass(frozen=True, slots=True)
class Errors:
    """A grader's false positives among wrong responses, and false negatives among right ones."""

    false_positives: Rate
    false_negatives: Rate


def table(items: Sequence[Item]) -> Table:
    """Both graders' verdicts on the items. Raises ValueError without any."""
    return two_by_two([(item.problem.id, first_accepts(item), second_accepts(item)) for item in items])


def two_by_two(judged: Sequence[tuple[str, bool, bool]]) -> Table:
    """The 2 × 2 table of (problem id, what the first says, what the second says), and Cohen's κ = 1 − d / e (Cohen
    1960), d the share of disagreements and e that by chance, p₁(1−p₂) + p₂(1−p₁) with p the share that each accepts.
    Its interval is that of d with e held: 1 − [d] / e.

    Raises:
        ValueError: nothing was judged.
    """
    if not judged:
        raise ValueError("nothing was judged")
    counts = Counter((first, second) for _, first, second in judged)
    both, neither = counts[True, True], counts[False, False]
    first_only, second_only = counts[True, False], counts[False, True]
    first, second = (both + first_only) / len(judged), (both + second_only) / len(judged)
    chance = first * (1 - second) + second * (1 - first)
    kappa, interval = None, None
    if chance:
        low, high = _pooled((problem, mine != yours) for problem, mine, yours in judged)
        kappa = 1 - (first_only + second_only) / len(judged) / chance
        interval = max(-1.0, 1 - high / chance), 1 - low / chance
    return Table(both, first_only, second_only, neither, kappa, interval)


def measured(items: Sequence[Item]) -> tuple[Errors, Errors]:
    """Both graders' errors against the labels; where both graders agree and there is no label, against their verdict.

    Raises:
        ValueError: a disagreement without a label.
    """
    if any(item.disagreement and item.label is None for item in items):
        raise ValueError("a disagreement without a label")
    return errors(items, first_accepts, _is_right), errors(items, second_accepts, _is_right)


def bounds(items: Sequence[Item]) -> tuple[Errors, Errors]:
    """Each grader's errors if the other one is right in every case: where no response misleads both,
    none errs more often."""
    return errors(items, first_accepts, second_accepts), errors(items, second_accepts, first_accepts)


def errors(items: Sequence[Item], accepts: Callable[[Item], bool], is_right: Callable[[Item], bool]) -> Errors:
    """Errors of the grader that `accepts`: P(accepted | wrong), and P(rejected | right)."""
    return Errors(
        _rate([item for item in items if not is_right(item)], accepts),
        _rate([item for item in items if is_right(item)], lambda item: not accepts(item)),
    )


def first_accepts(item: Item) -> bool:
    return item.first.verdict.correct


def second_accepts(item: Item) -> bool:
    return item.second.verdict.correct


def _is_right(item: Item) -> bool:
    return first_accepts(item) if item.label is None else item.label


def _rate(items: Sequence[Item], wrongly: Callable[[Item], bool]) -> Rate:
    return Rate(sum(map(wrongly, items)), len(items), _interval(items, wrongly) if items else None)


def _interval(items: Sequence[Item], counted: Callable[[Item], bool]) -> Interval:
    return _pooled((item.problem.id, counted(item)) for item in items)


def _pooled(counted: Iterable[tuple[str, bool]]) -> Interval:
    """Samples of one problem are no independent trials."""
    problems: dict[str, list[bool]] = {}
    for problem, each in counted:
        problems.setdefault(problem, []).append(each)
    return pooled([sum(group) for group in problems.values()], [len(group) for group in problems.values()])

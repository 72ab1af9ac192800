"""How often behaviours are shown, and how that differs between two models on the same problems."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rlsp.evaluation.benchmark import Estimate
from rlsp.evaluation.resampling import mean_interval
from rlsp.evaluation.statistics import clustered

Counts = Mapping[str, int]
"""How often one response shows each behaviour; every response of a model names the same ones."""


@dataclass(frozen=True, slots=True)
class Rate:
    """`share` of the responses that show it at all, as the mean over problems; `count`: how often a response shows it,
    on average."""

    share: Estimate
    count: float


@dataclass(frozen=True, slots=True)
class Shift:
    """One behaviour in two models: `difference` is the second one's share less the first one's, paired by problem."""

    first: Rate
    second: Rate
    difference: Estimate

    @property
    def clear(self) -> bool:
        interval = self.difference.interval
        return interval is not None and (interval[0] > 0 or interval[1] < 0)


def rates(problems: Mapping[str, Sequence[Counts]]) -> dict[str, Rate]:
    """Each behaviour's rate over problems, with as many responses to each as there are.

    Raises:
        ValueError: no responses.
    """
    groups = list(problems.values())
    samples = sum(map(len, groups))
    if not samples:
        raise ValueError("no responses")
    found = {}
    for name in groups[0][0]:
        shares = [_share(group, name) for group in groups]
        count = sum(each[name] for group in groups for each in group) / samples
        found[name] = Rate(Estimate(sum(shares) / len(shares), clustered(shares, samples)), count)
    return found


def shifts(first: Mapping[str, Sequence[Counts]], second: Mapping[str, Sequence[Counts]]) -> dict[str, Shift]:
    """Each behaviour before and after, on the same problems; the interval is the bootstrap over problems.

    Raises:
        ValueError: not the same problems.
    """
    if first.keys() != second.keys():
        raise ValueError("the problems differ")
    before, after = rates(first), rates(second)
    found = {}
    for name in before:
        changes = [_share(second[problem], name) - _share(group, name) for problem, group in first.items()]
        difference = Estimate(sum(changes) / len(changes), mean_interval(changes, low=-1.0))
        found[name] = Shift(before[name], after[name], difference)
    return found


def _share(group: Sequence[Counts], name: str) -> float:
    return sum(each[name] > 0 for each in group) / len(group)

"""How often behaviours are shown, and how that differs between models on the same problems."""

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
class Shown:
    """One behaviour in one model or several: `changes` are the last one's share less that of each before it, paired by
    problem."""

    rates: list[Rate]
    changes: list[Estimate]


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


def shown(models: Sequence[Mapping[str, Sequence[Counts]]]) -> dict[str, Shown]:
    """Each behaviour in each model, on the same problems; the intervals of changes are the bootstrap over problems.

    Raises:
        ValueError: not the same problems.
    """
    *before, last = models
    if any(each.keys() != last.keys() for each in before):
        raise ValueError("the problems differ")
    of_each = [rates(each) for each in models]
    return {
        name: Shown([each[name] for each in of_each], [_change(each, last, name) for each in before])
        for name in of_each[-1]
    }


def _change(before: Mapping[str, Sequence[Counts]], after: Mapping[str, Sequence[Counts]], name: str) -> Estimate:
    changes = [_share(after[problem], name) - _share(group, name) for problem, group in before.items()]
    return Estimate(sum(changes) / len(changes), mean_interval(changes, low=-1.0))


def _share(group: Sequence[Counts], name: str) -> float:
    return sum(each[name] > 0 for each in group) / len(group)

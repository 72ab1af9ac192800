"""Two models on the same problems: the paired difference, and whether the data are enough to speak of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, comb, sqrt

from rlsp.errors import InputError
from rlsp.evaluation.benchmark import Estimate, accuracy, by_problem, right
from rlsp.evaluation.grading import Graded
from rlsp.evaluation.resampling import mean_interval, sign_flip
from rlsp.evaluation.statistics import Z

SIGNIFICANCE = 0.05
Z_POWER = 0.841621
"""80 % quantile of the normal distribution."""
FEWEST_DISCORDANT = 6
"""With fewer discordant problems McNemar's exact p can't fall below 0.05: 2 · 2⁻⁵ = 0.0625."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """Shares are between 0 and 1, differences are the second model's less the first's. `first_better` and
    `second_better` count the problems on which one has more samples right; for one sample each they are McNemar's
    discordant pairs. `p` is two-sided. `right` holds both counts of right responses for one sample each, else None.
    `needed` is about how many problems would show a difference of this size, None when there is none."""

    problems: int
    first: Estimate
    second: Estimate
    difference: Estimate
    first_better: int
    second_better: int
    p: float
    right: tuple[int, int] | None
    needed: int | None

    @property
    def clear(self) -> bool:
        return self.p < SIGNIFICANCE


def pair(
    first: Sequence[Graded],
    second: Sequence[Graded],
    common: bool = False,
    names: tuple[str, str] = ("the first file", "the second"),
) -> tuple[dict[str, list[Graded]], dict[str, list[Graded]]]:
    """Both models' verdicts by problem, the same problems in the same order.

    Args:
        common: leave out what only one of them was asked.
        names: what a reader calls the two.

    Raises:
        InputError: the problems differ, or none are the same.
    """
    mine, yours = by_problem(first), by_problem(second)
    shared = [problem for problem in mine if problem in yours]
    if not shared:
        raise InputError(
            f"no problem is in both files: {names[0]} holds {next(iter(mine))!r}, {names[1]} {next(iter(yours))!r}; "
            "compare the same problems under the same verifier"
        )
    if not common and not len(shared) == len(mine) == len(yours):
        only = next(problem for problem in (*mine, *yours) if problem not in mine or problem not in yours)
        raise InputError(
            f"the problems differ: {len(mine) - len(shared)} only in {names[0]}, {len(yours) - len(shared)} only "
            f"in {names[1]}, e.g. {only!r}; compare the {len(shared)} of both by --common"
        )
    return {problem: mine[problem] for problem in shared}, {problem: yours[problem] for problem in shared}


def compare(first: Mapping[str, Sequence[Graded]], second: Mapping[str, Sequence[Graded]]) -> Comparison:
    """The paired difference of two models.

    p is McNemar's exact test for one sample a problem, else the paired randomisation test over problems; the interval
    is the paired bootstrap over problems.

    Raises:
        ValueError: not the same problems.
    """
    if first.keys() != second.keys():
        raise ValueError("the problems differ")
    differences = [
        right(second[problem]) / len(second[problem]) - right(first[problem]) / len(first[problem]) for problem in first
    ]
    value = sum(differences) / len(differences)
    single = all(len(group) == 1 for each in (first, second) for group in each.values())
    lost, gained = sum(each < 0 for each in differences), sum(each > 0 for each in differences)
    return Comparison(
        problems=len(differences),
        first=accuracy(first),
        second=accuracy(second),
        difference=Estimate(value, mean_interval(differences, low=-1.0)),
        first_better=lost,
        second_better=gained,
        p=mcnemar(lost, gained) if single else sign_flip(differences),
        right=(sum(map(right, first.values())), sum(map(right, second.values()))) if single else None,
        needed=problems_needed(differences) if value else None,
    )


def by_level(first: Mapping[str, Sequence[Graded]], second: Mapping[str, Sequence[Graded]]) -> dict[int, Comparison]:
    """The comparison of each level; empty when there is only one."""
    level = {problem: group[0].level for problem, group in first.items()}
    levels = sorted(set(level.values()))
    if len(levels) < 2:
        return {}
    return {
        each: compare(
            {problem: group for problem, group in first.items() if level[problem] == each},
            {problem: group for problem, group in second.items() if level[problem] == each},
        )
        for each in levels
    }


def mcnemar(lost: int, gained: int) -> float:
    """Exact two-sided p-value of McNemar's test (1947): under no difference, each of the discordant pairs falls to
    either side like a fair coin."""
    discordant = lost + gained
    tail = sum(comb(discordant, count) for count in range(min(lost, gained) + 1))
    return min(1.0, 2 * tail / 2**discordant)


def problems_needed(differences: Sequence[float]) -> int:
    """How many problems would show a difference like this one at p < 0.05 with 80 % power:
    (z₀.₉₇₅ √E[d²] + z₀.₈ √Var[d])² / E[d]², Connor's formula (Biometrics 43, 1987) for one sample a problem, where
    E[d²] is the share of discordant pairs; but enough for six discordant problems.

    Raises:
        ValueError: the mean difference is 0.
    """
    value = sum(differences) / len(differences)
    if not value:
        raise ValueError("no number of problems shows a difference of 0")
    squares = sum(each**2 for each in differences) / len(differences)
    wanted = (Z * sqrt(squares) + Z_POWER * sqrt(max(0.0, squares - value**2))) ** 2 / value**2
    discordant = sum(each != 0 for each in differences) / len(differences)
    return ceil(max(wanted, FEWEST_DISCORDANT / discordant))


def conclusion(comparison: Comparison, first: str, second: str) -> str:
    """What the data say about two models of these names, in plain words."""
    if comparison.right is None:
        shares = [f"{100 * each.value:.1f} %" for each in (comparison.first, comparison.second)]
    else:
        shares = [f"{count} of {comparison.problems}" for count in comparison.right]
    ahead, better, worse = shares[1], second, first
    behind = shares[0]
    if comparison.difference.value < 0:
        ahead, behind, better, worse = behind, ahead, first, second
    if comparison.clear:
        return f"{better} is better than {worse}: {ahead} right against {behind} (p = {in_words(comparison.p)})."
    if comparison.needed is None:
        assert comparison.difference.interval is not None
        most = max(abs(end) for end in comparison.difference.interval)
        return (
            f"no difference: {ahead} right against {behind}; a true difference of up to {100 * most:.1f} points could "
            "hide behind that."
        )
    return (
        f"not enough data: {ahead} against {behind} (p = {in_words(comparison.p)}); about "
        f"{rounded(comparison.needed):,} problems would be needed to see a difference of this size with 80 % power."
    )


def survival(published: Comparison, regraded: Comparison, how: str = "") -> str:
    """Whether what the publisher's verdicts say of the second model holds under ours, in plain words; `how` it was
    regraded, where that is known."""
    then, now = (f"{100 * each.difference.value:+.1f} points" for each in (published, regraded))
    evidence = f"{then} (p = {in_words(published.p)}) as published, {now} (p = {in_words(regraded.p)}) regraded"
    evidence += f" ({how})" if how else ""
    if not published.clear:
        return f"the published difference is not clear to begin with: {evidence}."
    if regraded.clear and (published.difference.value > 0) == (regraded.difference.value > 0):
        return f"the published difference survives regrading: {evidence}."
    return f"the published difference does not survive regrading: {evidence}."


def in_words(p: float) -> str:
    """Two digits that matter; at least 0.0001."""
    return f"{p:.2g}" if p >= 1e-4 else "0.0001 or less"


def rounded(count: int) -> int:
    """Up to two digits that matter."""
    step = 10 ** max(0, len(str(count)) - 2)
    return -(-count // step) * step

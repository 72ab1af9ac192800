"""Where the thinking time goes: what a solved problem costs, what is spent beyond the shortest right response, what
stopped short of it, and whether harder problems get more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import atanh, isnan, sqrt, tanh

from rlsp.evaluation.benchmark import Estimate, LengthUnit, by_problem
from rlsp.evaluation.grading import Graded
from rlsp.evaluation.resampling import ratio_interval
from rlsp.evaluation.statistics import Z, pooled, rank_correlation

FEWEST_SAMPLES = 8
"""Of a problem, for its solve rate to say how hard it is."""
FEWEST_PROBLEMS = 4
"""For the interval of a correlation."""


@dataclass(frozen=True, slots=True)
class Ledger:
    """Lengths are in `unit`, tokens or characters. Every field is None where the responses can't tell.

    per_solved: spent on all responses, for each right one. beyond_shortest: the share of what right responses spent
    beyond the shortest right one to their problem (over-thinking), over problems with two right ones. stopped_short:
    the share of wrong responses that are shorter than the shortest right one to their problem (under-thinking), over
    problems that have both. with_difficulty: Spearman's ρ of a problem's mean length with its difficulty.
    """

    unit: str
    per_solved: Estimate | None
    beyond_shortest: Estimate | None
    stopped_short: Estimate | None
    with_difficulty: Estimate | None


@dataclass(frozen=True, slots=True)
class Difficulty:
    """How hard each problem is, and what says so."""

    name: str
    of: Mapping[str, float]


def unit_of(*graded: Sequence[Graded]) -> LengthUnit:
    """Tokens where every response's are known, else characters."""
    return "tokens" if all(each.tokens is not None for some in graded for each in some) else "characters"


def difficulty(graded: Sequence[Graded]) -> Difficulty | None:
    """By the problems' levels; without them by the share of samples that are wrong, FEWEST_SAMPLES of each problem at
    least: those of a base model. None where neither is there."""
    problems = by_problem(graded)
    if all(group[0].level for group in problems.values()):
        return Difficulty("level", {name: float(group[0].level) for name, group in problems.items()})
    if all(len(group) >= FEWEST_SAMPLES for group in problems.values()):
        wrong = {name: 1 - sum(each.correct for each in group) / len(group) for name, group in problems.items()}
        return Difficulty("how often the base is wrong", wrong)
    return None


def account(
    graded: Sequence[Graded],
    others: Sequence[Graded] = (),
    hard: Difficulty | None = None,
    unit: LengthUnit | None = None,
) -> Ledger:
    """The ledger of one model's responses.

    Args:
        others: other models' responses to the same problems: their right ones can be the shortest, too.
        hard: how hard the problems are.
        unit: of lengths, `tokens` or `characters`; None: what all responses have.

    Raises:
        ValueError: no verdicts.
    """
    problems = by_problem(graded)
    unit = unit or unit_of(graded, others)
    lengths = {name: [_length(each, unit) for each in group] for name, group in problems.items()}
    if any(None in each for each in lengths.values()):
        return Ledger(unit, None, None, None, None)
    known = {name: [length for length in each if length is not None] for name, each in lengths.items()}
    everyone = by_problem([*graded, *others])
    shortest = {name: _right_lengths(group, unit) for name, group in everyone.items()}
    spent, stopped = [], []
    for name, group in problems.items():
        right = [length for each, length in zip(group, known[name], strict=True) if each.correct]
        wrong = [length for each, length in zip(group, known[name], strict=True) if not each.correct]
        best = min(shortest[name], default=None)
        if best is not None and len(shortest[name]) > 1:
            spent.append((float(sum(right) - len(right) * best), sum(right)))
        if best is not None:
            stopped.append((sum(length < best for length in wrong), len(wrong)))
    return Ledger(
        unit,
        per_solved=_inverse(
            _ratio([(float(sum(each.correct for each in group)), sum(known[name])) for name, group in problems.items()])
        ),
        beyond_shortest=_ratio(spent),
        stopped_short=_share(stopped),
        with_difficulty=_correlation({name: sum(each) / len(each) for name, each in known.items()}, hard),
    )


def _length(each: Graded, unit: str) -> int | None:
    return each.tokens if unit == "tokens" else each.characters


def _right_lengths(group: Sequence[Graded], unit: str) -> list[int]:
    return [length for each in group if each.correct and (length := _length(each, unit)) is not None]


def _ratio(pairs: Sequence[tuple[float, int]]) -> Estimate | None:
    """Σ sums / Σ counts over problems; None when nothing is counted, without an interval where no problem differs from
    another."""
    count = sum(each for _, each in pairs)
    if not count:
        return None
    sums, counts = [each for each, _ in pairs], [each for _, each in pairs]
    differ = len({total / each for total, each in pairs if each}) > 1
    return Estimate(sum(sums) / count, ratio_interval(sums, counts) if differ else None)


def _share(pairs: Sequence[tuple[int, int]]) -> Estimate | None:
    """Σ successes / Σ trials over problems; None without trials."""
    successes, trials = [each for each, _ in pairs], [each for _, each in pairs]
    if not sum(trials):
        return None
    return Estimate(sum(successes) / sum(trials), pooled(successes, trials))


def _inverse(ratio: Estimate | None) -> Estimate | None:
    """None where the ratio is 0; without an interval where it could be."""
    if ratio is None or not ratio.value:
        return None
    ends = ratio.interval
    return Estimate(1 / ratio.value, (1 / ends[1], 1 / ends[0]) if ends and ends[0] > 0 else None)


def _correlation(lengths: Mapping[str, float], hard: Difficulty | None) -> Estimate | None:
    """Spearman's ρ with the interval of Bonett and Wright (Psychometrika 65, 2000): Fisher's z, of variance
    (1 + ρ²/2) / (N − 3)."""
    shared = [name for name in lengths if hard is not None and name in hard.of]
    if hard is None or len(shared) < FEWEST_PROBLEMS:
        return None
    rho = rank_correlation([lengths[name] for name in shared], [hard.of[name] for name in shared])
    if isnan(rho):
        return None
    if abs(rho) == 1:
        return Estimate(rho, None)
    half = Z * sqrt((1 + rho**2 / 2) / (len(shared) - 3))
    return Estimate(rho, (tanh(atanh(rho) - half), tanh(atanh(rho) + half)))

"""Estimates with their uncertainty. Intervals are 95 %."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from statistics import correlation, mean, stdev

Z = 1.959964
_T_975 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
"""Student's t, 97.5 % quantile, for 1 … 10 degrees of freedom."""

Interval = tuple[float, float]


def wilson(successes: int, trials: int) -> Interval:
    """Wilson's score interval of a proportion. Raises ValueError without trials."""
    if trials <= 0:
        raise ValueError("no trials, no interval")
    return _wilson(successes / trials, trials)


def clustered(shares: Sequence[float], samples: int) -> Interval:
    """Interval of the mean of `shares`, one for each problem: Wilson's with the effective number of trials N / D.

    Samples of one problem resemble each other. The design effect D = Σ(sᵢ − p)² / (M p(1−p)) compares the variance
    between problems with that of as many single samples (Kish 1965; Korn and Graubard, Survey Methodology 24, 1998). It
    is taken with two problems never and two always solved added to the N, as Agresti and Coull (1998) do, so that few
    or uniform problems do not pass for certain. For one sample a problem D = 1 and this is Wilson's own; there are
    never more effective trials than `samples`, the number of them all.

    Raises:
        ValueError: no shares.
    """
    if not shares:
        raise ValueError("no problems, no interval")
    added = [*shares, 0.0, 0.0, 1.0, 1.0]
    centre = mean(added)
    design = sum((each - centre) ** 2 for each in added) / (len(added) * centre * (1 - centre))
    return _wilson(mean(shares), min(len(shares) / design, samples))


def pooled(successes: Sequence[int], trials: Sequence[int]) -> Interval:
    """Interval of Σ successes / Σ trials, one count of each for each problem: Wilson's with M / D trials, M = Σ trials.

    D = Σ(sᵢ − p mᵢ)² / (M p(1−p)), at least 1, is the design effect of a ratio (Kish 1965), with two single trials that
    fail and two that succeed added as in `clustered`. For one trial a problem D = 1 and this is Wilson's own.

    Raises:
        ValueError: no trials.
    """
    count = sum(trials)
    if not count:
        raise ValueError("no trials, no interval")
    share = (sum(successes) + 2) / (count + 4)
    squares = 2 * (1 - share) ** 2 + 2 * share**2
    squares += sum((won - share * tried) ** 2 for won, tried in zip(successes, trials, strict=True))
    design = max(1.0, squares / ((count + 4) * share * (1 - share)))
    return _wilson(sum(successes) / count, count / design)


def _wilson(share: float, trials: float) -> Interval:
    squared = Z * Z
    centre = (share + squared / (2 * trials)) / (1 + squared / trials)
    half = Z / (1 + squared / trials) * math.sqrt(share * (1 - share) / trials + squared / (4 * trials**2))
    return max(0.0, centre - half), min(1.0, centre + half)


def mean_over_seeds(values: Sequence[float]) -> tuple[float, float]:
    """(mean, half width of Student's interval) of 2 … 11 independent runs."""
    if not 2 <= len(values) <= len(_T_975) + 1:
        raise ValueError(f"an interval over seeds needs 2 to {len(_T_975) + 1} runs, got {len(values)}")
    return mean(values), _T_975[len(values) - 2] * stdev(values) / math.sqrt(len(values))


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float:
    """Spearman's ρ: the correlation of ranks, ties at their mean rank. NaN when one of the two never varies."""
    if len(set(first)) < 2 or len(set(second)) < 2:
        return math.nan
    return correlation(_ranks(first), _ranks(second))


def _ranks(values: Sequence[float]) -> list[float]:
    positions: dict[float, list[int]] = {}
    for position, value in enumerate(sorted(values)):
        positions.setdefault(value, []).append(position)
    return [sum(positions[value]) / len(positions[value]) for value in values]


def pass_at_k(samples: int, correct: int, k: int) -> float:
    """1 − C(n−c, k)/C(n, k): the unbiased chance that one of k samples is right (Chen et al. 2021)."""
    if not 0 < k <= samples:
        raise ValueError(f"pass@{k} can't be estimated from {samples} samples")
    return 1 - math.comb(samples - correct, k) / math.comb(samples, k)


def majority(answers: Sequence[str]) -> int | None:
    """Index of the first sample whose answer has the most votes; ties go to the class that was seen first. Equal
    strings are equivalent answers, "" is no answer and casts no vote."""
    votes = Counter(answer for answer in answers if answer)
    if not votes:
        return None
    winner = max(votes, key=lambda answer: votes[answer])
    return list(answers).index(winner)

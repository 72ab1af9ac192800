"""The bootstrap over problems (Efron 1979): problems are drawn with replacement, each with all its samples.

Intervals are percentiles, 2.5 and 97.5, of 10 000 resamples; seeded, so that the same data give the same interval.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from rlsp.evaluation.statistics import Interval, wilson

RESAMPLES = 10_000
_CELLS = 2_000_000
"""Drawn at a time: bounds memory, and belongs to the seed."""


def mean_interval(values: Sequence[float], low: float = 0.0, high: float = 1.0, seed: int = 0) -> Interval:
    """Interval of the mean of one value for each problem, all of them between `low` and `high`.

    Equal values have nothing to resample. Then others, anywhere between `low` and `high`, are at most as frequent as
    Wilson's interval allows for none among N: u = z² / (N + z²), and the mean lies between value − u (value − low) and
    value + u (high − value).

    Raises:
        ValueError: no values.
    """
    column = np.asarray(values, dtype=float)
    if column.size == 0:
        raise ValueError("no problems, no interval")
    if np.ptp(column) == 0:
        value, unseen = float(column[0]), wilson(0, column.size)[1]
        return value - unseen * (value - low), value + unseen * (high - value)
    return _percentiles(np.concatenate([column[rows].mean(axis=1) for rows in _rows(column.size, seed)]))


def ratio_interval(sums: Sequence[float], counts: Sequence[int], seed: int = 0) -> Interval | None:
    """Interval of Σ sums / Σ counts, one sum and count for each problem; None with fewer than two problems that
    count."""
    counted = [(total, count) for total, count in zip(sums, counts, strict=True) if count]
    if len(counted) < 2:
        return None
    above, below = (np.asarray(column, dtype=float) for column in zip(*counted, strict=True))
    ratios = [above[rows].sum(axis=1) / below[rows].sum(axis=1) for rows in _rows(len(counted), seed)]
    return _percentiles(np.concatenate(ratios))


def sign_flip(differences: Sequence[float], seed: int = 0) -> float:
    """Two-sided p-value of the paired randomisation test (Fisher 1935): the share of random signs under which the sum
    is at least as far from 0 as it is; the sum itself counts as one of the draws."""
    changed = np.asarray([each for each in differences if each], dtype=float)
    if changed.size == 0:
        return 1.0
    rng, extreme, done = np.random.default_rng(seed), 0, 0
    seen = abs(changed.sum()) * (1 - 1e-9)
    while done < RESAMPLES:
        draws = min(max(1, _CELLS // changed.size), RESAMPLES - done)
        signs = rng.integers(0, 2, size=(draws, changed.size)) * 2 - 1
        extreme += int((np.abs(signs @ changed) >= seen).sum())
        done += draws
    return (1 + extreme) / (1 + RESAMPLES)


def _rows(problems: int, seed: int) -> Iterator[np.ndarray]:
    """Indices of the problems of each resample, some resamples at a time."""
    rng, done = np.random.default_rng(seed), 0
    while done < RESAMPLES:
        draws = min(max(1, _CELLS // problems), RESAMPLES - done)
        yield rng.integers(0, problems, size=(draws, problems))
        done += draws


def _percentiles(resampled: np.ndarray) -> Interval:
    low, high = np.percentile(resampled, [2.5, 97.5])
    return float(low), float(high)

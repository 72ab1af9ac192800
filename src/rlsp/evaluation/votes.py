"""maj@k: the expected outcome of a majority vote among k of a problem's n samples, drawn without replacement."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import comb

import numpy as np

EXACT_SAMPLES = 128
"""Up to so many samples a problem the expectation is exact; beyond, it is the mean over `DRAWS` seeded draws."""
DRAWS = 2000


def majority_at_k(
    answers: Sequence[str],
    correct: Sequence[bool],
    ks: Sequence[int],
    seed: int = 0,
) -> list[float]:
    """The chance that the vote of k random samples is right, for each k.

    Votes go to classes of equal answers. A tie is split evenly among the classes that lead. "" is no answer and casts
    no vote; without any vote the outcome is wrong. A class counts as right in the share of its samples that are.

    Raises:
        ValueError: k is not between 1 and the number of samples.
    """
    samples = len(answers)
    if bad := [k for k in ks if not 0 < k <= samples]:
        raise ValueError(f"maj@{bad[0]} can't be estimated from {samples} samples")
    votes = Counter(answer for answer in answers if answer)
    right = Counter(answer for answer, good in zip(answers, correct, strict=True) if answer and good)
    counts = list(votes.values())
    shares = [right[answer] / count for answer, count in votes.items()]
    if samples <= EXACT_SAMPLES:
        chances = _exact(counts, shares, samples)
        return [chances[k] for k in ks]
    return [_drawn(counts, shares, samples, k, seed) for k in ks]


def _exact(counts: Sequence[int], shares: Sequence[float], samples: int) -> list[float]:
    """Entry k: Σ over classes of share · P(the class wins). For a class that gets v votes, subsets of the other
    samples in which no class gets more are counted by the number t of classes that tie at v; it then wins 1/(t+1)."""
    wins = np.zeros(samples + 1)
    for index, (count, share) in enumerate(zip(counts, shares, strict=True)):
        others = [other for position, other in enumerate(counts) if position != index]
        for votes in range(1, count + 1 if share else 0):
            ways = _ways(others, samples - sum(counts), votes, samples)
            ties = np.arange(1, len(ways) + 1)[:, None]
            wins[votes:] += share * comb(count, votes) * (ways / ties).sum(axis=0)[: samples + 1 - votes]
    return [0.0, *(float(wins[k]) / comb(samples, k) for k in range(1, samples + 1))]


def _ways(counts: Sequence[int], blanks: int, most: int, samples: int) -> np.ndarray:
    """[t, u]: in how many ways u samples of these classes and the blanks can be drawn, no class more than `most` times
    and t classes exactly so often."""
    ways = np.zeros((sum(count >= most for count in counts) + 1, samples + 1))
    ways[0, : blanks + 1] = [comb(blanks, drawn) for drawn in range(blanks + 1)]
    for count in counts:
        before, ways = ways, np.zeros_like(ways)
        for drawn in range(min(count, most) + 1):
            if drawn == most:
                ways[1:, drawn:] += comb(count, drawn) * before[:-1, : samples + 1 - drawn]
            else:
                ways[:, drawn:] += comb(count, drawn) * before[:, : samples + 1 - drawn]
    return ways


def _drawn(counts: Sequence[int], shares: Sequence[float], samples: int, k: int, seed: int) -> float:
    if not counts:
        return 0.0
    colours = [*counts, samples - sum(counts)]
    votes = np.random.default_rng(seed).multivariate_hypergeometric(colours, k, size=DRAWS)[:, :-1]
    leads = (votes == votes.max(axis=1, keepdims=True)) & (votes > 0)
    won = (leads * np.asarray(shares)).sum(axis=1) / np.maximum(1, leads.sum(axis=1))
    return float(won.mean())

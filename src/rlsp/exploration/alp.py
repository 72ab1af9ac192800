"""Adaptive length penalty (Xiang et al., "Just Enough Thinking", arXiv 2506.05256): tokens cost the more, the more
often the problem is solved.

    r(y, q) = 1[y is right] − β/N · max(p̂(q), 1/K) · |y|

The first summand is Eq. 1's; here N is the response budget, and β the part's weight.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rlsp.exploration.groups import solve_rates
from rlsp.exploration.part import Part
from rlsp.types import Rollout


@dataclass(frozen=True, slots=True)
class AdaptiveLengthPenalty:
    """`budget` in tokens. Also when none of the K rollouts is right, a token costs 1/K of its full price."""

    budget: int

    @property
    def floor(self) -> float:
        return -1.0

    def explore_outcomes(
        self, questions: Sequence[str], rollouts: Sequence[Rollout], correct: Sequence[bool]
    ) -> list[Part]:
        rates = solve_rates(rollouts, correct)
        return [
            Part(-max(rate, 1 / count) * rollout.length / self.budget)
            for rollout, (rate, count) in zip(rollouts, rates, strict=True)
        ]

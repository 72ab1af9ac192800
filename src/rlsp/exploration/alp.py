"""Adaptive length penalty (Xiang et al., "Just Enough Thinking", arXiv 2506.05256): tokens cost the more, the more
often the problem is solved.

    r(y, q) = 1[y is right] − β/N · max(p̂(q), 1/K) · |y|

The first summand is Eq. 1's; here N is the response budget, and β the part's weight.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rlsp.exploration.groups import siblings
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
        values = [0.0] * len(rollouts)
        for group in siblings(rollouts):
            solved = sum(correct[each] for each in group)
            rate = max(solved, 1) / len(group)
            for each in group:
                values[each] = -rate * rollouts[each].length / self.budget
        return list(map(Part, values))

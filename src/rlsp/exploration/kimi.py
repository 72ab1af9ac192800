"""The length reward of Kimi k1.5 (arXiv 2501.12599, section 2.3.3): short responses before long ones among the rollouts
of a problem, and nothing to gain from a wrong one.

    λ = ½ − (|o| − min)/(max − min);  right: λ;  wrong: min(0, λ);  0 when all are equally long
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rlsp.exploration.groups import siblings
from rlsp.exploration.part import Part
from rlsp.types import Rollout


@dataclass(frozen=True, slots=True)
class KimiLengthReward:
    """Between −½ and ½; the shortest and the longest are taken over right and wrong rollouts alike."""

    @property
    def floor(self) -> float:
        return -0.5

    def explore_outcomes(
        self, questions: Sequence[str], rollouts: Sequence[Rollout], correct: Sequence[bool]
    ) -> list[Part]:
        values = [0.0] * len(rollouts)
        for group in siblings(rollouts):
            lengths = [rollouts[each].length for each in group]
            shortest, spread = min(lengths), max(lengths) - min(lengths)
            if spread == 0:
                continue
            for each, length in zip(group, lengths, strict=True):
                value = 0.5 - (length - shortest) / spread
                values[each] = value if correct[each] else min(0.0, value)
        return list(map(Part, values))

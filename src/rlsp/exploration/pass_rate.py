"""Length paid where problems are hard, taxed where they are easy: (threshold − p̂)·|o|/budget, p̂ the solve rate among
the problem's rollouts in the call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rlsp.exploration.groups import siblings
from rlsp.exploration.part import Part
from rlsp.types import Rollout


@dataclass(frozen=True, slots=True)
class PassRateReward:
    """`threshold` is the solve rate at which length is worth nothing; `budget` in tokens."""

    threshold: float
    budget: int

    @property
    def floor(self) -> float:
        return self.threshold - 1.0

    def explore_outcomes(
        self, questions: Sequence[str], rollouts: Sequence[Rollout], correct: Sequence[bool]
    ) -> list[Part]:
        values = [0.0] * len(rollouts)
        for group in siblings(rollouts):
            rate = sum(correct[each] for each in group) / len(group)
            for each in group:
                values[each] = (self.threshold - rate) * rollouts[each].length / self.budget
        return list(map(Part, values))

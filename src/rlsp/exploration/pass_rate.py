"""Length paid where problems are hard, taxed where they are easy: (threshold − p̂)·|o|/budget, p̂ the solve rate among
the problem's rollouts in the call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rlsp.exploration.groups import solve_rates
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
        rates = solve_rates(rollouts, correct)
        return [
            Part((self.threshold - rate) * rollout.length / self.budget)
            for rollout, (rate, _) in zip(rollouts, rates, strict=True)
        ]

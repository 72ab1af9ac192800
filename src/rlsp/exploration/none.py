"""`R_ex = 0`: outcome-only RL."""

from __future__ import annotations

from dataclasses import dataclass

from rlsp.types import Exploration, Rollout


@dataclass(frozen=True, slots=True)
class NoReward:
    floor: float = 0.0

    def explore(self, question: str, rollout: Rollout) -> Exploration:
        return Exploration(0.0, {})

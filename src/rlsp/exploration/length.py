"""`R_ex = −C/|o|` (paper, section 3.2): longer is better, with falling returns."""

from __future__ import annotations

from dataclasses import dataclass

from rlsp.types import Exploration, Rollout


@dataclass(frozen=True, slots=True)
class LengthReward:
    """`c` is C in tokens; |o| counts sampled tokens, EOS included, so it is never 0."""

    c: float

    @property
    def floor(self) -> float:
        return -self.c

    def explore(self, question: str, rollout: Rollout) -> Exploration:
        value = -self.c / rollout.length
        return Exploration(value, {"length": value})

"""`R_ex = −C/√|o|` (*… LLMs II: Thinking Big on Small Budgets*): as `length`, but returns fall more slowly, so that
long responses still gain from growing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rlsp.exploration.part import Part
from rlsp.types import Rollout


@dataclass(frozen=True, slots=True)
class LengthSqrtReward:
    """`c` is C in √tokens; |o| counts sampled tokens, EOS included, so it is never 0."""

    c: float

    @property
    def floor(self) -> float:
        return -self.c

    def explore(self, questions: Sequence[str], rollouts: Sequence[Rollout]) -> list[Part]:
        return [Part(-self.c / math.sqrt(rollout.length)) for rollout in rollouts]

"""`R_ex = −C·e^(−√|o|)` (*… LLMs II: Thinking Big on Small Budgets*): only very short responses pay; past some hundred
tokens there is nothing left to gain."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rlsp.exploration.part import Part
from rlsp.types import Rollout


@dataclass(frozen=True, slots=True)
class LengthExpReward:
    """`c` is C, a number without a unit; |o| counts sampled tokens, EOS included, so it is never 0."""

    c: float

    @property
    def floor(self) -> float:
        return -self.c / math.e

    def explore(self, questions: Sequence[str], rollouts: Sequence[Rollout]) -> list[Part]:
        return [Part(-self.c * math.exp(-math.sqrt(rollout.length))) for rollout in rollouts]

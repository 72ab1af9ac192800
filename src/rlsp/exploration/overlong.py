"""Soft overlong punishment (DAPO: Yu et al., arXiv 2503.14476, section 3.4, Eq. 13): the last tokens before the budget
cost more and more, so that being cut off does not come as a surprise.

    0 while |o| ≤ budget − buffer;  (budget − buffer − |o|)/buffer up to the budget, where it is −1
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rlsp.exploration.part import Part
from rlsp.types import Rollout


@dataclass(frozen=True, slots=True)
class OverlongReward:
    """`budget` (the paper's L_max) and `buffer` (its L_cache) in tokens."""

    budget: int
    buffer: int

    @property
    def floor(self) -> float:
        return -1.0

    def explore(self, questions: Sequence[str], rollouts: Sequence[Rollout]) -> list[Part]:
        free = self.budget - self.buffer
        return [Part(max(-1.0, min(0.0, (free - rollout.length) / self.buffer))) for rollout in rollouts]

"""`R_ex = −C/|o|` (paper, section 3.2): longer is better, with falling returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rlsp.exploration.part import Part
from rlsp.types import Rollout


@dataclass(frozen=True, slots=True)
class LengthReward:
    """`c` is C in tokens; |o| counts sampled tokens, EOS included, so it is never 0."""

    c: float

    @property
    def floor(self) -> float:
        return -self.c

    def explore(self, questions: Sequence[str], rollouts: Sequence[Rollout]) -> list[Part]:
        return [Part(-self.c / rollout.length) for rollout in rollouts]

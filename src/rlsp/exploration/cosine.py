"""The cosine length reward of *Demystifying Long Chain-of-Thought Reasoning in LLMs* (arXiv 2502.03373, appendix C.1):

    r(L) = r_L + ½·(r_0 − r_L)·(1 + cos(π·L/L_max)),  r_exceeded once L reaches L_max

with one (r_0, r_L) for right answers and one for wrong ones. Right answers earn most when they are short, wrong ones
lose least when they are long. It knows what was right: Eq. 1 then pays for being right twice.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rlsp.exploration.part import Part
from rlsp.types import Rollout


@dataclass(frozen=True, slots=True)
class CosineReward:
    """`right` and `wrong` are (r_0, r_L), the rewards at length 0 and at `max_length` tokens. A truncated response has
    exceeded, whatever `max_length`; so has, as in the paper, one whose EOS is token number `max_length`."""

    right: tuple[float, float]
    wrong: tuple[float, float]
    exceeded: float
    max_length: int

    @property
    def floor(self) -> float:
        return min(*self.right, *self.wrong, self.exceeded)

    def explore_outcomes(
        self, questions: Sequence[str], rollouts: Sequence[Rollout], correct: Sequence[bool]
    ) -> list[Part]:
        return [Part(self._reward(rollout, right)) for rollout, right in zip(rollouts, correct, strict=True)]

    def _reward(self, rollout: Rollout, correct: bool) -> float:
        if rollout.truncated or rollout.length >= self.max_length:
            return self.exceeded
        first, last = self.right if correct else self.wrong
        return last + (first - last) * (1 + math.cos(math.pi * rollout.length / self.max_length)) / 2

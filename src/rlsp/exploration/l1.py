"""Length targets (L1: Aggarwal and Welleck, arXiv 2503.04697): the prompt names a length, and missing it costs.

`exact`: −| |o| − target |/budget, the paper's L1-Exact, whose α is weight/budget here.
`max`: −max(0, |o| − target)/budget. The paper's L1-Max multiplies clip(α·(target − |o|) + ½, 0, 1) with correctness;
here Eq. 1 adds the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rlsp.config.exploration import L1Recipe
from rlsp.exploration.part import Part
from rlsp.types import Rollout


@dataclass(frozen=True, slots=True)
class LengthTargetReward:
    """`budget` in tokens. It sees no verdict: a target is met or missed whatever the answer."""

    recipe: L1Recipe
    budget: int

    @property
    def floor(self) -> float:
        too_long = self.budget - self.recipe.minimum
        too_short = self.recipe.maximum - 1 if self.recipe.mode == "exact" else 0
        return -max(too_long, too_short) / self.budget

    def explore(self, questions: Sequence[str], rollouts: Sequence[Rollout]) -> list[Part]:
        return [Part(-self._missed_by(rollout) / self.budget) for rollout in rollouts]

    def _missed_by(self, rollout: Rollout) -> int:
        excess = rollout.length - self.recipe.target(rollout.problem_id)
        return abs(excess) if self.recipe.mode == "exact" else max(0, excess)

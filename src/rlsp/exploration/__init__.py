"""Step 2's judge of effort: gets the question and the response, never the answer or the verdict."""

from __future__ import annotations

from typing import Protocol

from rlsp.config import Recipe
from rlsp.exploration.length import LengthReward
from rlsp.exploration.none import NoReward
from rlsp.types import Exploration, Rollout


class Explorer(Protocol):
    """`floor` is the lowest reward it can give: what running into the response budget earns."""

    @property
    def floor(self) -> float: ...

    def explore(self, question: str, rollout: Rollout) -> Exploration: ...


def explorer_for(recipe: Recipe) -> Explorer:
    """The recipe's exploration reward, scaled to its response budget."""
    if recipe.exploration.kind == "none":
        return NoReward()
    return LengthReward(c=recipe.exploration.c_per_budget * recipe.sampling.max_response_tokens)

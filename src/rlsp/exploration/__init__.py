"""Step 2's judge of effort: gets the question and the response, never the answer. The outcome-aware ones, which fit the
effort to the difficulty, are a protocol of their own and see what was right."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rlsp.config import Recipe
from rlsp.exploration.composite import Composite, Weighted
from rlsp.exploration.judge import judge_reward
from rlsp.exploration.length import LengthReward
from rlsp.exploration.part import Explorer, OutcomeExplorer

BUILDERS: dict[str, Callable[[Any, Recipe], Explorer | OutcomeExplorer]] = {
    "length": lambda part, recipe: LengthReward(part.c_per_budget * recipe.sampling.max_response_tokens),
    "judge": lambda part, recipe: judge_reward(part),
}
"""From a part's section and the whole recipe to what computes it."""


def explorer_for(recipe: Recipe) -> Composite:
    """The recipe's exploration reward, scaled to its response budget."""
    return Composite(
        {
            name: Weighted(
                part.weight, recipe.ppo.gamma if part.gamma is None else part.gamma, BUILDERS[name](part, recipe)
            )
            for name, part in recipe.exploration.parts.items()
        }
    )

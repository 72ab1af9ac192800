"""Step 2's judge of effort: gets the question and the response, never the answer. The outcome-aware ones, which fit the
effort to the difficulty, are a protocol of their own and see what was right."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from rlsp.config import Recipe
from rlsp.exploration.composite import Composite, Weighted
from rlsp.exploration.cosine import CosineReward
from rlsp.exploration.effective_length import EffectiveLengthReward
from rlsp.exploration.length import LengthReward
from rlsp.exploration.length_exp import LengthExpReward
from rlsp.exploration.length_sqrt import LengthSqrtReward
from rlsp.exploration.part import Explorer, OutcomeExplorer
from rlsp.exploration.repetition import RepetitionReward

BUILDERS: dict[str, Callable[[Any, Recipe], Explorer | OutcomeExplorer]] = {
    "length": lambda part, recipe: LengthReward(part.c_per_budget * recipe.sampling.max_response_tokens),
    "length_sqrt": lambda part, recipe: LengthSqrtReward(
        part.c_per_budget * math.sqrt(recipe.sampling.max_response_tokens)
    ),
    "length_exp": lambda part, recipe: LengthExpReward(part.c),
    "effective_length": lambda part, recipe: EffectiveLengthReward(
        part.c_per_budget * recipe.sampling.max_response_tokens, part.ngram
    ),
    "repetition": lambda part, recipe: RepetitionReward(part.ngram, part.penalty, recipe.sampling.max_response_tokens),
    "cosine": lambda part, recipe: CosineReward(
        part.right, part.wrong, part.exceeded, part.max_length or recipe.sampling.max_response_tokens
    ),
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

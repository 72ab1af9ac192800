"""Step 2's judge of effort: gets the question and the response, never the answer. The outcome-aware ones, which fit the
effort to the difficulty, are a protocol of their own and see what was right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rlsp.config import Recipe
from rlsp.exploration.alp import AdaptiveLengthPenalty
from rlsp.exploration.behaviour import BehaviourReward
from rlsp.exploration.composite import Composite, Weighted
from rlsp.exploration.kimi import KimiLengthReward
from rlsp.exploration.l1 import LengthTargetReward
from rlsp.exploration.length import LengthReward
from rlsp.exploration.novelty import NoveltyReward
from rlsp.exploration.part import Explorer, OutcomeExplorer
from rlsp.exploration.pass_rate import PassRateReward
from rlsp.types import Demonstration

BUILDERS: dict[str, Callable[[Any, Recipe, Sequence[Demonstration]], Explorer | OutcomeExplorer]] = {
    "length": lambda part, recipe, _: LengthReward(part.c_per_budget * recipe.sampling.max_response_tokens),
    "novelty": lambda part, _, demonstrations: NoveltyReward.against(part.ngram, demonstrations),
    "behaviour": lambda part, recipe, _: BehaviourReward(recipe.task.name, part.prices),
    "alp": lambda _, recipe, __: AdaptiveLengthPenalty(recipe.sampling.max_response_tokens),
    "l1": lambda part, recipe, _: LengthTargetReward(part, recipe.sampling.max_response_tokens),
    "kimi": lambda _, __, ___: KimiLengthReward(),
    "pass_rate": lambda part, recipe, _: PassRateReward(part.threshold, recipe.sampling.max_response_tokens),
}
"""From a part's section, the whole recipe and the run's demonstrations to what computes it."""


def explorer_for(recipe: Recipe, demonstrations: Sequence[Demonstration] = ()) -> Composite:
    """The recipe's exploration reward, scaled to its response budget. `demonstrations`: what the policy has learned
    from, which is no longer new."""
    return Composite(
        {
            name: Weighted(
                part.weight,
                recipe.ppo.gamma if part.gamma is None else part.gamma,
                BUILDERS[name](part, recipe, demonstrations),
            )
            for name, part in recipe.exploration.parts.items()
        }
    )

"""Step 2's judge of effort: gets the question and the response, never the answer. The outcome-aware ones, which fit the
effort to the difficulty, are a protocol of their own and see what was right."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rlsp.config import Recipe
from rlsp.exploration.alp import AdaptiveLengthPenalty
from rlsp.exploration.behaviour import BehaviourReward
from rlsp.exploration.composite import Composite, Weighted
from rlsp.exploration.cosine import CosineReward
from rlsp.exploration.effective_length import EffectiveLengthReward
from rlsp.exploration.format import FormatReward
from rlsp.exploration.judge import judge_reward
from rlsp.exploration.kimi import KimiLengthReward
from rlsp.exploration.l1 import LengthTargetReward
from rlsp.exploration.length import LengthReward
from rlsp.exploration.length_exp import LengthExpReward
from rlsp.exploration.length_sqrt import LengthSqrtReward
from rlsp.exploration.novelty import NoveltyReward
from rlsp.exploration.overlong import OverlongReward
from rlsp.exploration.part import Explorer, OutcomeExplorer, Part
from rlsp.exploration.pass_rate import PassRateReward
from rlsp.exploration.repetition import RepetitionReward
from rlsp.types import Demonstration, Rollout


@dataclass(frozen=True, slots=True)
class Setting:
    """What a part may need besides its own section: the response budget in tokens, the task's name, and what the policy
    has learned from."""

    budget: int
    task: str
    demonstrations: Sequence[Demonstration]


@dataclass(frozen=True, slots=True)
class NotAsked:
    """Stands for a judge where nothing depends on its grades."""

    floor: float = 0.0

    def explore(self, questions: Sequence[str], rollouts: Sequence[Rollout]) -> list[Part]:
        return [Part(None, missing="not asked")] * len(rollouts)


BUILDERS: dict[str, Callable[[Any, Setting], Explorer | OutcomeExplorer]] = {
    "length": lambda part, setting: LengthReward(part.c_per_budget * setting.budget),
    "length_sqrt": lambda part, setting: LengthSqrtReward(part.c_per_budget * math.sqrt(setting.budget)),
    "length_exp": lambda part, setting: LengthExpReward(part.c),
    "effective_length": lambda part, setting: EffectiveLengthReward(part.c_per_budget * setting.budget, part.ngram),
    "repetition": lambda part, setting: RepetitionReward(part.ngram, part.penalty, setting.budget),
    "novelty": lambda part, setting: NoveltyReward.against(part.ngram, setting.demonstrations),
    "behaviour": lambda part, setting: BehaviourReward(setting.task, part.prices),
    "judge": lambda part, setting: judge_reward(part),
    "cosine": lambda part, setting: CosineReward(
        part.right, part.wrong, part.exceeded, part.max_length or setting.budget
    ),
    "alp": lambda part, setting: AdaptiveLengthPenalty(setting.budget),
    "l1": lambda part, setting: LengthTargetReward(part, setting.budget),
    "kimi": lambda part, setting: KimiLengthReward(),
    "pass_rate": lambda part, setting: PassRateReward(part.threshold, setting.budget),
    "overlong": lambda part, setting: OverlongReward(setting.budget, part.buffer),
    "format": lambda part, setting: FormatReward(),
}
"""From a part's section and the setting to what computes it."""


def explorer_for(recipe: Recipe, demonstrations: Sequence[Demonstration] = (), ask_judge: bool = True) -> Composite:
    """The recipe's exploration reward, scaled to its response budget.

    Args:
        demonstrations: what the policy has learned from, which is no longer new.
        ask_judge: False leaves the LLM judge out, as a part that could not be had: nothing is sent or spent.
    """
    setting = Setting(recipe.sampling.max_response_tokens, recipe.task.name, demonstrations)
    return Composite(
        {
            name: Weighted(
                part.weight,
                recipe.rl.gamma if part.gamma is None else part.gamma,
                BUILDERS[name](part, setting) if ask_judge or name != "judge" else NotAsked(),
            )
            for name, part in recipe.exploration.parts.items()
        }
    )

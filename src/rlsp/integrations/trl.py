"""The two signals as reward functions of TRL's trainers (GRPO, RLOO):

    from rlsp.integrations.trl import questions, rewards

    paid = rewards("nano", tokenizer)
    GRPOTrainer(
        model, reward_funcs=paid.functions, train_dataset=questions("nano", 1000, tokenizer),
        args=GRPOConfig(**paid.arguments, ...),
    )

TRL 1.16 logs each function's mean by its name, `correct` and `explore`, and adds them up with their weights: Eq. 1, but
for its clamp. `reward.mix = "advantage"` is TRL's `normalize_then_sum`: each signal is normalised over its group before
α weighs it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any

from rlsp import tasks
from rlsp.config import Recipe, load
from rlsp.config.exploration import DENSE
from rlsp.errors import InputError
from rlsp.integrations.scorer import Answered, Scorer
from rlsp.prompts import PLAIN_ENDING, user_text
from rlsp.tasks.splits import Split
from rlsp.types import Problem, Score, from_json, to_json
from rlsp.verifiers.settings import STRICT, Settings

if TYPE_CHECKING:
    from datasets import Dataset

PROBLEM = "rlsp_problem"
"""The data set's column that holds each prompt's problem, as JSON."""
AGGREGATIONS = {"reward": "sum_then_normalize", "advantage": "normalize_then_sum"}
RewardFunction = Callable[..., list[float | None]]


@dataclass(frozen=True, slots=True)
class Rewards:
    """`functions` for `reward_funcs`; `arguments` for the trainer's configuration: the functions' weights and how they
    are added up."""

    functions: list[RewardFunction]
    arguments: dict[str, Any]


def rewards(recipe: Recipe | str, tokenizer: Any, judging: Settings = STRICT) -> Rewards:
    """The recipe's reward for a data set that holds its problems in the column `rlsp_problem`, as `questions` makes it.

    α follows a linear or cosine schedule by the trainer's own steps. A response whose exploration reward can't be had
    gets None from both functions, and TRL leaves it out of the update.

    Args:
        tokenizer: the policy's; a response that ends by none of its stop tokens was cut off by the budget.

    Raises:
        InputError: the recipe can't be read, or TRL can't do what it asks for.
    """
    recipe = load(Recipe, recipe, []) if isinstance(recipe, str) else recipe
    _check(recipe)
    scored = _Scored(Scorer(recipe, judging), tokenizer)
    constant = recipe.reward.schedule.kind == "constant"
    alpha = recipe.reward.alpha

    def correct(**batch: Any) -> list[float | None]:
        """Ver(q, o): 1 for a right answer."""
        scores, now = scored.of(batch)
        share = 1.0 if constant else now
        return [None if each.total is None else share * each.verdict.correct for each in scores]

    def explore(**batch: Any) -> list[float | None]:
        """R_ex(q, o)."""
        scores, now = scored.of(batch)
        share = 1.0 if constant else 1 - now
        return [None if each.total is None else share * (each.exploration.value or 0.0) for each in scores]

    return Rewards(
        [correct, explore],
        {
            "reward_weights": [alpha, 1 - alpha] if constant else [1.0, 1.0],
            "multi_objective_aggregation": AGGREGATIONS[recipe.reward.mix],
        },
    )


def questions(recipe: Recipe | str, count: int, tokenizer: Any) -> Dataset:
    """`count` training problems of the recipe as TRL's trainers read them: `prompt`, a user's turn where the tokenizer
    has a chat template and text where it has none, and the problem.

    Raises:
        InputError: the recipe or its data can't be read.
    """
    from datasets import Dataset

    recipe = load(Recipe, recipe, []) if isinstance(recipe, str) else recipe
    problems = tasks.problems(recipe.task, Split.TRAIN, count, recipe.seed)
    return Dataset.from_list(
        [{"prompt": _prompt(each, recipe, tokenizer), PROBLEM: _packed(each)} for each in problems]
    )


class _Scored:
    """Scores of a batch, judged once for both functions."""

    def __init__(self, scorer: Scorer, tokenizer: Any) -> None:
        self._scorer = scorer
        self._stops = frozenset({tokenizer.eos_token_id} - {None})
        self._decode = tokenizer.decode
        self._batch: tuple[Any, ...] = ()
        self._scores: list[Score] = []

    def of(self, batch: dict[str, Any]) -> tuple[list[Score], float]:
        """(the scores, α)."""
        if PROBLEM not in batch:
            raise InputError(f"the data set has no column {PROBLEM!r}: make it by rlsp.integrations.trl.questions")
        state = batch["trainer_state"]
        alpha = self._scorer.alpha(min(1.0, state.global_step / max(1, state.max_steps - 1)))
        ids = [tuple(each) for each in batch["completion_ids"]]
        key = (tuple(ids), tuple(batch[PROBLEM]), alpha)
        if key != self._batch:
            answered = [self._answered(*pair) for pair in zip(batch[PROBLEM], ids, strict=True)]
            self._scores, self._batch = self._scorer.score(answered, alpha), key
            self._log(batch["log_metric"], alpha)
        return self._scores, alpha

    def _answered(self, packed: str, ids: tuple[int, ...]) -> Answered:
        ended = bool(ids) and ids[-1] in self._stops
        text = self._decode(ids[:-1] if ended else ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        return Answered(from_json(Problem, json.loads(packed), PROBLEM), text, ids, not ended)

    def _log(self, log: Callable[[str, float], None], alpha: float) -> None:
        log("rlsp/alpha", alpha)
        log("rlsp/correct", fmean(float(each.verdict.correct) for each in self._scores))
        log("rlsp/unjudged", fmean(float(each.verdict.reason.unjudged) for each in self._scores))
        explored = [each.exploration.value for each in self._scores if each.exploration.value is not None]
        log("rlsp/unexplored", 1 - len(explored) / len(self._scores))
        if explored:
            log("rlsp/explore", fmean(explored))


def _check(recipe: Recipe) -> None:
    reward = recipe.reward
    if reward.mode == "paper_code":
        raise InputError("reward.mode 'paper_code' is one number, not two signals: use 'paper_eq1' in TRL")
    if reward.schedule.kind == "accuracy":
        raise InputError("reward.schedule 'accuracy' follows rlsp's own held-out probe: in TRL use linear or cosine")
    if reward.mix == "advantage" and reward.schedule.kind != "constant":
        raise InputError(
            f"reward.schedule {reward.schedule.kind!r} with mix 'advantage': TRL's weights stand still, and its "
            "normalisation takes any other factor out again; use mix 'reward', or a constant α"
        )
    if dense := [name for name in recipe.exploration.paid if name in DENSE]:
        raise InputError(f"exploration {dense[0]!r} pays single tokens, TRL whole responses: take it out")
    if reward.truncation == "mask":
        raise InputError("reward.truncation 'mask' is TRL's mask_truncated_completions: set that, and 'keep' here")


def _prompt(problem: Problem, recipe: Recipe, tokenizer: Any) -> Any:
    text = user_text(problem, recipe)
    return text + PLAIN_ENDING if tokenizer.chat_template is None else [{"role": "user", "content": text}]


def _packed(problem: Problem) -> str:
    return json.dumps(to_json(problem), ensure_ascii=False)

"""What must agree between the sections of a recipe that pay for a response, and those that watch it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rlsp.config.exploration import DENSE, GROUPED, LENGTH_TARGET, MARKED

if TYPE_CHECKING:
    from rlsp.config.recipe import Recipe


def reward_agrees(recipe: Recipe) -> None:
    """Exploration, reward, sampling and task fit together.

    Raises:
        ValueError: they do not.
    """
    reward, parts, paid = recipe.reward, recipe.exploration.parts, recipe.exploration.paid
    if reward.truncation == "floor" and not paid.keys() - set(DENSE):
        raise ValueError(
            "an exploration reward of 0, or one that pays single tokens alone, has no floor: set reward.truncation to "
            "'keep' or 'mask', or give an exploration reward that pays at the end a weight"
        )
    grouped = [name for name in GROUPED if name in parts and not (name == "novelty" and recipe.demonstrations)]
    if recipe.rl.samples_per_prompt == 1 and grouped:
        raise ValueError(
            f"exploration {grouped[0]!r} compares the samples of one prompt: set rl.samples_per_prompt to 2 or more"
        )
    if recipe.exploration.behaviour and recipe.task.name == "data":
        raise ValueError(
            "exploration 'behaviour' counts steps that a machine can check, and a task of name 'data' has none: take "
            "it out, or use a generated task"
        )
    if marked := [name for name in MARKED if name in paid and recipe.task.name != "data"]:
        raise ValueError(
            f"exploration {marked[0]!r} wants a marked answer, and a response to {recipe.task.name} ends in its answer "
            "without a mark: take it out"
        )
    _discounts_agree(recipe)
    cosine, budget = recipe.exploration.cosine, recipe.sampling.max_response_tokens
    if cosine and 0 < cosine.max_length < budget:
        raise ValueError(
            f"exploration.cosine.max_length = {cosine.max_length} lies below sampling.max_response_tokens = "
            f"{budget}: longer responses would all earn the same; raise it or leave it out"
        )
    overlong = recipe.exploration.overlong
    if overlong and overlong.buffer >= budget:
        raise ValueError(
            f"exploration.overlong.buffer = {overlong.buffer} leaves nothing of sampling.max_response_tokens = "
            f"{budget} unpunished: lower it"
        )
    if reward.schedule.kind == "accuracy" and recipe.probe is None:
        raise ValueError("reward.schedule 'accuracy' needs held-out accuracies: set probe.every and probe.problems")
    if reward.mode == "paper_code":
        if recipe.task.name != "data":
            raise ValueError(f"reward.mode 'paper_code' reads \\boxed{{}}: it is not for task {recipe.task.name!r}")
        if others := [name for name in paid if name != "judge"]:
            raise ValueError(
                f"reward.mode 'paper_code' knows no exploration reward but the judge: take out {others[0]!r}, or "
                "give it the weight 0"
            )
        if (judge := paid.get("judge")) and judge.gamma not in (None, recipe.rl.gamma):
            raise ValueError("reward.mode 'paper_code' is one number at the end: leave out exploration.judge.gamma")


def _discounts_agree(recipe: Recipe) -> None:
    if recipe.rl.definition.critic:
        return
    for name, part in recipe.exploration.paid.items():
        if part.gamma not in (None, 1):
            raise ValueError(
                f"exploration.{name}.gamma = {part.gamma:g} discounts a stream of rewards, and algorithm "
                f"'{recipe.rl.algorithm}' has no critic to foresee one: set it to 1"
            )


def targets_agree(recipe: Recipe) -> None:
    """A prompt that tells a length target has one, within the budget.

    Raises:
        ValueError: it has none, or a target goes untold.
    """
    l1, budget = recipe.exploration.l1, recipe.sampling.max_response_tokens
    told = LENGTH_TARGET in recipe.model.instruction
    if l1 is None and told:
        raise ValueError(
            f"model.instruction holds {LENGTH_TARGET} and nothing sets a target: take it out, or set "
            "exploration.l1.minimum and exploration.l1.maximum"
        )
    if l1 and l1.minimum != l1.maximum and not told:
        raise ValueError(
            f"exploration.l1 draws targets from {l1.minimum} … {l1.maximum} tokens, and no prompt tells them: put "
            f"{LENGTH_TARGET} into model.instruction, or make minimum and maximum equal"
        )
    if l1 and l1.maximum > budget:
        raise ValueError(
            f"exploration.l1.maximum = {l1.maximum} exceeds sampling.max_response_tokens = {budget}: no response "
            "can reach such a target; lower it"
        )


def alarms_agree(recipe: Recipe) -> None:
    """Raises ValueError when a pause is asked for and training ends before a rise can be told."""
    window, steps = recipe.alarms.window, recipe.rl.steps
    if recipe.alarms.pause and steps < 2 * window:
        raise ValueError(
            f"alarms.pause waits for alarms, and most need 2 × alarms.window = {2 * window} steps, more than rl.steps "
            f"= {steps}: lower alarms.window, raise rl.steps or leave alarms.pause out"
        )

"""Whether verl takes a recipe, by verl's own configuration code; nothing is started."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

from rlsp.config import Recipe
from rlsp.engines.verl import require, settings
from rlsp.model_files import resolve

FOLDER = Path("verl")
"""Stands for where a job would work."""


def checked(recipe: Recipe) -> str:
    """What verl says to the recipe's RL, SFT and evaluation.

    Raises:
        InputError: verl is not installed, can't do what the recipe asks for, has no such key, or refuses a value.
    """
    require()
    cluster = settings.check(recipe)
    from rlsp.engines.verl import runner

    model = resolve(recipe.model.path).resolve()
    runner.checked(settings.reinforcement(recipe, model, FOLDER))
    runner.checked(settings.evaluation(recipe, model, FOLDER, 1, recipe.evaluation.temperature))
    if recipe.sft is not None and recipe.demonstrations is not None:
        lengths = [recipe.longest_tokens] * recipe.demonstrations.count
        runner.composed(settings.finetuning(recipe, model, FOLDER, lengths), "sft_trainer_engine")
    return (
        f"verl {version('verl')} takes it: {cluster.nodes} × {cluster.gpus_per_node} devices, streams of the critic: "
        f"{', '.join(settings.streams(recipe)) if recipe.rl.definition.critic else 'none'}"
    )

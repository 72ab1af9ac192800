"""`rlsp train`: RL alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rlsp.cli.options import RecipeArgument, SetOption
from rlsp.cli.progress import LiveProgress, console
from rlsp.cli.run import open_directory
from rlsp.config import Recipe, load


def train(
    recipe: RecipeArgument,
    out: Annotated[Path, typer.Option(help="The run directory.")],
    settings: SetOption = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Delete an existing run directory first.")] = False,
) -> None:
    """PPO on the recipe's model (--set model.path=DIR), with exploration reward and verifier."""
    resolved = load(Recipe, recipe, settings or [])
    directory = open_directory(out, resolved, resume=False, overwrite=overwrite)
    from rlsp.engines import native, stages

    policy = stages.open_policy(resolved.model.path)
    with LiveProgress() as progress:
        native.reinforce(policy, resolved, directory, progress)
    console.print(f"model: {directory.path('rl', 'model')}", soft_wrap=True)

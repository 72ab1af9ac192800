"""`rlsp train`: RL alone."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rlsp.cli.options import (
    OverwriteOption,
    RecipeArgument,
    ResumeOption,
    RisksOption,
    SetOption,
    TrustOption,
    judging,
)
from rlsp.cli.progress import LiveProgress, console
from rlsp.cli.run import open_directory
from rlsp.config import Recipe, load


def train(
    recipe: RecipeArgument,
    out: Annotated[Path, typer.Option(help="The run directory.")],
    settings: SetOption = None,
    resume: ResumeOption = False,
    overwrite: OverwriteOption = False,
    trust: TrustOption = False,
    accept_risks: RisksOption = False,
) -> None:
    """RL alone, by rl.algorithm, on the recipe's model (--set model.path=DIR), with exploration reward and verifier."""
    alone = load(Recipe, recipe, settings or []).model_copy(update={"demonstrations": None, "sft": None})
    from rlsp.engines import native

    directory = open_directory(out, alone, resume, overwrite, judging(trusted_code=trust), accept_risks)
    with LiveProgress() as progress:
        model = native.reinforce(alone, directory, progress, judging(trusted_code=trust))
    console.print(f"model: {model}", soft_wrap=True)

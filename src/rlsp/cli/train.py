"""`rlsp train`: RL alone."""

from __future__ import annotations

from pathlib import Path

from rlsp.cli.options import (
    OutRun,
    OverwriteOption,
    RecipeArgument,
    ResumeOption,
    RisksOption,
    SetOption,
    TrustOption,
    judging,
)
from rlsp.cli.progress import LiveProgress, console
from rlsp.cli.run import opened
from rlsp.config import Recipe, load
from rlsp.verifiers.settings import Settings


def train(
    recipe: RecipeArgument,
    out: OutRun,
    settings: SetOption = None,
    resume: ResumeOption = False,
    overwrite: OverwriteOption = False,
    trust: TrustOption = False,
    accept_risks: RisksOption = False,
) -> None:
    """RL alone, by rl.algorithm, on the recipe's model (--set model.path=DIR), with exploration reward and verifier."""
    alone = load(Recipe, recipe, settings or []).model_copy(update={"demonstrations": None, "sft": None})
    execute(alone, out, resume, overwrite, judging(trusted_code=trust), accept_risks)


def execute(
    recipe: Recipe, out: Path, resume: bool, overwrite: bool, judge: Settings, accept_risks: bool = False
) -> None:
    """Train what the directory has not finished yet and show where the model is."""
    from rlsp.engines import native

    with opened(out, recipe, "train", resume, overwrite, judge, accept_risks) as directory, LiveProgress() as progress:
        model = native.reinforce(recipe, directory, progress, judge)
    console.print(f"model: {model}", soft_wrap=True)

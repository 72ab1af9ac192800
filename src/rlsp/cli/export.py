"""`rlsp export`: a checkpoint's policy as a Hugging Face model, or a recipe for another trainer."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Literal

import typer

from rlsp import model_files
from rlsp.cli.options import OutFile, ReplaceOption, SetOption, StepOption, step_or_best
from rlsp.cli.progress import console
from rlsp.cli.terminal import say
from rlsp.config import Recipe, load
from rlsp.errors import InputError
from rlsp.files import check_writable
from rlsp.runs import Run


def export(
    source: Annotated[str, typer.Argument(metavar="RUN|RECIPE", help="A run directory; with --engine a recipe.")],
    out: OutFile,
    step: StepOption = None,
    engine: Annotated[
        Literal["openrlhf", "verl"] | None, typer.Option(help="Write the recipe's reward and prompts for this trainer.")
    ] = None,
    settings: SetOption = None,
    overwrite: ReplaceOption = False,
) -> None:
    """Write the policy of an RL checkpoint as a Hugging Face model directory, or a recipe for another trainer."""
    if engine is not None:
        if step is not None:
            raise InputError("--step is of a run's checkpoint: leave it out")
        recipe = load(Recipe, source, settings or [])
        check_writable(out, overwrite, directory=True)
        if engine == "verl":
            _for_verl(recipe, out)
        else:
            _for_openrlhf(recipe, out)
        return
    if settings:
        raise InputError("--set overrides a recipe's keys: give a recipe and its --engine")
    run, wanted = Run(Path(source)), step_or_best(step)
    check_writable(out, overwrite)
    model_files.check_replaceable(out)
    from rlsp.engines import fork, stages

    checkpoint = fork.checkpoint_of(run, wanted)
    stages.policy_at(run, checkpoint).save(out)
    console.print(f"the policy after step {checkpoint.step}: {out}", soft_wrap=True)


def _for_verl(recipe: Recipe, out: Path) -> None:
    from rlsp.engines.verl import export as verl

    names = verl.write(recipe, out)
    say(f"for verl: {', '.join(names)} in {out}")
    say("start it by node.sh on one machine, by ray.sh on a Ray cluster's head, by sbatch slurm.sh")


def _for_openrlhf(recipe: Recipe, out: Path) -> None:
    from rlsp.integrations import openrlhf

    arguments = openrlhf.export(recipe, out)
    say(f"reward and prompts: {out}")
    say(f"for openrlhf.cli.train_ppo_ray: {shlex.join(arguments)}")

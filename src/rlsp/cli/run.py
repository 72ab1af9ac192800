"""`rlsp run`: a recipe from the base model to the report."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from rlsp import runs
from rlsp.cli.options import (
    EngineOption,
    OverwriteOption,
    RecipeArgument,
    ResumeOption,
    RisksOption,
    SetOption,
    TrustOption,
    judging,
)
from rlsp.cli.progress import LiveProgress, console
from rlsp.cli.tables import print_differences, print_results
from rlsp.cli.terminal import say, say_if
from rlsp.config import Recipe, load, override, to_toml
from rlsp.errors import InputError
from rlsp.reward import warnings
from rlsp.runs import Engine, Run, Verb
from rlsp.verifiers.settings import STRICT, Settings


def run(
    recipe: RecipeArgument,
    out: Annotated[Path | None, typer.Option(help="The run directory; runs/NAME by default.")] = None,
    settings: SetOption = None,
    model: Annotated[str | None, typer.Option(help="Short for --set model.path=DIR.")] = None,
    data: Annotated[
        str | None,
        typer.Option(metavar="REF", help="Your questions: a file, a benchmark, hub:… or gym:…, as the task."),
    ] = None,
    resume: ResumeOption = False,
    overwrite: OverwriteOption = False,
    trust: TrustOption = False,
    accept_risks: RisksOption = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the resolved recipe and what it needs.")] = False,
    engine: EngineOption = "native",
) -> None:
    """SFT → exploration reward and verifier → RL → evaluation → report."""
    overrides = list(settings or [])
    if model is not None:
        overrides.append(override("model.path", model))
    if data is not None:
        overrides += [override("task.name", "data"), override("task.data", data)]
    resolved = load(Recipe, recipe, overrides)
    if dry_run:
        from rlsp.engines import preflight

        say_if(preflight.check(resolved, judging(trusted_code=trust), accept_risks, engine))
        print_plan(resolved)
        if engine == "verl":
            from rlsp.engines.verl import plan

            say(plan.checked(resolved))
        return
    where = out or Path("runs") / resolved.name
    execute(resolved, where, resume, overwrite, judging(trusted_code=trust), accept_risks, engine)


def execute(
    recipe: Recipe,
    out: Path,
    resume: bool,
    overwrite: bool,
    judge: Settings = STRICT,
    accept_risks: bool = False,
    engine: Engine = "native",
) -> None:
    """Run what the directory has not finished yet and show the outcome."""
    from rlsp.engines import native

    with (
        opened(out, recipe, "run", resume, overwrite, judge, accept_risks, engine) as directory,
        LiveProgress() as progress,
    ):
        if engine == "verl":
            from rlsp.engines.verl import run as cluster

            report = cluster.run(recipe, directory, progress, judge)
        elif engine == "tinker":
            from rlsp.engines import tinker

            report = tinker.run(recipe, directory, progress, judge)
        else:
            report = native.run(recipe, directory, progress, judge)
    print_results(f"{recipe.name}, seed {recipe.seed}", directory.evaluations().values())
    print_differences(directory)
    console.print(f"report: {report}", soft_wrap=True)


@contextmanager
def opened(
    path: Path,
    recipe: Recipe,
    verb: Verb,
    resume: bool,
    overwrite: bool,
    judge: Settings,
    accept_risks: bool = False,
    engine: Engine = "native",
) -> Iterator[Run]:
    """A new run directory, or an existing one as the user wants it: asked on a terminal, refused elsewhere. Nothing is
    made or deleted for a recipe whose model, problems or reward will not do. Inside, it is locked.

    Raises:
        InputError: they will not do, the directory exists and no flag says what to do, it is another recipe's, or
            another process is at work in it.
    """
    from rlsp.engines import preflight, stages

    if resume and overwrite:
        raise InputError("--resume keeps what is there, --overwrite deletes it: give one of them")
    say_if(preflight.check(recipe, judge, accept_risks, engine))
    if engine == "native":
        stages.open_policy(recipe.model.path, recipe.sampling.engine)
    exists = runs.exists(path)
    if exists and not (resume or overwrite) and sys.stdin.isatty():
        answer = typer.prompt(f"{path} exists: resume, overwrite or quit?", default="quit")
        resume, overwrite = answer == "resume", answer == "overwrite"
    if exists and not (resume or overwrite):
        raise InputError(f"{path} exists: go on with it by --resume, start over by --overwrite, or give another --out")
    with runs.locked(path):
        if exists and overwrite:
            runs.remove(path, recipe)
        yield runs.resume(path, recipe, engine) if exists and resume else runs.create(path, recipe, verb, engine=engine)


def print_plan(recipe: Recipe) -> None:
    """The resolved recipe, what is wrong with its reward, its memory and its tokens."""
    from rlsp.engines.estimate import GIB, estimate

    console.print(to_toml(recipe), highlight=False, markup=False, soft_wrap=True)
    for warning in warnings(recipe):
        console.print(f"warning: {warning}", soft_wrap=True)
    needed = estimate(recipe)
    adapters = f", adapters of {needed.learnt / 1e6:.2f} M" if recipe.model.lora else ""
    console.print(f"model: {needed.parameters / 1e6:.2f} M parameters{adapters}")
    for part, size in needed.bytes_by_part.items():
        console.print(f"  {size / GIB:7.2f} GiB  {part}")
    console.print(f"  {needed.total_bytes / GIB:7.2f} GiB  in all, about")
    console.print(f"RL samples at most {needed.rollout_tokens / 1e6:.2f} M tokens")

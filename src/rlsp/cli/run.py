"""`rlsp run`: a recipe from the base model to the report."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from rlsp import runs, tasks
from rlsp.cli.options import RecipeArgument, SetOption
from rlsp.cli.progress import LiveProgress, console
from rlsp.cli.tables import print_results
from rlsp.config import Recipe, load
from rlsp.errors import InputError
from rlsp.runs import Run
from rlsp.tasks.splits import Split


def run(
    recipe: RecipeArgument,
    out: Annotated[Path | None, typer.Option(help="The run directory; runs/NAME by default.")] = None,
    settings: SetOption = None,
    model: Annotated[str | None, typer.Option(help="Short for --set model.path=DIR.")] = None,
    data: Annotated[Path | None, typer.Option(help="Your JSONL of questions and answers, as the task.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with an existing run directory.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Delete an existing run directory first.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the resolved recipe and what it needs.")] = False,
) -> None:
    """SFT → exploration reward and verifier → PPO → evaluation → report."""
    overrides = list(settings or [])
    if model is not None:
        overrides.append(f"model.path={json.dumps(model)}")
    if data is not None:
        overrides.append(f"task={{name='file', path={json.dumps(str(data))}}}")
    resolved = load(Recipe, recipe, overrides)
    if dry_run:
        print_plan(resolved)
        return
    execute(resolved, out or Path("runs") / resolved.name, resume, overwrite)


def execute(recipe: Recipe, out: Path, resume: bool, overwrite: bool) -> None:
    """Run what the directory has not finished yet and show the outcome; a recipe whose model or problems are missing
    leaves no directory behind."""
    from rlsp.engines import native
    from rlsp.models import resolve

    resolve(recipe.model.path)
    tasks.problems(recipe.task, Split.TEST, 1, 0)
    directory = open_directory(out, recipe, resume, overwrite)
    with LiveProgress() as progress:
        report = native.run(recipe, directory, progress)
    print_results(f"{recipe.name}, seed {recipe.seed}", directory.evaluations().values())
    console.print(f"report: {report}", soft_wrap=True)


def open_directory(path: Path, recipe: Recipe, resume: bool, overwrite: bool) -> Run:
    """A new run directory, or an existing one as the user wants it: asked on a terminal, refused elsewhere.

    Raises:
        InputError: the directory exists and no flag says what to do, or it belongs to another recipe.
    """
    if resume and overwrite:
        raise InputError("--resume keeps what is there, --overwrite deletes it: give one of them")
    existing = (path / runs.MANIFEST).is_file()
    if existing and not (resume or overwrite) and sys.stdin.isatty():
        answer = typer.prompt(f"{path} exists: resume, overwrite or quit?", default="quit")
        resume, overwrite = answer == "resume", answer == "overwrite"
    if existing and overwrite:
        shutil.rmtree(path)
    if existing and resume:
        return _continued(Run(path), recipe)
    return runs.create(path, recipe)


def _continued(directory: Run, recipe: Recipe) -> Run:
    then, now = directory.manifest()["recipe"], recipe.model_dump(mode="json")
    if changed := [key for key in now if now[key] != then.get(key)]:
        raise InputError(
            f"{directory.directory} was made by another recipe: {', '.join(changed)} differ; give another --out or "
            "--overwrite"
        )
    return directory


def print_plan(recipe: Recipe) -> None:
    """The resolved recipe, its memory and its tokens."""
    from rlsp.engines.estimate import GIB, estimate

    console.print_json(recipe.model_dump_json())
    needed = estimate(recipe)
    console.print(f"model: {needed.parameters / 1e6:.2f} M parameters")
    for part, size in needed.bytes_by_part.items():
        console.print(f"  {size / GIB:7.2f} GiB  {part}")
    console.print(f"  {needed.total_bytes / GIB:7.2f} GiB  in all, at most")
    console.print(f"RL samples at most {needed.rollout_tokens / 1e6:.2f} M tokens")

"""A new run that begins where another one's RL stood: the same past, and a recipe that may go on in another way."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Literal

from rlsp import checkpoints, runs
from rlsp.checkpoints import Checkpoint
from rlsp.config import Recipe
from rlsp.engines import drawing
from rlsp.engines.rl_records import KINDS, LOGS
from rlsp.errors import InputError
from rlsp.files import JsonLines, check_whole, read_records, whole_directory, write_records
from rlsp.runs import EVALUATION, Run, changes
from rlsp.types import Problem

FIXED = ("model.", "task.", "demonstrations.", "sft.")
"""What decided the steps that a fork keeps."""
LATER = ("rl.", "reward.", "exploration.", "alarms.", "probe.", "checkpoints.", "name", "description")
"""What no evaluation before RL depends on."""


def checkpoint_of(source: Run, step: int | Literal["best"] | None) -> Checkpoint:
    """A run's RL checkpoint: of that step, the best by [probe], or the newest that is whole.

    Raises:
        InputError: there is none, or it is damaged; names those that there are. Or the run is another engine's.
    """
    source.require_native()
    folder = source.path("rl", "checkpoints")
    there = checkpoints.steps(folder)
    if not there:
        raise InputError(f"{source.directory} has no RL checkpoints: nothing to begin from")
    if step is None or step == "best":
        newest = checkpoints.newest(folder)[0]
        if newest is None:
            raise InputError(f"no checkpoint in {folder} is whole")
        if step is None:
            return newest
        if newest.state["best"] is None:
            raise InputError(f"{source.directory} does not know its best checkpoint: its recipe has no [probe]")
        step = int(newest.state["best"][0])
    if step not in there:
        raise InputError(f"{source.directory} has no checkpoint of step {step}; it has {', '.join(map(str, there))}")
    return checkpoints.read(checkpoints.place(folder, step))


def check(source: Run, recipe: Recipe) -> None:
    """Raises InputError when the recipe changes what the source's past was made by, or another engine made it."""
    source.require_native()
    if fixed := [change for key, change in changes(source.recipe(), recipe).items() if key.startswith(FIXED)]:
        raise InputError(
            f"a fork keeps what {source.directory} has done, and that was done by another recipe: {', '.join(fixed)}; "
            "leave these keys, or begin a new run"
        )


def fork(source: Run, checkpoint: Checkpoint, recipe: Recipe, directory: Path) -> None:
    """Make a run directory that holds the source's past up to the checkpoint; whole or not at all.

    Raises:
        InputError: a file of the source is missing or damaged, or the file system says no.
    """
    source.check()
    with whole_directory(directory) as beside:
        of = {"run": str(source.directory), "step": checkpoint.step}
        _fill(runs.create(beside, recipe, source.verb, of), source, checkpoint, recipe)


def _fill(out: Run, source: Run, checkpoint: Checkpoint, recipe: Recipe) -> None:
    _problems(source, recipe, out)
    for stage in ("demonstrations", "sft"):
        if source.finished(stage):
            out.finish(stage, *_copied(source, out, stage))
    if all(key.startswith(LATER) for key in changes(source.recipe(), recipe)):
        for stage in (f"{EVALUATION}base", f"{EVALUATION}sft"):
            if source.finished(stage):
                out.finish(stage, *_copied(source, out, stage))
    for kind in KINDS:
        for step in range(1, checkpoint.step + 1):
            check_whole(source.step_file(kind, step))
            _copy(source.step_file(kind, step), out.step_file(kind, step))
    for name in LOGS:
        log, mark = JsonLines(source.path("rl", name)), checkpoint.state["logs"][name]
        if not log.holds(mark):
            raise InputError(
                f"{log.path} has lost or changed lines of the first {checkpoint.step} steps: put it back from a copy"
            )
        JsonLines(_copy(log.path, out.path("rl", name))).cut(mark)
    of_its_own = {**checkpoint.state, "best": None}  # the source's best is a checkpoint that stays with the source
    checkpoints.write(out.path("rl", "checkpoints"), replace(checkpoint, state=of_its_own))


def _problems(source: Run, recipe: Recipe, out: Run) -> None:
    """Drawn for the new recipe; those of the steps that are kept follow behind, for whoever reads old rollouts."""
    made = drawing.write_problems(recipe, out)
    train = out.path("problems", "train.jsonl")
    drawn = {problem.id: problem for problem in read_records(train, Problem)}
    before = {problem.id: problem for problem in read_records(source.path("problems", "train.jsonl"), Problem)}
    write_records(train, [*read_records(train, Problem), *(each for key, each in before.items() if key not in drawn)])
    out.finish("problems", *made)


def _copied(source: Run, out: Run, stage: str) -> list[Path]:
    """What a finished stage has made, in the new run."""
    made = source.manifest()["stages"][stage]
    return [_copy(source.path(name), out.path(name)) for name in made]


def _copy(path: Path, to: Path) -> Path:
    to.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, to)
    return to

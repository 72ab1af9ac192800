"""What is asked: a task is a named source of problems; tasks whose steps a machine can check also replay responses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random

from rlsp.config import TaskRecipe
from rlsp.errors import InputError
from rlsp.tasks import chain_sum, countdown
from rlsp.tasks.files import read_problems
from rlsp.tasks.splits import Split, split_of
from rlsp.tasks.traces import Replay
from rlsp.types import Problem

GENERATED = {countdown.NAME: countdown, chain_sum.NAME: chain_sum}


def problems(recipe: TaskRecipe, split: Split, count: int, seed: int) -> list[Problem]:
    """`count` problems of one split, drawn by `seed`. A file's problems fall into splits by their hash, like generated
    ones; of a file, all problems of the split are returned when it holds fewer than `count`.

    Raises:
        InputError: the task is empty, lacks a level, or holds fewer generated problems than asked for.
    """
    if recipe.name == "file":
        every = read_problems(Path(recipe.path))
        inside = [problem for problem in every[: recipe.limit or None] if split_of(problem.id) is split]
        if not inside:
            raise InputError(f"{recipe.path}: none of its problems falls into the {split} split; give more of them")
        return Random(seed).sample(inside, len(inside))[:count]
    task = GENERATED[recipe.name]
    if unknown := sorted(set(recipe.levels) - set(task.LEVELS)):
        raise InputError(f"task {recipe.name!r} has no level {unknown[0]}; it has {sorted(task.LEVELS)}")
    return task.problems(split, count, seed, recipe.levels)


def replayer(task: str) -> Callable[[Problem, str], Replay] | None:
    """The task's replay of a response; None for a task whose steps no machine can check."""
    return GENERATED[task].replay if task in GENERATED else None

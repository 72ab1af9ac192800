"""What is asked: a task is a named source of problems; tasks whose steps a machine can check also replay responses."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random

from rlsp.config import DemonstrationRecipe, FilterRecipe, TaskRecipe
from rlsp.errors import InputError
from rlsp.files import read_lines
from rlsp.tasks import chain_sum, countdown, filters
from rlsp.tasks.data import GYM_PROBLEMS, Item, Unusable, once, read_questions, read_traces, scan, usable
from rlsp.tasks.filters import Dropped
from rlsp.tasks.splits import Split, split_of
from rlsp.tasks.traces import Replay
from rlsp.types import Problem

GENERATED = {countdown.NAME: countdown, chain_sum.NAME: chain_sum}


def problems(recipe: TaskRecipe, split: Split, count: int, seed: int) -> list[Problem]:
    """`count` problems of one split, drawn by `seed`. The problems of data fall into splits by their hash, like
    generated ones; all problems of the split are returned when it holds fewer than `count`.

    Raises:
        InputError: the task is empty, lacks a level, or holds fewer generated problems than asked for.
    """
    if recipe.name == "data":
        inside = [problem for problem in data_problems(recipe) if split_of(problem.id) is split]
        if not inside:
            raise InputError(f"{recipe.data}: none of its problems falls into the {split} split; give more of them")
        return Random(seed).sample(inside, len(inside))[:count]
    task = GENERATED[recipe.name]
    if unknown := sorted(set(recipe.levels) - set(task.LEVELS)):
        raise InputError(f"task {recipe.name!r} has no level {unknown[0]}; it has {sorted(task.LEVELS)}")
    return task.problems(split, count, seed, recipe.levels)


def data_problems(recipe: TaskRecipe) -> list[Problem]:
    """The problems of a data task that its filters leave, every split, in the data's order.

    Raises:
        InputError: the data or what the filters compare them with can't be read, a row is unusable, or nothing is left.
    """
    columns = recipe.columns.model_dump(exclude_none=True)
    limit = recipe.limit if recipe.filters == FilterRecipe() else max(recipe.limit, GYM_PROBLEMS)
    items = usable(recipe.data, scan(recipe.data, recipe.verifier, columns, limit))
    every = [item.problem for item in items] if recipe.filters.deduplicate else once(items)
    kept, dropped = apply_filters(every, recipe.filters)
    if not kept:
        raise InputError(f"{recipe.data}: the filters leave none of its {len(dropped)} problems")
    return kept[: recipe.limit or None]


def check_traces(recipe: DemonstrationRecipe, task: TaskRecipe) -> None:
    """Look at the first row of the data.

    Raises:
        InputError: there is none, or it can't be read.
    """
    if next(read_traces(recipe.data, task.verifier, recipe.columns.model_dump(exclude_none=True)), None) is None:
        raise InputError(f"{recipe.data}: no traces in it; give data that hold any")


def traces(recipe: DemonstrationRecipe, task: TaskRecipe) -> tuple[list[tuple[Problem, str]], list[Dropped]]:
    """(problems with traces of them as the data has them, what is left out: unusable rows, problems that runs are
    evaluated or selected on, and those of the test sets that the task keeps away from).

    Raises:
        InputError: the data or a test set can't be read.
    """
    pairs, dropped = list[tuple[Problem, str]](), list[Dropped]()
    for row in read_traces(recipe.data, task.verifier, recipe.columns.model_dump(exclude_none=True)):
        if isinstance(row, Unusable):
            dropped.append(Dropped(row.where, row.question, row.reason, row.detail))
        else:
            pairs.append(row)
    apart = FilterRecipe(decontaminate=task.filters.decontaminate, ngram=task.filters.ngram)
    kept, contaminated = apply_filters([problem for problem, _ in pairs], apart)
    inside = {problem.id for problem in kept if split_of(problem.id) is Split.TRAIN}
    dropped += [
        Dropped(each.id, each.question, f"of the {split_of(each.id)} split", "")
        for each in kept
        if each.id not in inside
    ]
    return [(problem, trace) for problem, trace in pairs if problem.id in inside], dropped + contaminated


def survey(recipe: TaskRecipe) -> tuple[list[Item], list[Problem], list[Dropped]]:
    """(every usable row of the data, the problems that the filters leave, what is left out with unusable rows first).

    Raises:
        InputError: the data or what the filters compare them with can't be read.
    """
    rows = list(scan(recipe.data, recipe.verifier, recipe.columns.model_dump(exclude_none=True), recipe.limit))
    if not rows:
        raise InputError(f"{recipe.data}: no problems in it; give data that hold any")
    items = [row for row in rows if isinstance(row, Item)]
    bad = [Dropped(row.where, row.question, row.reason, row.detail) for row in rows if isinstance(row, Unusable)]
    kept, dropped = apply_filters([item.problem for item in items], recipe.filters)
    return items, kept, bad + dropped


def apply_filters(every: Sequence[Problem], recipe: FilterRecipe) -> tuple[list[Problem], list[Dropped]]:
    """(the problems that every filter of the recipe leaves, the others with the first reason against each).

    Raises:
        InputError: a test set or the verdicts can't be read, or the verdicts are on other problems.
    """
    kept, dropped = list(every), list[Dropped]()
    if recipe.deduplicate:
        kept, dropped = filters.deduplicate(kept)
    if recipe.decontaminate:
        tests = {reference: read_questions(reference) for reference in recipe.decontaminate}
        kept, more = filters.decontaminate(kept, tests, recipe.ngram)
        dropped += more
    if recipe.solved:
        rates = filters.solve_rates(_outcomes(Path(recipe.solved)))
        if not rates.keys() & {problem.id for problem in every}:
            raise InputError(
                f"{recipe.solved}: none of its {len(rates)} problems is among the data's; a problem's id "
                "depends on its verifier and its question"
            )
        kept, more = filters.drop_solved(kept, rates, recipe.solved_rate)
        dropped += more
    return kept, dropped


def _outcomes(path: Path) -> Iterator[tuple[str, bool]]:
    """(problem id, whether the response was right) of each line: a verdict with its problem, or a score."""
    for number, values in read_lines(path):
        match values:
            case {"problem_id": str(problem), "correct": bool(correct)} | {
                "problem_id": str(problem),
                "verdict": {"correct": bool(correct)},
            }:
                yield problem, correct
            case _:
                raise InputError(
                    f"{path}:{number}: no verdict: `problem_id` and `correct`, true or false, are needed, as rlsp "
                    f"score writes them, got {values!r:.80}"
                )


def replayer(task: str) -> Callable[[Problem, str], Replay] | None:
    """The task's replay of a response; None for a task whose steps no machine can check."""
    return GENERATED[task].replay if task in GENERATED else None

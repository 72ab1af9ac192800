"""What a run learns from and is measured on: problems and demonstrations, drawn by the recipe's seed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from random import Random

from rlsp import tasks
from rlsp.config import DemonstrationRecipe, Recipe, TaskRecipe
from rlsp.demonstrations.search import unroll
from rlsp.engines.progress import Progress
from rlsp.errors import InputError
from rlsp.files import read_records, write_records
from rlsp.runs import Run
from rlsp.tasks.splits import Split
from rlsp.types import Demonstration, Problem
from rlsp.verifiers import verify, verify_all
from rlsp.verifiers.settings import STRICT, Settings

DEMONSTRATION_SEED, TRAINING_SEED, EVALUATION_SEED, RESERVE_SEED, DOCTOR_SEED = 1, 2, 3, 4, 5
"""Streams of one recipe's seed: the problems demonstrated, trained on, the noise of evaluation, the problems in
reserve, the noise of the doctor's rollouts."""
HELD_OUT_SEED = 0
VERIFIED_AT_ONCE = 512
"""Traces of data."""


def stream(seed: int, purpose: int) -> int:
    """A seed for one purpose of a run, apart from those of other runs and purposes."""
    return 1000 * seed + purpose


def held_out_problems(recipe: Recipe, split: Split = Split.TEST) -> list[Problem]:
    """What models are evaluated on: the same whatever the seed of the run."""
    return tasks.problems(recipe.task, split, recipe.evaluation.problems, HELD_OUT_SEED)


def training_problems(recipe: Recipe) -> Iterator[list[Problem]]:
    """One list of different problems for each RL step; a file that runs out is shuffled and read again.

    Raises:
        InputError: there are fewer than a step needs.
    """
    per_step, rng = recipe.rl.prompts_per_step, Random(stream(recipe.seed, TRAINING_SEED))
    wanted = recipe.rl.steps * per_step
    drawn = tasks.problems(recipe.task, Split.TRAIN, wanted, stream(recipe.seed, TRAINING_SEED))
    if len(drawn) < per_step:
        raise InputError(f"{len(drawn)} training problems, a step needs {per_step}: lower rl.prompts_per_step")
    pool: list[Problem] = []
    for _ in range(recipe.rl.steps):
        batch, pool = pool[:per_step], pool[per_step:]
        if missing := per_step - len(batch):
            again = rng.sample(drawn, len(drawn))
            others = [problem for problem in again if problem not in batch]
            pool = others[missing:] + [problem for problem in again if problem in batch]
            batch += others[:missing]
        yield batch


def reserve_problems(recipe: Recipe) -> list[Problem]:
    """What dynamic sampling draws replacements from, in order and over again; none without it."""
    if not recipe.rl.dynamic_sampling:
        return []
    wanted = recipe.rl.steps * recipe.rl.prompts_per_step
    return tasks.problems(recipe.task, Split.TRAIN, wanted, stream(recipe.seed, RESERVE_SEED))


def write_problems(recipe: Recipe, out: Run) -> list[Path]:
    """The problems of every RL step in order, those in reserve, and the test problems, each in a file."""
    train, test, spare = (out.path("problems", f"{name}.jsonl") for name in ("train", "test", "reserve"))
    write_records(train, [problem for batch in training_problems(recipe) for problem in batch])
    write_records(test, held_out_problems(recipe))
    write_records(spare, reserve_problems(recipe))
    return [train, test, spare]


def problems_of_steps(run: Run, recipe: Recipe) -> list[list[Problem]]:
    """What a run has drawn for each RL step."""
    drawn = read_records(run.path("problems", "train.jsonl"), Problem)
    return [list(islice(drawn, recipe.rl.prompts_per_step)) for _ in range(recipe.rl.steps)]


def reserve_of(run: Run) -> list[Problem]:
    """What a run has drawn for dynamic sampling."""
    return list(read_records(run.path("problems", "reserve.jsonl"), Problem))


def probe_problems(recipe: Recipe) -> list[Problem]:
    """What RL is measured on while it trains, of the selection split; none without [probe]."""
    if recipe.probe is None:
        return []
    return tasks.problems(recipe.task, Split.SELECTION, recipe.probe.problems, HELD_OUT_SEED)


def demonstrate(recipe: Recipe, progress: Progress, judging: Settings = STRICT) -> list[Demonstration]:
    """Unroll searches on training problems, or take the traces of data; each has to pass the verifier before it counts.

    Raises:
        InputError: the recipe has no [demonstrations], or its data can't be read or have no trace that is right.
    """
    settings = recipe.demonstrations
    if settings is None:
        raise InputError(f"recipe {recipe.name!r} has no [demonstrations]")
    if settings.intuition is None or settings.max_attempts is None:
        return _given(settings, recipe.task, progress, judging)
    seed = stream(recipe.seed, DEMONSTRATION_SEED)
    problems = tasks.problems(recipe.task, Split.TRAIN, settings.count, seed)
    progress.stage("demonstrations", len(problems))
    rng, demonstrations = Random(seed), []
    for done, problem in enumerate(problems, 1):
        trace = unroll(problem, rng, settings.intuition, settings.max_attempts)
        if trace is not None and verify(problem, trace).correct:
            demonstrations.append(Demonstration(problem, trace, "search"))
        progress.advance(done)
    return demonstrations


def _given(
    settings: DemonstrationRecipe, task: TaskRecipe, progress: Progress, judging: Settings
) -> list[Demonstration]:
    pairs, dropped = tasks.traces(settings, task)
    unfit = ", ".join(f"{count} {reason}" for reason, count in Counter(each.reason for each in dropped).items())
    if not pairs:
        raise InputError(f"{settings.data}: none of its traces can be learned ({unfit or 'it is empty'}); give others")
    progress.stage("demonstrations", min(settings.count, len(pairs)))
    right, wrong, waiting = list[Demonstration](), 0, iter(pairs)
    while (part := list(islice(waiting, VERIFIED_AT_ONCE))) and len(right) < settings.count:
        verdicts = verify_all([problem for problem, _ in part], [trace for _, trace in part], judging)
        for (problem, trace), verdict in zip(part, verdicts, strict=True):
            if verdict.correct:
                right.append(Demonstration(problem, trace, settings.data))
        wrong += sum(not verdict.correct for verdict in verdicts)
        progress.advance(min(len(right), settings.count))
    if wrong or unfit:
        progress.say(f"{settings.data}: left out {wrong} traces that are not right" + (f", {unfit}" if unfit else ""))
    if not right:
        raise InputError(
            f"{settings.data}: none of its {len(pairs)} traces comes to the reference answer by {task.verifier!r}: see "
            "what `rlsp verify` says to one"
        )
    return right[: settings.count]

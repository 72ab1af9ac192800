"""Many RL runs of the nano recipe side by side: arms × seeds, as one-thread processes, kept and resumed."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from rlsp import runs
from rlsp.config import Recipe, TaskRecipe, load, override, to_toml
from rlsp.engines.progress import Silent
from rlsp.errors import InputError
from rlsp.files import read_json, read_lines, read_records, write_json, write_records
from rlsp.types import Problem, Rollout, to_json

console = Console(highlight=False, width=200)
BASE, SFT = "base", "sft"
ROLLOUTS, SUMMARY = "evaluation/rlsp.rollouts.jsonl.zst", "evaluation/rlsp.json"


@dataclass(frozen=True, slots=True)
class Arm:
    """One way to train: the model it starts from, what it changes in the recipe, and the task if it is another."""

    name: str
    start: str
    settings: tuple[str, ...] = ()
    task: TaskRecipe | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """One arm under one seed: the held-out summary with its rollouts, the metrics of every step, the alarms."""

    summary: dict[str, Any]
    rollouts: list[Rollout]
    levels: dict[str, int]
    curve: list[dict[str, float]]
    alarms: list[dict[str, Any]]


class Sweep:
    """Runs under `out`; `common` settings hold for every arm."""

    def __init__(self, out: Path, common: Sequence[str], seeds: range, jobs: int) -> None:
        self.out, self.common, self.seeds, self.jobs = out.resolve(), tuple(common), seeds, jobs

    def run(self, arms: Sequence[Arm]) -> dict[str, list[Result]]:
        """Every arm under every seed, those that are there already read again."""
        todo = [(arm, seed) for seed in self.seeds for arm in arms if not self._done(arm, seed)]
        os.environ["OMP_NUM_THREADS"] = "1"
        with ProcessPoolExecutor(self.jobs, multiprocessing.get_context("spawn")) as pool:
            if any(arm.start == SFT for arm in arms):
                list(pool.map(_finetune, [self.recipe(seed) for seed in self.seeds], map(self._sft, self.seeds)))
            jobs = [pool.submit(_train, self._recipe_of(arm, seed), self._directory(arm, seed)) for arm, seed in todo]
            for done, (job, (arm, seed)) in enumerate(zip(jobs, todo, strict=True), 1):
                job.result()
                console.print(f"{done}/{len(todo)}  {arm.name}, seed {seed}")
        return {arm.name: [self._read(arm, seed) for seed in self.seeds] for arm in arms}

    def recipe(self, seed: int, settings: Sequence[str] = ()) -> Recipe:
        return load(Recipe, "nano", [*self.common, f"seed={seed}", *settings])

    def _sft(self, seed: int) -> Path:
        """Where the seed's SFT model stands."""
        return self.out / SFT / f"seed{seed}"

    def _directory(self, arm: Arm, seed: int) -> Path:
        return self.out / arm.name.replace(" ", "-") / f"seed{seed}"

    def _recipe_of(self, arm: Arm, seed: int) -> Recipe:
        """RL alone, from the arm's model."""
        start = [override("model.path", str(self._sft(seed)))] if arm.start == SFT else []
        recipe = self.recipe(seed, [*start, *arm.settings])
        return recipe.model_copy(update={"demonstrations": None, "sft": None, "task": arm.task or recipe.task})

    def _done(self, arm: Arm, seed: int) -> bool:
        """Whether the run is there; one of another recipe is an error."""
        if not (self._directory(arm, seed) / SUMMARY).is_file():
            return False
        there, wanted = runs.Run(self._directory(arm, seed)).recipe(), self._recipe_of(arm, seed)
        if to_toml(there) != to_toml(wanted):
            raise InputError(f"{self._directory(arm, seed)} was made by another recipe: give another --out")
        return True

    def _read(self, arm: Arm, seed: int) -> Result:
        run = runs.Run(self._directory(arm, seed))
        alarms = run.path("rl", "alarms.jsonl")
        return Result(
            read_json(run.path(SUMMARY)),
            list(read_records(run.path(ROLLOUTS), Rollout)),
            {problem.id: problem.level for problem in read_records(run.path("problems", "test.jsonl"), Problem)},
            [values for _, values in read_lines(run.path("rl", "metrics.jsonl"))],
            [values for _, values in read_lines(alarms)] if alarms.is_file() else [],
        )


def _finetune(recipe: Recipe, directory: Path) -> None:
    """The recipe's SFT model, unless it is there."""
    import torch

    from rlsp.engines import drawing, stages

    taught = directory / "taught.json"
    lesson = recipe.model_dump(mode="json", include={"seed", "model", "task", "demonstrations", "sft", "sampling"})
    if directory.is_dir():
        if not taught.is_file() or read_json(taught) != lesson:
            raise InputError(f"{directory} was taught by another recipe: give another --out")
        return
    torch.manual_seed(recipe.seed)
    policy, progress = stages.open_policy(recipe.model.path), Silent()
    stages.finetune(policy, drawing.demonstrate(recipe, progress), recipe, progress)
    policy.save(directory)
    write_json(taught, lesson)


def _train(recipe: Recipe, directory: Path) -> None:
    from rlsp.engines import drawing, native, stages

    with runs.locked(directory):
        run = runs.resume(directory, recipe) if runs.exists(directory) else runs.create(directory, recipe)
        model = native.reinforce(recipe, run, Silent())
    test = drawing.held_out_problems(recipe)
    evaluation = stages.evaluate(stages.open_policy(str(model)), test, recipe, Silent(), "rlsp", "RLSP")
    write_records(run.path(ROLLOUTS), evaluation.rollouts)
    write_json(run.path(SUMMARY), to_json(evaluation.summary))

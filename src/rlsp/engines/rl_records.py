"""What RL writes while it trains, and how a later call finds its way back into it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import isnan
from pathlib import Path
from typing import Any

from rlsp import checkpoints
from rlsp.behaviours.grounded import rates
from rlsp.checkpoints import Checkpoint
from rlsp.config import Recipe
from rlsp.engines.keeper import Keeper
from rlsp.errors import Diverged
from rlsp.evaluation.statistics import rank_correlation
from rlsp.files import JsonLines, check_whole, write_records
from rlsp.rl.alarms import Watch
from rlsp.rl.batch import experience_tensors
from rlsp.rl.health import Check, Vigil, of_rollouts
from rlsp.rl.loop import DivergedError, Iteration, L, Training
from rlsp.runs import LENGTH_BY_LEVEL, Run
from rlsp.types import Alarm, Problem, Rollout, to_json

KINDS = ("rollouts", "scores", "advantages")
DIVERGED = ("rl", "diverged")
"""What a step failed on, as a checkpoint with rollouts and scores beside it."""
LOGS = ("metrics.jsonl", "seconds.jsonl", "alarms.jsonl")


class RlRecords:
    """The directory `rl` of a run: what each step sampled and learned from, metrics, times, alarms, checkpoints."""

    def __init__(self, out: Run, recipe: Recipe) -> None:
        self.out, self.watch = out, Watch(recipe)
        logs = [JsonLines(out.path("rl", name)) for name in LOGS]
        self.metrics, self.seconds, self.alarms = logs
        self.recipe, self.vigil = recipe, Vigil(recipe.alarms.window)
        self.keeper = Keeper(out.path("rl"), recipe.checkpoints, logs, out.forked_after)

    @property
    def products(self) -> list[Path]:
        """What stands there once RL has finished, its model aside."""
        return [self.out.path("rl", name) for name in (*LOGS, *KINDS)]

    def write(self, iteration: Iteration) -> tuple[list[Alarm], list[Check]]:
        """Everything an iteration produced, with its behaviours counted.

        Returns:
            (the alarms that begin with it, what keeps the policy from learning and has done so for a window)
        """
        step, metrics = iteration.step, iteration.metrics
        write_records(self.out.step_file("rollouts", step), iteration.rollouts)
        write_records(self.out.step_file("scores", step), iteration.scores)
        write_records(self.out.step_file("advantages", step), iteration.advantages)
        alarms = self.watch.see(step, iteration.problems, iteration.rollouts, iteration.scores, metrics)
        for alarm in alarms:
            self.alarms.write(to_json(alarm))
        behaviours = rates(iteration.problems, iteration.rollouts)
        counted = {f"behaviour/{behaviour}": value for behaviour, value in behaviours.items()}
        self.seconds.write({"step": step} | iteration.seconds)
        self.metrics.write({"step": step} | metrics | counted | _by_level(iteration.problems, iteration.rollouts))
        if (accuracy := metrics.get("held_out_accuracy")) is not None:
            self.keeper.measured(step - 1, accuracy)
        return alarms, self.vigil.see(of_rollouts(self.recipe, iteration.rollouts, iteration.scores))

    def save(self, snapshot: Callable[[int], Checkpoint], step: int, now: bool) -> None:
        """A checkpoint of the training where one is due, or `now`."""

        def whole(step: int) -> Checkpoint:
            taken = snapshot(step)
            return replace(taken, state={**taken.state, **self.state()})

        self.keeper.save(step, whole, now)

    def state(self) -> dict[str, Any]:
        """What a checkpoint says of the alarms, for `begin`."""
        return {"watch": self.watch.state(), "vigil": self.vigil.streaks}

    def dump(self, training: Training[L], error: DivergedError) -> Diverged:
        """Keep what a step failed on, for `rlsp replay`: its rollouts and scores, what the loss was computed from,
        and where they are here the weights as they were.

        Returns:
            What to tell the user.
        """
        seen, folder = error.seen, self.out.path(*DIVERGED)
        weights = training.snapshot(seen.step).tensors if self.out.engine == "native" else {}
        tensors = {**weights, **experience_tensors(seen.experience)}
        checkpoints.write(folder, Checkpoint(seen.step, tensors, {"rows": error.rows, "reason": str(error)}))
        write_records(folder / "rollouts.jsonl.zst", seen.rollouts)
        write_records(folder / "scores.jsonl.zst", seen.scores)
        run, lower = self.out.directory, f"`--set rl.actor_learning_rate={self.recipe.rl.actor_learning_rate / 3:.2g}`"
        if self.out.engine != "native":  # its weights are elsewhere
            return Diverged(
                f"step {seen.step}: {error} The step's rollouts stand in {folder}, --resume tries it again from the "
                f"newest checkpoint; to begin anew: --overwrite with {lower}"
            )
        saved = checkpoints.steps(self.keeper.folder)
        go_on = (
            f"go on from step {saved[0]}, the newest checkpoint, with other settings by `rlsp fork {run} --out` "
            f"another directory {lower}"
            if saved
            else f"there is no checkpoint yet: begin anew by --overwrite, with {lower}"
        )
        return Diverged(
            f"step {seen.step}: {error} `rlsp replay {run} {seen.step}` shows which rollouts did it. --resume would "
            f"come to the same loss again; {go_on}"
        )

    def begin(self, checkpoint: Checkpoint | None) -> None:
        """Be as after the checkpoint's step: what came later is removed.

        Raises:
            InputError: a file of an earlier step is missing or damaged.
        """
        self.alarms.path.touch()
        shutil.rmtree(self.out.path(*DIVERGED), ignore_errors=True)  # that step is done again
        if checkpoint is None:
            return
        self.watch.restore(checkpoint.state["watch"])
        self.vigil.streaks = dict(checkpoint.state["vigil"])
        for kind in KINDS:
            for path in self.out.step_files(kind):
                if step_of(path) > checkpoint.step:
                    path.unlink()
            for step in range(1, checkpoint.step + 1):
                check_whole(self.out.step_file(kind, step))


def _by_level(problems: Sequence[Problem], rollouts: Sequence[Rollout]) -> dict[str, float]:
    """Whether harder problems got longer responses; nothing where levels or lengths do not differ."""
    levels = {problem.id: problem.level for problem in problems}
    rho = rank_correlation([each.length for each in rollouts], [levels[each.problem_id] for each in rollouts])
    return {} if isnan(rho) else {LENGTH_BY_LEVEL: rho}


def step_of(path: Path) -> int:
    """The step of a file of one of the kinds."""
    return int(path.name.partition(".")[0])

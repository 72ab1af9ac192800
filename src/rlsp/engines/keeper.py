"""Checkpoints while a stage trains: when one is written, which are kept, and from which a later call goes on."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rlsp import checkpoints
from rlsp.checkpoints import Checkpoint
from rlsp.config import CheckpointRecipe
from rlsp.engines.progress import Progress
from rlsp.errors import InputError
from rlsp.files import JsonLines
from rlsp.runs import Run

SHARE = 0.1
"""Of the time, at most, is spent on checkpoints that nobody asked for."""


class Keeper:
    """The checkpoints of one stage, in `directory/checkpoints`.

    Args:
        logs: what the stage appends to, beside the checkpoints. Going on cuts them to what they held then.
        begun: the steps that another run made: their checkpoint stays, since nothing else leads back to it.
    """

    def __init__(self, directory: Path, recipe: CheckpointRecipe, logs: Sequence[JsonLines], begun: int = 0) -> None:
        self.folder, self.recipe, self.logs, self.begun = directory / "checkpoints", recipe, logs, begun
        self.best: tuple[int, float] | None = None
        self._free_at = 0.0

    def newest(self) -> tuple[Checkpoint | None, list[str]]:
        """(the newest checkpoint that is whole, what is wrong with those that were newer and are gone now), logs cut to
        it.

        Raises:
            InputError: there are checkpoints and none is whole, a fork has none, or a log has lost what the checkpoint
                counts on.
        """
        checkpoint, damaged = checkpoints.newest(self.folder)
        if checkpoint is not None:
            self.go_on_from(checkpoint)
            for step in checkpoints.steps(self.folder):
                if step > checkpoint.step:  # it would count as one of those to keep
                    shutil.rmtree(checkpoints.place(self.folder, step))
        elif damaged or self.begun:
            found = f": {'; '.join(damaged)}" if damaged else ""
            again = "fork again" if self.begun else f"remove {self.folder.parent} to train this stage again"
            raise InputError(f"no checkpoint in {self.folder} is whole{found}. Put one back from a copy, or {again}")
        return checkpoint, damaged

    def latest(self, out: Run, stage: str, progress: Progress) -> Checkpoint | None:
        """`newest`, with a word about it; without a checkpoint the stage's directory is emptied."""
        checkpoint, damaged = self.newest()
        for each in damaged:
            progress.say(f"damaged: {each}")
        if checkpoint is None:
            out.clear(stage)
        else:
            progress.say(f"{stage.upper()} goes on after step {checkpoint.step}, its newest whole checkpoint")
        return checkpoint

    def save(self, step: int, snapshot: Callable[[int], Checkpoint], now: bool = False) -> None:
        """Write the checkpoint of `step` where one is due, or `now`; remove those that are no longer needed."""
        every = self.recipe.every
        if not (now or (time.monotonic() >= self._free_at if every is None else step % every == 0)):
            return
        started = time.monotonic()
        taken = snapshot(step)
        checkpoints.write(self.folder, replace(taken, state={**taken.state, **self.state()}))
        self.prune(self.recipe.keep)
        ended = time.monotonic()
        self._free_at = ended + (ended - started) / SHARE

    def state(self) -> dict[str, Any]:
        """What a checkpoint says of the best one and of the logs, for `go_on_from`."""
        return {"best": self.best, "logs": {log.path.name: log.mark() for log in self.logs}}

    def measured(self, step: int, accuracy: float) -> None:
        """The held-out accuracy after that step: the best is kept, the first of equals. Step 0 has no checkpoint."""
        if step > 0 and (self.best is None or accuracy > self.best[1]):
            self.best = (step, accuracy)

    def prune(self, keep: int) -> None:
        """Remove all but the `keep` newest, the best, and the one that the run began with."""
        for step in checkpoints.steps(self.folder)[keep:]:
            if step != self.begun and (self.best is None or step != self.best[0]):
                shutil.rmtree(checkpoints.place(self.folder, step))

    def go_on_from(self, checkpoint: Checkpoint) -> None:
        """Be as when it was written: the logs are cut.

        Raises:
            InputError: a log has lost what it held then.
        """
        self.best = checkpoint.state["best"] and tuple(checkpoint.state["best"])
        marks = checkpoint.state["logs"]
        for log in self.logs:
            if not log.holds(marks[log.path.name]):
                raise InputError(
                    f"{log.path} has lost or changed lines of the first {checkpoint.step} steps: put it back from a "
                    f"copy, or remove {log.path.parent} to train this stage again"
                )
        for log in self.logs:
            log.cut(marks[log.path.name])

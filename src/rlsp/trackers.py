"""A run's numbers in TensorBoard, Weights & Biases or trackio, read from its files: the run knows nothing of them."""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Protocol

from rlsp.errors import InputError
from rlsp.report.alarms import read_alarms
from rlsp.runs import Run, read_metrics

PROJECT = "rlsp"


class Name(StrEnum):
    TENSORBOARD = "tensorboard"
    WANDB = "wandb"
    TRACKIO = "trackio"


class Tracker(Protocol):
    """Where numbers go. Steps of one stage come in order, those of stages one after the other."""

    def log(self, stage: str, step: int, values: Mapping[str, float]) -> None: ...

    def close(self) -> None: ...


class TensorBoard:
    """Event files in the run's `tensorboard`, anew each time: `tensorboard --logdir RUN/tensorboard`."""

    def __init__(self, run: Run) -> None:
        writing = _needed("torch.utils.tensorboard", "tensorboard")
        folder = run.path("tensorboard")
        shutil.rmtree(folder, ignore_errors=True)
        self._writer = writing.SummaryWriter(str(folder))

    def log(self, stage: str, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(f"{stage}/{name}", value, step)
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


class Logged:
    """Weights & Biases, and trackio, which speaks its language: a run of the project `rlsp`, anew each time. Each stage
    has its own axis of steps."""

    def __init__(self, run: Run, module: str) -> None:
        self._module = _needed(module, module)
        self._module.init(project=PROJECT, name=run.name, config=run.manifest()["recipe"])
        self._axes: set[str] = set()

    def log(self, stage: str, step: int, values: Mapping[str, float]) -> None:
        axis = f"{stage}/step"
        if stage not in self._axes and hasattr(self._module, "define_metric"):
            self._module.define_metric(axis)
            self._module.define_metric(f"{stage}/*", step_metric=axis)
        self._axes.add(stage)
        self._module.log({axis: step} | {f"{stage}/{name}": value for name, value in values.items()})

    def close(self) -> None:
        self._module.finish()


def opened(name: Name, run: Run) -> Tracker:
    """Raises InputError when the package that it needs is missing."""
    return TensorBoard(run) if name is Name.TENSORBOARD else Logged(run, name)


class Follower:
    """Sends each number of a run once, when it is there: SFT's and RL's steps, how many alarms a step has raised, and
    what was evaluated."""

    def __init__(self, run: Run, trackers: list[Tracker]) -> None:
        self.run, self.trackers = run, trackers
        self._sent = {"sft": 0, "rl": 0}
        self._evaluated: set[str] = set()

    def update(self) -> None:
        """Raises InputError when a file of the run can't be read."""
        raised: dict[int, int] = {}
        for alarm in read_alarms(self.run) or []:
            raised[alarm.step] = raised.get(alarm.step, 0) + 1
        for stage in self._sent:
            for each in read_metrics(self.run.path(stage, "metrics.jsonl")):
                step = int(each["step"])
                if step <= self._sent[stage]:
                    continue  # sent, or made again after a break: the same numbers
                values = {name: value for name, value in each.items() if name != "step"}
                self._send(stage, step, values | ({"alarms": raised.get(step, 0)} if stage == "rl" else {}))
                self._sent[stage] = step
        for name, summary in self.run.evaluations().items():
            if name not in self._evaluated:
                self._evaluated.add(name)
                told = {"accuracy": summary["accuracy"], "tokens": summary["mean_tokens"]}
                self._send(f"evaluation/{name}", 0, told)

    def close(self) -> None:
        for tracker in self.trackers:
            tracker.close()

    def _send(self, stage: str, step: int, values: Mapping[str, float]) -> None:
        for tracker in self.trackers:
            tracker.log(stage, step, values)


def _needed(module: str, package: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise InputError(f"--to {package} needs its package ({error}): pip install 'rlsp[trackers]'") from None

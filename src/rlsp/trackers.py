"""A run's numbers in TensorBoard, Weights & Biases or trackio, read from its files: the run knows nothing of them."""

from __future__ import annotations

import importlib
import shutil
from collections import Counter
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Protocol

from rlsp.errors import InputError
from rlsp.files import read_records
from rlsp.runs import Run, read_metrics
from rlsp.types import Alarm

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


class Follower:
    """Sends each number of a run once, when it is there: SFT's and RL's steps, how many alarms a step has raised, and
    what was evaluated."""

    def __init__(self, run: Run) -> None:
        self.run, self.trackers = run, list[Tracker]()
        self._sent = {"sft": 0, "rl": 0}
        self._evaluated: set[str] = set()

    def add(self, name: Name) -> None:
        """Raises InputError when the package that it needs is missing."""
        self.trackers.append(TensorBoard(self.run) if name is Name.TENSORBOARD else Logged(self.run, name))

    def update(self) -> None:
        """Raises InputError when a file of the run can't be read."""
        metrics = {stage: read_metrics(self.run.path(stage, "metrics.jsonl")) for stage in self._sent}
        raised = self._raised()  # after the metrics, before which a step writes its alarms
        for stage, rows in metrics.items():
            for each in rows:
                step = int(each["step"])
                if step <= self._sent[stage]:
                    continue  # sent, or made again after a break: the same numbers
                values = {name: value for name, value in each.items() if name != "step"}
                self._send(stage, step, values | ({"alarms": raised[step]} if stage == "rl" else {}))
                self._sent[stage] = step
        for name, summary in self.run.evaluations().items():
            if name not in self._evaluated:
                self._evaluated.add(name)
                told = {"accuracy": summary["accuracy"], "tokens": summary["mean_tokens"]}
                self._send(f"evaluation/{name}", 0, told)

    def _raised(self) -> Counter[int]:
        """How many alarms each step has raised."""
        path = self.run.path("rl", "alarms.jsonl")
        return Counter(alarm.step for alarm in read_records(path, Alarm)) if path.is_file() else Counter()

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

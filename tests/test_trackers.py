"""What is sent to trackers: every number of a run once, as the run goes on."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from rlsp import trackers
from rlsp.cli import app
from rlsp.errors import InputError
from rlsp.files import JsonLines
from rlsp.runs import Run
from rlsp.trackers import Follower, Name
from rlsp.types import Alarm, to_json
from tests.test_report import run

__all__ = ["run"]


class Recorder:
    """A tracker that remembers."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, int, dict[str, float]]] = []

    def log(self, stage: str, step: int, values: Mapping[str, float]) -> None:
        self.sent.append((stage, step, dict(values)))

    def close(self) -> None: ...

    def steps(self, stage: str) -> list[int]:
        return [step for each, step, _ in self.sent if each == stage]


def test_each_step_and_evaluation_is_sent_once(run: Run) -> None:
    tracker = Recorder()
    follower = Follower(run)
    follower.trackers.append(tracker)
    follower.update()
    follower.update()
    assert tracker.steps("sft") == [1] and tracker.steps("rl") == [1, 2, 3, 4, 5, 6]
    assert tracker.steps("evaluation/base") == tracker.steps("evaluation/rlsp") == [0]
    values = next(values for stage, step, values in tracker.sent if (stage, step) == ("rl", 2))
    assert values["accuracy"] == 0.2 and values["alarms"] == 0 and "step" not in values


def test_steps_that_are_made_again_are_not_sent_again(run: Run) -> None:
    tracker = Recorder()
    follower = Follower(run)
    follower.trackers.append(tracker)
    follower.update()
    path = run.path("rl", "metrics.jsonl")
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:4]))  # a break: resumed after step 4
    follower.update()
    log = JsonLines(path)
    for step in (5, 6, 7):
        log.write({"step": step, "accuracy": 0.1 * step})
    follower.update()
    assert tracker.steps("rl") == [1, 2, 3, 4, 5, 6, 7]


def test_each_stage_has_its_axis(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for Weights & Biases, whose steps may not go back: SFT's and RL's both begin at 1."""
    calls: list[Any] = []
    module = SimpleNamespace(
        init=lambda **given: calls.append(("init", given["name"], given["project"])),
        define_metric=lambda name, step_metric=None: calls.append(("axis", name, step_metric)),
        log=lambda values: calls.append(values),
        finish=lambda: calls.append("finish"),
    )
    monkeypatch.setitem(sys.modules, "wandb", module)
    follower = Follower(run)
    follower.add(Name.WANDB)
    follower.update()
    follower.close()
    assert calls[0] == ("init", "a-run", "rlsp") and calls[-1] == "finish"
    assert ("axis", "rl/*", "rl/step") in calls
    assert {"sft/step", "sft/loss"} <= calls[3].keys()


def test_a_missing_package_is_told(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trackio", None)
    with pytest.raises(InputError, match=r"pip install 'rlsp\[trackers\]'"):
        Follower(run).add(Name.TRACKIO)


def test_alarms_of_a_step_that_is_written_meanwhile_are_not_lost(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step writes its alarms, then its metrics: whoever reads metrics first sees the alarms of all of them."""
    read = trackers.read_metrics
    alarm = Alarm("length", 7, "length", (1, 7), 1.0, 2.0, "Longer.", ())

    def meanwhile(path: Path) -> list[dict[str, float]]:
        if path.parent.name == "rl":
            JsonLines(run.path("rl", "alarms.jsonl")).write(to_json(alarm))
            JsonLines(path).write({"step": 7, "accuracy": 0.7})
        return read(path)

    monkeypatch.setattr(trackers, "read_metrics", meanwhile)
    tracker = Recorder()
    follower = Follower(run)
    follower.trackers.append(tracker)
    follower.update()
    assert next(values["alarms"] for stage, step, values in tracker.sent if (stage, step) == ("rl", 7)) == 1


def test_watching_a_complete_run_sends_it_and_ends(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Any] = []
    module = SimpleNamespace(init=lambda **_: None, log=sent.append, finish=lambda: sent.append("finish"))
    monkeypatch.setitem(sys.modules, "trackio", module)
    run.finish("evaluation/self-consistency")
    done = CliRunner().invoke(app, ["watch", str(run.directory), "--to", "trackio"])
    assert done.exit_code == 0, done.output
    assert sent[-1] == "finish" and [each["rl/step"] for each in sent[:-1] if "rl/step" in each] == [1, 2, 3, 4, 5, 6]

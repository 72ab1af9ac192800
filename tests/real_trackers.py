"""The packages themselves: what they hold after a run was watched.

make test-trackers
"""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from rlsp.runs import Run
from tests.test_report import run

__all__ = ["run"]
STEPS = 6


@pytest.fixture
def watched(run: Run, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """The run, watched to its end; by TensorBoard, which writes into the run, twice: nothing may come double."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    run.finish("evaluation/self-consistency")
    command = [sys.executable, "-m", "rlsp", "watch", str(run.directory), "--to", request.param]
    for _ in range(2 if request.param == "tensorboard" else 1):
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        assert f"step {STEPS}" in done.stdout
    return run


@pytest.mark.parametrize("watched", ["tensorboard"], indirect=True)
def test_tensorboard_holds_each_step_once(watched: Run) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(watched.path("tensorboard")))
    events.Reload()
    assert [each.step for each in events.Scalars("rl/accuracy")] == list(range(1, STEPS + 1))
    assert [each.value for each in events.Scalars("rl/alarms")] == [0.0] * STEPS
    assert len(events.Scalars("evaluation/rlsp/accuracy")) == 1


@pytest.mark.parametrize("watched", ["wandb"], indirect=True)
def test_wandb_keeps_an_offline_run(watched: Run, tmp_path: Path) -> None:
    files = list(tmp_path.rglob("*.wandb"))
    assert len(files) == 1 and b"rl/accuracy" in files[0].read_bytes()


@pytest.mark.parametrize("watched", ["trackio"], indirect=True)
def test_trackio_holds_each_step_once(watched: Run, tmp_path: Path) -> None:
    (path,) = (tmp_path / "trackio").rglob("rlsp.db")
    with sqlite3.connect(path) as database:
        held = [json.loads(values) for (values,) in database.execute("select metrics from metrics order by id")]
    assert [each["rl/step"] for each in held if "rl/accuracy" in each] == list(range(1, STEPS + 1))

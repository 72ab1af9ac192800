"""A run that was stopped and goes on ends byte for byte as one that never was; every step stopped at, every stage."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from rlsp import runs, sft
from rlsp.config import CheckpointRecipe, Recipe, load
from rlsp.engines import native
from rlsp.engines.progress import Silent
from rlsp.errors import InputError, Stopped
from rlsp.rl.loop import Training
from rlsp.runs import Run
from tests.shrunk import SHRUNK

SHORT = [
    *SHRUNK,
    "rl.steps=4",
    "sampling.max_response_tokens=60",
    "task.levels=[1]",
    "probe={every = 2, problems = 4}",
    "alarms.window=3",
    "checkpoints.every=1",
]
TAUGHT = ["demonstrations.count=60", "sft.batch_tokens=400"]
VARIANTS = {
    "ppo": ("nano", []),
    "shared-critic": ("nano", ["rl.critic_trunk=shared"]),
    "two-streams": ("nano", ["reward.mix=advantage", "reward.truncation=floor"]),
    "dapo": ("nano-grpo", ["rl.algorithm=dapo", "rl.dynamic_sampling_rounds=3"]),
    "lora": ("nano", ["model.lora={dropout=0.3}"]),
    "muon": ("nano", ["sft.optimizer=muon"]),
    "alpha-by-accuracy": ("nano", ["reward.schedule={kind='accuracy', end=1, accuracies=[0.0, 0.6]}"]),
}


def small(variant: str) -> Recipe:
    name, settings = VARIANTS[variant]
    shrunk = [*SHORT, *TAUGHT] if name == "nano" else [each for each in SHORT if "critic" not in each]
    return load(Recipe, name, [*shrunk, *settings])


class Killed(BaseException):
    """As SIGKILL would, nothing of the engine's handles it."""


def products(run: Run) -> dict[str, bytes]:
    """What has to be the same: everything but times, and what shows or counts them."""
    timed = ("seconds.jsonl", "report.html", "manifest.json", "state.json")
    files = (path for path in sorted(run.directory.rglob("*")) if path.is_file() and path.name not in timed)
    return {str(path.relative_to(run.directory)): path.read_bytes() for path in files}


def whole(directory: Path, recipe: Recipe) -> dict[str, bytes]:
    run = runs.create(directory, recipe)
    native.run(recipe, run, Silent())
    return products(run)


def assert_same(run: Run, wanted: dict[str, bytes]) -> None:
    found = products(run)
    assert found.keys() == wanted.keys()
    assert [path for path in wanted if found[path] != wanted[path]] == []


def before(monkeypatch: pytest.MonkeyPatch, stage: str, step: int, act: Callable[[], None]) -> None:
    """The next run acts as it begins that step, counted from 0."""
    owner, method = {"sft": (sft.Finetuning, "step"), "rl": (Training, "iterate")}[stage]
    original = getattr(owner, method)

    def acting(self: object, number: int, *arguments: object) -> object:
        if number == step:
            act()
        return original(self, number, *arguments)

    monkeypatch.setattr(owner, method, acting)


def die() -> None:
    raise Killed


@pytest.mark.parametrize("variant", VARIANTS)
def test_killed_in_sft_and_in_rl_it_ends_the_same(
    variant: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = small(variant)
    wanted = whole(tmp_path / "whole", recipe)
    broken = runs.create(tmp_path / "broken", recipe)
    for stage, step in (("sft", 2), ("rl", 0), ("rl", 1), ("rl", 3)):
        if stage == "sft" and recipe.sft is None:
            continue
        with monkeypatch.context() as patched:
            before(patched, stage, step, die)
            with pytest.raises(Killed):
                native.run(recipe, broken, Silent())
        broken = runs.resume(tmp_path / "broken", recipe)
    native.run(recipe, broken, Silent())
    assert_same(broken, wanted)


@pytest.mark.parametrize(("stage", "step"), [("sft", 1), ("rl", 2)])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_the_step_end_and_saves_it(
    stage: str, step: int, number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = small("ppo").model_copy(update={"checkpoints": CheckpointRecipe(every=1000)})
    wanted = whole(tmp_path / "whole", recipe)
    handlers = [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)]
    run = runs.create(tmp_path / "stopped", recipe)
    with monkeypatch.context() as patched, pytest.raises(Stopped) as stopped:
        before(patched, stage, step, lambda: os.kill(os.getpid(), number))
        native.run(recipe, run, Silent())
    assert stopped.value.signal == number
    assert [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)] == handlers
    assert len(run.path(stage, "metrics.jsonl").read_text().splitlines()) == step + 1
    assert run.path(stage, "checkpoints", f"{step + 1:06d}").is_dir()
    again = runs.resume(run.directory, recipe)
    native.run(recipe, again, Silent())
    shutil.rmtree(again.path("rl", "checkpoints"))
    assert_same(again, {path: content for path, content in wanted.items() if "checkpoints" not in path})


def test_a_second_signal_stops_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = small("ppo")
    wanted = whole(tmp_path / "whole", recipe)

    def twice() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(60)

    run = runs.create(tmp_path / "stopped", recipe)
    with monkeypatch.context() as patched, pytest.raises(Stopped):
        before(patched, "rl", 2, twice)
        native.run(recipe, run, Silent())
    assert len(run.path("rl", "metrics.jsonl").read_text().splitlines()) == 2
    native.run(recipe, runs.resume(run.directory, recipe), Silent())
    assert_same(run, wanted)


def test_a_signal_outside_of_training_stops_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = small("ppo")

    def interrupted(*arguments: object, **named: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)

    run = runs.create(tmp_path / "stopped", recipe)
    with monkeypatch.context() as patched, pytest.raises(Stopped):
        patched.setattr(native.stages, "evaluate", interrupted)
        native.run(recipe, run, Silent())
    assert list(run.manifest()["stages"]) == ["problems"]


def test_a_wall_clock_that_jumps_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Days forward and back at every look at it; files are older and newer than those they were made from."""
    recipe = small("ppo").model_copy(update={"checkpoints": CheckpointRecipe()})
    wanted = whole(tmp_path / "whole", recipe)
    true, days = time.time, itertools.cycle((-3, 40, -400, 1))

    def jumping() -> float:
        return true() + 86400 * next(days)

    monkeypatch.setattr(time, "time", jumping)
    monkeypatch.setattr(time, "time_ns", lambda: int(1e9 * jumping()))
    run = runs.create(tmp_path / "broken", recipe)
    with monkeypatch.context() as patched, pytest.raises(Killed):
        before(patched, "rl", 3, die)
        native.run(recipe, run, Silent())
    for path in run.directory.rglob("*"):
        os.utime(path, (jumping(), jumping()))
    native.run(recipe, runs.resume(run.directory, recipe), Silent())
    shutil.rmtree(run.path("rl", "checkpoints"))  # which there are depends on how long the steps took
    assert_same(run, {path: content for path, content in wanted.items() if "checkpoints" not in path})


def test_one_process_at_a_time(tmp_path: Path) -> None:
    with runs.locked(tmp_path / "run"):
        with pytest.raises(InputError, match="another process is at work in"), runs.locked(tmp_path / "run"):
            raise AssertionError("both have it")
        lock = f"runs.locked(Path({str(tmp_path / 'run')!r}))"
        script = f"from pathlib import Path; from rlsp import runs; {lock}.__enter__()"
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
        assert "another process is at work" in done.stderr
    with runs.locked(tmp_path / "run"):
        pass


@pytest.mark.parametrize(
    "name",
    [
        "problems/train.jsonl",
        "problems/test.jsonl",
        "demonstrations.jsonl",
        "sft/metrics.jsonl",
        "sft/model/model.safetensors",
        "sft/model/config.json",
        "evaluation/base.json",
        "evaluation/base.rollouts.jsonl.zst",
        "evaluation/sft.scores.jsonl.zst",
        "rl/rollouts/000001.jsonl.zst",
        "rl/scores/000002.jsonl.zst",
        "rl/metrics.jsonl",
        "manifest.json",
    ],
)
def test_what_was_cut_short_is_refused_by_name(half: Run, name: str, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(half.directory, copy)
    content = (copy / name).read_bytes()
    (copy / name).write_bytes(content[: 2 * len(content) // 3])
    recipe = small("ppo")
    with pytest.raises(InputError, match=re.escape(str(copy / name)) if name != "manifest.json" else "manifest"):
        native.run(recipe, runs.resume(copy, recipe), Silent())


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that died in its third RL step."""
    recipe = small("ppo")
    run = runs.create(tmp_path_factory.mktemp("runs") / "half", recipe)
    with pytest.MonkeyPatch.context() as patched, pytest.raises(Killed):
        before(patched, "rl", 2, die)
        native.run(recipe, run, Silent())
    return run


def test_what_a_killed_writer_left_is_swept_away(half: Run, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(half.directory, copy)
    (copy / "rl" / ".metrics.json.17.part").write_text("half")
    (copy / "rl" / "checkpoints" / ".000003.17.part").mkdir()
    (copy / "rl" / "checkpoints" / ".000003.17.part" / "state.json").write_text("{")
    runs.resume(copy, small("ppo"))
    assert not list(copy.rglob("*.part"))

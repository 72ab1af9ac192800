"""SIGKILL at random moments of a short run, over all of its stages: it goes on, and ends as one that was never killed.

make test-faults
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from random import Random

from tests.faults.harness import differing, metrics_lines, products, write_recipe

KILLS = 36
MARK = f"RLSP_FAULTS=of-{os.getpid()}"
"""In the environment of every process that a run here begins."""
LONGEST_SECONDS = 6.0
"""A kill comes so long after the process has begun to work, at most."""


def stage_of(directory: Path) -> str:
    """Where the run stands, by what it has finished and begun."""
    manifest = directory / "manifest.json"
    if not manifest.is_file():
        return "start"
    done = json.loads(manifest.read_text())["stages"]
    order = [
        "problems",
        "evaluation/base",
        "demonstrations",
        "sft",
        "evaluation/sft",
        "rl",
        "evaluation/rlsp",
        "evaluation/self-consistency",
    ]
    return next((stage for stage in order if stage not in done), "report")


def test_a_run_that_is_killed_again_and_again_ends_the_same(tmp_path: Path) -> None:
    recipe, rng = write_recipe(tmp_path / "recipe.toml"), Random(0)
    assert begin(recipe, tmp_path / "whole").wait() == 0
    wanted = products(tmp_path / "whole")
    kills, trial, where = 0, 0, Counter[str]()
    while kills < KILLS:
        trial += 1
        directory = tmp_path / f"killed-{trial}"
        while not run_and_kill(recipe, directory, rng):
            kills += 1
            where[stage_of(directory)] += 1
            assert living_children() == []
        assert differing(directory, wanted) == [], f"trial {trial}"
    print(f"\n{kills} kills over {trial} runs, while these stages were under way: {dict(where)}")
    assert {"sft", "rl"} <= where.keys() and len(where) >= 4


def begin(recipe: Path, directory: Path) -> subprocess.Popen[str]:
    """`rlsp run` in a process of its own, as a user would."""
    command = [sys.executable, "-m", "rlsp", "run", str(recipe), "--out", str(directory)]
    command += ["--resume"] if (directory / "manifest.json").is_file() else []
    environment = os.environ | dict([MARK.split("=")])
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)


def run_and_kill(recipe: Path, directory: Path, rng: Random) -> bool:
    """Whether it came to its end before it was killed; no step that had been completed may be lost."""
    before = {stage: completed(directory, stage) for stage in ("sft", "rl")}
    process = begin(recipe, directory)
    assert process.stdout is not None
    first = process.stdout.readline()  # it has loaded what it needs
    try:
        process.wait(timeout=rng.uniform(0, LONGEST_SECONDS))
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
    rest = process.stdout.read()
    code = process.wait()
    assert code in (0, -signal.SIGKILL), first + rest
    for stage, steps in before.items():
        said = f"{stage.upper()} goes on after step {steps},"
        lost = steps > completed(directory, stage) and stage_of(directory) == stage
        assert not lost, f"{said} but now {completed(directory, stage)}"
    return code == 0


def completed(directory: Path, stage: str) -> int:
    """The steps of the newest checkpoint, whose metrics stand there."""
    folder = directory / stage / "checkpoints"
    steps = [int(path.name) for path in folder.iterdir() if path.name.isdecimal()] if folder.is_dir() else [0]
    newest = max(steps, default=0)
    assert metrics_lines(directory, stage) >= newest
    return newest


def living_children() -> list[str]:
    """Processes of killed runs that are still there after a moment."""
    deadline = time.monotonic() + 10
    while (found := marked_processes()) and time.monotonic() < deadline:
        time.sleep(0.2)
    return found


def marked_processes() -> list[str]:
    """The commands of all processes that a run of this test has begun."""
    commands = []
    for path in Path("/proc").iterdir():
        if path.name.isdecimal():
            try:
                if MARK.encode() in (path / "environ").read_bytes():
                    commands.append((path / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"))
            except OSError:
                continue  # it has ended meanwhile
    return commands

"""SIGKILL in every stage of a short run and at random moments of it: it goes on, and ends as one that was never killed.

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
EACH = 2
"""Kills that fall into each stage, however short it is; the others come when they come."""
MOST_RUNS = 30
MARK = f"RLSP_FAULTS=of-{os.getpid()}"
"""In the environment of every process that a run here begins."""
LONGEST_SECONDS = 6.0
"""A kill that is not aimed comes so long after the process has begun to work, at most."""
AIMED_SHARE = 0.7
"""An aimed kill comes within so much of its stage: another time the stage may take less."""
LOOK_SECONDS = 0.005
STAGES = (
    "start",
    "problems",
    "evaluation/base",
    "demonstrations",
    "sft",
    "evaluation/sft",
    "rl",
    "evaluation/rlsp",
    "evaluation/self-consistency",
    "report",
)


def stage_of(directory: Path) -> str:
    """Where the run stands, by what it has finished and begun."""
    manifest = directory / "manifest.json"
    if not manifest.is_file():
        return "start"
    done = json.loads(manifest.read_text())["stages"]
    return next((stage for stage in STAGES[1:-1] if stage not in done), "report")


def test_a_run_that_is_killed_again_and_again_ends_the_same(tmp_path: Path) -> None:
    recipe, rng = write_recipe(tmp_path / "recipe.toml"), Random(0)
    seconds = seconds_of_stages(recipe, tmp_path / "whole")
    wanted = products(tmp_path / "whole")
    runs, halves, where = 0, 0, Counter[str]()
    while where.total() < KILLS or missed(where):
        runs += 1
        assert runs <= MOST_RUNS, f"never hit often enough: {missed(where)}"
        directory = tmp_path / f"killed-{runs}"
        while not run_and_kill(recipe, directory, missed(where), seconds, rng):
            where[stage_of(directory)] += 1
            halves += any(directory.rglob(".*.part"))
            assert living_children() == []
        assert differing(directory, wanted) == [], f"run {runs}"
    print(f"\n{where.total()} kills over {runs} runs, while these stages were under way: {dict(where)}; ", end="")
    print(f"{halves} of them while something was half-written")


def missed(where: Counter[str]) -> list[str]:
    """The stages that want more kills."""
    return [stage for stage in STAGES if where[stage] < EACH]


def seconds_of_stages(recipe: Path, directory: Path) -> dict[str, float]:
    """How long each stage of a whole run is under way."""
    seconds, process, before = dict.fromkeys(STAGES, 0.0), begin(recipe, directory), time.monotonic()
    while process.poll() is None:
        time.sleep(LOOK_SECONDS)
        now = time.monotonic()
        seconds[stage_of(directory)] += now - before
        before = now
    assert process.returncode == 0
    return seconds


def begin(recipe: Path, directory: Path) -> subprocess.Popen[str]:
    """`rlsp run` in a process of its own, as a user would."""
    command = [sys.executable, "-m", "rlsp", "run", str(recipe), "--out", str(directory)]
    command += ["--resume"] if (directory / "manifest.json").is_file() else []
    environment = os.environ | dict([MARK.split("=")])
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)


def run_and_kill(recipe: Path, directory: Path, aims: list[str], seconds: dict[str, float], rng: Random) -> bool:
    """Whether it came to its end before it was killed: in the first of `aims` that is still to begin, or at a random
    moment where there are none. No step that had been completed may be lost."""
    before = {stage: completed(directory, stage) for stage in ("sft", "rl")}
    begun = STAGES.index(stage_of(directory)) if directory.exists() else -1
    ahead = [stage for stage in STAGES[begun + 1 :] if stage in aims]
    process, first = begin(recipe, directory), ""
    assert process.stdout is not None
    if ahead:
        while process.poll() is None and stage_of(directory) != ahead[0]:
            time.sleep(LOOK_SECONDS)
        wait = rng.uniform(0, AIMED_SHARE * seconds[ahead[0]])
    else:
        first = process.stdout.readline()  # it has loaded what it needs
        wait = rng.uniform(0, LONGEST_SECONDS)
    try:
        process.wait(timeout=wait)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
    rest = process.stdout.read()
    code = process.wait()
    assert code in (0, -signal.SIGKILL), first + rest
    for stage, steps in before.items():
        lost = steps > completed(directory, stage) and stage_of(directory) == stage
        assert not lost, f"{stage} stood at {steps} steps, now at {completed(directory, stage)}"
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

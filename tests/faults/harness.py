"""A short run through every stage, and what must be the same of it however often it was broken off."""

from __future__ import annotations

from pathlib import Path

from rlsp import runs
from rlsp.config import Recipe, load, to_toml
from rlsp.engines import native
from rlsp.engines.progress import Silent
from rlsp.runs import Run
from tests.shrunk import SHRUNK

SETTINGS = [
    *SHRUNK,
    "rl.steps=6",
    "rl.prompts_per_step=8",
    "rl.minibatch_rollouts=8",
    "sampling.max_response_tokens=100",
    "demonstrations.count=150",
    "sft.batch_tokens=400",
    "probe={every = 2, problems = 8}",
    "alarms.window=3",
    "evaluation.problems=20",
    "checkpoints.every=1",
]
TIMED = ("seconds.jsonl", "report.html", "manifest.json", "state.json")
"""What holds times or hashes of them."""


def recipe() -> Recipe:
    return load(Recipe, "nano", SETTINGS)


def write_recipe(path: Path) -> Path:
    path.write_text(to_toml(recipe()), encoding="utf-8")
    return path


def products(directory: Path) -> dict[str, bytes]:
    """Weights, metrics, rollouts and everything else but times, by path."""
    files = (path for path in sorted(directory.rglob("*")) if path.is_file() and path.name not in TIMED)
    return {str(path.relative_to(directory)): path.read_bytes() for path in files}


def differing(directory: Path, wanted: dict[str, bytes]) -> list[str]:
    """The paths that are not as wanted."""
    found = products(directory)
    return [path for path in sorted(found.keys() | wanted.keys()) if found.get(path) != wanted.get(path)]


def finish(directory: Path) -> Run:
    """Begin or go on in this process, to the end."""
    there = runs.exists(directory)
    with runs.locked(directory):
        run = runs.resume(directory, recipe()) if there else runs.create(directory, recipe())
        native.run(recipe(), run, Silent())
    return run


def metrics_lines(directory: Path, stage: str) -> int:
    """How many whole lines its metrics have."""
    path = directory / stage / "metrics.jsonl"
    return path.read_bytes().count(b"\n") if path.is_file() else 0

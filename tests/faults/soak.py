"""300 steps of the nano recipe: memory stays flat, and no process or file is left over."""

from __future__ import annotations

import ctypes
import gc
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from rlsp import runs
from rlsp.config import Recipe, load
from rlsp.engines import native
from rlsp.engines.progress import Silent

STEPS = 300
WARM = 100
THREADS = 2
"""As many as a user's run has on two cores; other tests take one."""
LINE = 50
"""A line of progress comes after so many steps."""
MOST_GROWTH = 1.0
"""MiB in 100 steps."""


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(THREADS)
    yield
    torch.set_num_threads(before)


class Measuring(Silent):
    """Notes after every step what the process holds: the memory that is its own (pages of files are the kernel's to
    take back), without what the allocator keeps of tensors that came and went, which swings by tens of MiB."""

    def __init__(self) -> None:
        self.memory: list[float] = []
        self.descriptors: list[int] = []
        self.children: list[int] = []

    def advance(self, done: int, note: str = "") -> None:
        gc.collect()
        ctypes.CDLL("libc.so.6").malloc_trim(0)
        self.memory.append(own_memory())
        self.descriptors.append(len(os.listdir("/proc/self/fd")))
        self.children.append(len(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()))
        if done % LINE == 0:
            print(f"\n{done}/{STEPS}: {self.memory[-1]:.1f} MiB", end="", flush=True)


def own_memory() -> float:
    """The process's anonymous memory, in MiB."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["RssAnon"].split()[0]) / 1024


def slope(values: list[float]) -> float:
    """Least squares, a step."""
    middle, mean = (len(values) - 1) / 2, sum(values) / len(values)
    return sum((place - middle) * (value - mean) for place, value in enumerate(values)) / sum(
        (place - middle) ** 2 for place in range(len(values))
    )


def test_300_steps_leave_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = load(Recipe, "nano", [f"rl.steps={STEPS}", "rl.prompts_per_step=32"]).model_copy(
        update={"demonstrations": None, "sft": None}
    )
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    run, measuring = runs.create(tmp_path / "run", recipe), Measuring()
    native.reinforce(recipe, run, measuring)
    growth = 100 * slope(measuring.memory[WARM:])
    print(f"\n{measuring.memory[WARM]:.1f} MiB after {WARM} steps, {measuring.memory[-1]:.1f} after {STEPS}: ", end="")
    print(f"{growth:+.2f} MiB in 100 steps; {measuring.descriptors[-1]} descriptors, {measuring.children[-1]} children")
    assert len(measuring.memory) == STEPS
    assert growth <= MOST_GROWTH
    assert measuring.descriptors[-1] <= measuring.descriptors[WARM]
    assert measuring.children[-1] <= measuring.children[WARM]
    assert list(run.directory.rglob("*.part")) == []
    assert len(list(run.path("rl", "checkpoints").iterdir())) <= 2
    assert os.listdir(tmp_path / "temporary") == []

"""Time to quality: GRPO from the nano base model on countdown, here and with TRL, by the same verifier, until held-out
accuracy reaches a level. Evaluations do not count."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

from peers.protocol import Worker
from rich.box import MARKDOWN
from rich.table import Table

from contests.common import NANO, Bar, Setting, at_least, console

LEVEL = 0.65
SEEDS = (0, 1, 2)
ROLLOUTS, MINIBATCH, STEPS = 256, 64, 60
RECIPE = (
    "rl.kl_coefficient=0",
    f"rl.steps={STEPS}",
    f"rl.minibatch_rollouts={MINIBATCH}",
    "evaluation.problems=500",
    f"model.path={NANO}",
)
LEARNING_RATES = {"ours": 5e-4, "TRL": 5e-4}
"""The best of each in the section `tune`."""
MICROBATCH = 32


def quality(setting: Setting) -> list[Bar]:
    table = Table("seed", "ours", "TRL", "TRL ÷ ours", title=f"Seconds to {LEVEL:.0%}, nano", box=MARKDOWN)
    gains = []
    for seed in SEEDS:
        ours, theirs = (_seconds(setting, name, LEARNING_RATES[name], seed) for name in ("ours", "TRL"))
        gains.append(theirs / ours)
        table.add_row(str(seed), f"{ours:.1f}", f"{theirs:.1f}", f"{gains[-1]:.2f}")
    console.print(table)
    return [at_least(f"time to {LEVEL:.0%}, TRL ÷ ours", gains, 4)]


def tune(setting: Setting, rates: Sequence[float] = (2.5e-4, 5e-4, 1e-3, 2e-3), seed: int = 99) -> list[Bar]:
    """What `LEARNING_RATES` come from: every rate once, with a seed that the contest does not use."""
    for name in LEARNING_RATES:
        for rate in rates:
            console.print(f"{name} at {rate:g}: {_seconds(setting, name, rate, seed):.1f} s")
    return []


def _seconds(setting: Setting, name: str, rate: float, seed: int) -> float:
    """Until the level is reached; infinite when the steps do not suffice."""
    request: dict[str, Any] = {
        "recipe": "nano-grpo",
        "settings": [*RECIPE, f"rl.actor_learning_rate={rate}", f"seed={seed}"],
        "threads": setting.threads,
    }
    if name == "ours":
        with setting.ours() as worker:
            worker.ask(do="grpo", **request)
            return _until(worker, 1)
    with setting.trl() as worker:
        worker.ask(**request, microbatch=MICROBATCH)
        return _until(worker, ROLLOUTS // MINIBATCH)


def _until(worker: Worker, requests: int) -> float:
    """`requests` make one step of the recipe."""
    seconds, reached = 0.0, []
    for _ in range(STEPS):
        seconds += sum(worker.ask(do="step")["seconds"] for _ in range(requests))
        reached.append(worker.ask(do="evaluate")["accuracy"])
        if median(reached[-3:]) >= LEVEL and len(reached) > 2:
            return seconds
    console.print(f"never: {', '.join(f'{each:.0%}' for each in reached[::5])}")
    return float("inf")

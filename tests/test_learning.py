"""PPO learns what it is paid for: a few steps of the nano model, seeded, on one easy level."""

from __future__ import annotations

from statistics import mean

import torch

from rlsp.config import Recipe, load
from rlsp.engines import stages
from tests.shrunk import reinforce

SHORT = [
    "task.levels=[1]",
    "sampling.max_response_tokens=60",
    "rl.steps=20",
    "rl.critic_warmup_steps=2",
    "rl.prompts_per_step=32",
    "rl.minibatch_rollouts=32",
]


def curve(metric: str, *settings: str) -> tuple[float, float, float]:
    """(mean over the first four steps, mean over the last four, the last KL to the start)."""
    torch.manual_seed(0)
    recipe = load(Recipe, "nano", [*SHORT, *settings])
    steps = [each.metrics for each in reinforce(stages.open_policy("nano"), recipe)]
    return mean(each[metric] for each in steps[:4]), mean(each[metric] for each in steps[-4:]), steps[-1]["kl"]


def test_paid_for_being_right_it_gets_right_more_often() -> None:
    before, after, kl = curve("accuracy", "reward.alpha=1", "exploration=none")
    assert after > before + 0.08
    assert 0 < kl < 0.2


def test_paid_for_length_it_writes_more() -> None:
    before, after, kl = curve("length", "reward.alpha=0")
    assert after > 1.3 * before
    assert 0 < kl < 0.5

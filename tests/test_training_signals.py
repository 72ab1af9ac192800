"""Whole training steps: held-out probes, α over training, and what the scale of an exploration reward changes."""

from __future__ import annotations

import pytest
import torch

from rlsp.config import Recipe, load
from rlsp.engines import stages
from rlsp.rl.loop import Iteration
from tests.shrunk import SHRUNK, reinforce

STEPS = 4


def train(*settings: str) -> list[Iteration]:
    torch.manual_seed(0)
    recipe = load(Recipe, "nano", [*SHRUNK, f"rl.steps={STEPS}", "probe={every = 2, problems = 6}", *settings])
    return list(reinforce(stages.open_policy("nano"), recipe))


def lengths(iterations: list[Iteration]) -> list[list[int]]:
    return [[rollout.length for rollout in iteration.rollouts] for iteration in iterations]


def test_a_probe_measures_before_every_nth_step_and_disturbs_nothing() -> None:
    probed = train()
    assert ["held_out_accuracy" in iteration.metrics for iteration in probed] == [True, False, True, False]
    assert probed[0].metrics["held_out_length"] > 0
    assert lengths(train("probe={every = 3, problems = 2}")) == lengths(probed)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [("linear", [0.8, 0.8 + 0.2 / 3, 0.8 + 0.4 / 3, 1.0]), ("cosine", [0.8, 0.85, 0.95, 1.0])],
)
def test_alpha_moves_with_the_optimiser_steps(schedule: str, expected: list[float]) -> None:
    iterations = train(f"reward.schedule.kind={schedule}")
    assert [iteration.metrics["alpha"] for iteration in iterations] == pytest.approx(expected)
    assert [{score.alpha for score in iteration.scores} for iteration in iterations] == [
        {iteration.metrics["alpha"]} for iteration in iterations
    ]


def test_alpha_follows_the_latest_held_out_accuracy() -> None:
    iterations = train("reward.alpha=0.2", "reward.schedule={kind = 'accuracy', end = 1.0, accuracies = [0.0, 1.0]}")
    accuracies = [iteration.metrics.get("held_out_accuracy") for iteration in iterations]
    followed = [accuracies[0], accuracies[0], accuracies[2], accuracies[2]]
    assert [iteration.metrics["alpha"] for iteration in iterations] == pytest.approx(
        [0.2 + 0.8 * accuracy for accuracy in followed if accuracy is not None]
    )


def test_the_scale_of_the_exploration_reward_matters_to_mixed_rewards_alone() -> None:
    def at(mix: str, c: str) -> list[list[int]]:
        return lengths(
            train(f"reward.mix={mix}", f"exploration.length.c_per_budget={c}", "rl.actor_learning_rate=5e-3")
        )

    assert at("advantage", "0.02") == at("advantage", "2.0")
    assert at("reward", "0.02") != at("reward", "2.0")


def test_every_stream_has_its_own_explained_variance() -> None:
    settings = ("reward.mix=advantage", "exploration={length = {}, repetition = {ngram = 2}}")
    heads = {f"explained_variance/{name}" for name in ("kl", "length", "repetition")}
    assert heads <= train(*settings)[-1].metrics.keys()

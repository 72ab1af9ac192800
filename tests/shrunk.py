"""What tests share: recipes and models that are small enough (two steps, short responses, two layers), a listener."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rlsp.config import Recipe
from rlsp.engines import drawing, stages
from rlsp.engines.progress import Silent
from rlsp.engines.stages import Policy
from rlsp.rl.loop import Iteration

SHRUNK = [
    "sampling.max_response_tokens=40",
    "sampling.cache_tokens=8192",
    "rl.steps=2",
    "rl.critic_warmup_steps=1",
    "rl.prompts_per_step=4",
    "rl.samples_per_prompt=2",
    "rl.minibatch_rollouts=4",
    "evaluation.problems=6",
]

TINY: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "initializer_range": 0.3,
}
"""A model's sizes that suit unit tests; its random weights are large enough to have opinions."""


class Remembering(Silent):
    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, message: str) -> None:
        self.said.append(message)


def reinforce(policy: Policy, recipe: Recipe) -> Iterator[Iteration]:
    """The recipe's RL of the policy, without a run directory."""
    with stages.reinforcing(policy, recipe, reserve=drawing.reserve_problems(recipe)) as training:
        for step, problems in enumerate(drawing.training_problems(recipe)):
            yield training.iterate(step, problems)

"""What makes a recipe small enough for a test: two steps, short responses."""

from __future__ import annotations

SHRUNK = [
    "sampling.max_response_tokens=40",
    "sampling.cache_tokens=8192",
    "ppo.steps=2",
    "ppo.critic_warmup_steps=1",
    "ppo.prompts_per_step=4",
    "ppo.samples_per_prompt=2",
    "ppo.minibatch_rollouts=4",
    "evaluation.problems=6",
]

"""What makes a recipe small enough for a test: two steps, short responses."""

from __future__ import annotations

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

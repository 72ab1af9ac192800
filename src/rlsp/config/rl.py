"""How the policy is updated: the algorithm and its numbers."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from rlsp.config.section import Positive, Rate, Section, Share


class RlRecipe(Section):
    """`steps` iterations of `prompts_per_step` × `samples_per_prompt` rollouts, cut into minibatches of
    `minibatch_rollouts`. `kl_coefficient` is the paper's β; the actor stays frozen for the first
    `critic_warmup_steps`; `microbatch_tokens` bounds the padded size of one forward pass."""

    steps: Positive
    prompts_per_step: Positive
    samples_per_prompt: Positive
    minibatch_rollouts: Positive
    epochs: Positive = 1
    actor_learning_rate: Rate
    critic_learning_rate: Rate
    warmup_share: Share = 0.03
    critic_warmup_steps: Annotated[int, Field(ge=0)] = 4
    clip: Rate = 0.2
    value_clip: Annotated[float, Field(gt=0)] = 0.2
    kl_coefficient: Annotated[float, Field(ge=0)] = 0.05
    gamma: Share = 1.0
    gae_lambda: Share = 0.95
    grad_clip: Annotated[float, Field(gt=0)] = 1.0
    microbatch_tokens: Positive

    @property
    def rollouts_per_step(self) -> int:
        return self.prompts_per_step * self.samples_per_prompt

    @model_validator(mode="after")
    def _minibatches_fit(self) -> RlRecipe:
        if self.rollouts_per_step % self.minibatch_rollouts:
            raise ValueError(
                f"{self.prompts_per_step} prompts × {self.samples_per_prompt} samples = {self.rollouts_per_step} "
                f"rollouts a step do not divide into minibatches of {self.minibatch_rollouts}: "
                f"set rl.minibatch_rollouts to a divisor of {self.rollouts_per_step}"
            )
        if self.critic_warmup_steps >= self.steps:
            raise ValueError(
                f"the actor is frozen for critic_warmup_steps = {self.critic_warmup_steps} of {self.steps} steps and "
                "would never learn: raise rl.steps or lower rl.critic_warmup_steps"
            )
        return self

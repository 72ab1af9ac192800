"""How the policy is updated: the algorithm and its numbers."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from rlsp.config.algorithms import ALGORITHMS, DYNAMIC_SAMPLING_ROUNDS, Algorithm, AlgorithmName
from rlsp.config.section import Count, Positive, Rate, Section, Share

CRITIC_DEFAULTS = {"critic_trunk": "own", "critic_warmup_steps": 4, "value_clip": 0.2, "gae_lambda": 0.95}
VALUE_COEFFICIENT = 0.5
"""Of a value loss that moves the policy's trunk, by default."""


def _definition(data: dict[str, Any]) -> Algorithm:
    return ALGORITHMS[data.get("algorithm", "ppo")]


def _of_critic(key: str) -> Any:
    """A key's default: the paper's where there is a critic, else none."""
    return Field(default_factory=lambda data: CRITIC_DEFAULTS[key] if _definition(data).critic else None)


class RlRecipe(Section):
    """`steps` iterations of `prompts_per_step` × `samples_per_prompt` rollouts, cut into minibatches of
    `minibatch_rollouts`; `microbatch_tokens` bounds the padded size of one forward pass.

    Ratios are clipped to 1 − `clip` … 1 + `clip_high`, `kl_coefficient` is the paper's β: by default both are the
    algorithm's. So is `dynamic_sampling`: problems whose rollouts all earned the same are replaced by others, up to
    `dynamic_sampling_rounds` times a step. The keys of the critic (`critic_…`, `value_clip`, `gae_lambda`, and `gamma`)
    belong to algorithms that have one; the actor stays frozen for the first `critic_warmup_steps`. `critic_trunk` is
    the critic's `own`, or `shared` with the policy: one pass for both, whose loss is the policy's +
    `value_coefficient` × the critic's."""

    algorithm: AlgorithmName = "ppo"
    steps: Count
    prompts_per_step: Positive
    samples_per_prompt: Positive
    minibatch_rollouts: Positive
    epochs: Count = 1
    actor_learning_rate: Rate
    critic_learning_rate: Rate | None = None
    warmup_share: Share = 0.03
    critic_trunk: Literal["own", "shared"] | None = _of_critic("critic_trunk")
    value_coefficient: Annotated[float, Field(gt=0)] | None = Field(
        default_factory=lambda data: VALUE_COEFFICIENT if data.get("critic_trunk") == "shared" else None
    )
    critic_warmup_steps: Annotated[int, Field(ge=0)] | None = _of_critic("critic_warmup_steps")
    clip: Rate = 0.2
    clip_high: Annotated[float, Field(gt=0)] = Field(
        default_factory=lambda data: _definition(data).clip_high or data.get("clip", 0.2)
    )
    value_clip: Annotated[float, Field(gt=0)] | None = _of_critic("value_clip")
    kl_coefficient: Annotated[float, Field(ge=0)] = Field(default_factory=lambda data: _definition(data).kl_coefficient)
    gamma: Share = 1.0
    gae_lambda: Share | None = _of_critic("gae_lambda")
    grad_clip: Annotated[float, Field(gt=0)] = 1.0
    dynamic_sampling: bool = Field(default_factory=lambda data: _definition(data).dynamic_sampling)
    dynamic_sampling_rounds: Positive = DYNAMIC_SAMPLING_ROUNDS
    microbatch_tokens: Positive

    @property
    def definition(self) -> Algorithm:
        """What the algorithm is made of."""
        return ALGORITHMS[self.algorithm]

    @property
    def kl_in_loss(self) -> bool:
        """Whether the policy's loss has a KL term."""
        return self.kl_coefficient > 0 and self.definition.kl == "loss"

    @property
    def rollouts_per_step(self) -> int:
        return self.prompts_per_step * self.samples_per_prompt

    @property
    def actor_waits(self) -> int:
        """The first steps, in which the actor is frozen."""
        return self.critic_warmup_steps or 0

    @model_validator(mode="after")
    def _keys_are_the_algorithms(self) -> RlRecipe:
        if self.definition.critic:
            if missing := [key for key in ("critic_learning_rate", *CRITIC_DEFAULTS) if getattr(self, key) is None]:
                raise ValueError(f"rl.{missing[0]} is missing: algorithm '{self.algorithm}' trains a critic")
        else:
            given = [key for key in ("critic_learning_rate", *CRITIC_DEFAULTS) if getattr(self, key) is not None]
            if given:
                raise ValueError(
                    f"algorithm '{self.algorithm}' has no critic, and {', '.join(given)} would be without effect: take "
                    f"{'it' if len(given) == 1 else 'them'} out"
                )
            if self.gamma != 1:
                raise ValueError(
                    f"algorithm '{self.algorithm}' has no critic to discount for: leave out gamma = {self.gamma:g}"
                )
        if (self.value_coefficient is None) is (self.critic_trunk == "shared"):
            raise ValueError(
                "value_coefficient weighs a value loss that moves the policy's trunk: it goes with critic_trunk = "
                f"'shared', and critic_trunk is {self.critic_trunk!r}"
            )
        if self.definition.grouped and self.samples_per_prompt < 2:
            raise ValueError(
                f"algorithm '{self.algorithm}' compares the rollouts of one prompt: set rl.samples_per_prompt to 2 or "
                "more"
            )
        if self.dynamic_sampling and not self.definition.grouped:
            raise ValueError(
                f"dynamic_sampling replaces problems whose rollouts can't be compared, and '{self.algorithm}' compares "
                "none: leave it out"
            )
        return self

    @model_validator(mode="after")
    def _minibatches_fit(self) -> RlRecipe:
        if self.rollouts_per_step % self.minibatch_rollouts:
            raise ValueError(
                f"{self.prompts_per_step} prompts × {self.samples_per_prompt} samples = {self.rollouts_per_step} "
                f"rollouts a step do not divide into minibatches of {self.minibatch_rollouts}: "
                f"set rl.minibatch_rollouts to a divisor of {self.rollouts_per_step}"
            )
        if self.actor_waits >= self.steps:
            raise ValueError(
                f"the actor is frozen for critic_warmup_steps = {self.critic_warmup_steps} of {self.steps} steps and "
                "would never learn: raise rl.steps or lower rl.critic_warmup_steps"
            )
        return self

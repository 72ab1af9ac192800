"""The modules that RL trains and asks, in this process."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel

from rlsp import parallel
from rlsp.checkpoints import Checkpoint
from rlsp.config import Recipe
from rlsp.models import Critic, frozen_copy
from rlsp.rl.batch import Batch, Experience
from rlsp.rl.experience import gather
from rlsp.rl.update import Updater


class LocalLearner:
    """`policy` is trained in place. The reference is the policy as it comes in; there is none without a KL term. A
    critic has a value for each of `streams`."""

    def __init__(self, recipe: Recipe, policy: PreTrainedModel, streams: int) -> None:
        rl = self.rl = recipe.rl
        self.reference = parallel.mirrored(frozen_copy, policy) if rl.kl_coefficient > 0 else None
        shared = rl.critic_trunk == "shared"
        self.critic = parallel.mirrored(Critic, policy, streams, shared) if rl.definition.critic else None
        budget = recipe.sampling.max_response_tokens
        self.updater = parallel.mirrored(Updater, policy, self.critic, rl, recipe.seed, budget)

    @property
    def device(self) -> torch.device:
        return self.updater.policy.device

    def experience(self, batch: Batch) -> Experience:
        return gather(batch, self.reference, self.critic, self.rl)

    def update(self, experience: Experience, step: int) -> dict[str, float]:
        return self.updater.update(experience, step)

    def kept(self, step: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
        return self.updater.tensors(), {}

    def restore(self, checkpoint: Checkpoint) -> None:
        self.updater.restore(checkpoint.tensors)

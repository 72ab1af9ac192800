"""From a batch to experience: reference log-probs and values, token rewards, advantages."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import PreTrainedModel

from rlsp.config import PpoRecipe
from rlsp.models import Critic, token_logprobs
from rlsp.rl.advantages import gae, token_rewards, whiten
from rlsp.rl.batch import Batch, Experience, microbatches


@torch.no_grad()
def gather(batch: Batch, reference: PreTrainedModel, critic: Critic, ppo: PpoRecipe) -> Experience:
    """Eq. 2 → GAE → returns → whitening over the rollouts that are in the loss."""
    reference_logprobs_BR = torch.zeros_like(batch.logprobs_BR)
    values_BR = torch.zeros_like(batch.logprobs_BR)
    for rows, ids_bT, sampled_bT in microbatches(batch, torch.arange(len(batch.ids_BT)), ppo.microbatch_tokens):
        logprobs_n, _ = token_logprobs(reference, ids_bT, sampled_bT, batch.temperature)
        _put(reference_logprobs_BR, batch.mask_BR, rows, logprobs_n)
        _put(values_BR, batch.mask_BR, rows, critic(ids_bT, sampled_bT))
    rewards_BR = token_rewards(
        batch.rewards_B, batch.logprobs_BR, reference_logprobs_BR, batch.mask_BR, ppo.kl_coefficient
    )
    advantages_BR, returns_BR = gae(rewards_BR, values_BR, batch.mask_BR, ppo.gamma, ppo.gae_lambda)
    counted_BR = batch.mask_BR & batch.in_loss_B[:, None]
    return Experience(batch, reference_logprobs_BR, values_BR, returns_BR, whiten(advantages_BR, counted_BR))


def _put(target_BR: Tensor, mask_BR: Tensor, rows: Tensor, packed_n: Tensor) -> None:
    """Write values packed over the response tokens of `rows` into their frame."""
    mask_bR = mask_BR[rows]
    target_BR[rows] = torch.zeros_like(target_BR[rows]).masked_scatter(mask_bR, packed_n)

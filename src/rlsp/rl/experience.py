"""From a batch to experience: reference log-probs and values, token rewards, advantages."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import PreTrainedModel

from rlsp.config import RlRecipe
from rlsp.models import Critic, token_logprobs
from rlsp.rl.advantages import gae_of_streams, tax, token_rewards, weigh, whiten
from rlsp.rl.batch import Batch, Experience, microbatches


@torch.no_grad()
def gather(batch: Batch, reference: PreTrainedModel, critic: Critic, rl: RlRecipe) -> Experience:
    """Eq. 2 → GAE → returns → whitening over the rollouts that are in the loss."""
    streams = batch.streams
    reference_logprobs_BR = torch.zeros_like(batch.logprobs_BR)
    values_SBR = torch.zeros_like(streams.rewards_SBR)
    for rows, ids_bT, sampled_bT in microbatches(batch, torch.arange(len(batch.ids_BT)), rl.microbatch_tokens):
        logprobs_n, _ = token_logprobs(reference, ids_bT, sampled_bT, batch.temperature)
        _put(reference_logprobs_BR, batch.mask_BR, rows, logprobs_n)
        for values_BR, values_n in zip(values_SBR, critic(ids_bT, sampled_bT), strict=True):
            _put(values_BR, batch.mask_BR, rows, values_n)
    rewards_SBR = streams.rewards_SBR.clone()
    rewards_SBR[streams.taxed] = token_rewards(
        rewards_SBR[streams.taxed], batch.logprobs_BR, reference_logprobs_BR, batch.mask_BR, rl.kl_coefficient
    )
    advantages_SBR, returns_SBR = gae_of_streams(rewards_SBR, values_SBR, batch.mask_BR, streams.gammas, rl.gae_lambda)
    counted_BR = batch.mask_BR & batch.in_loss_B[:, None]
    if streams.shares is None:
        mixed_BR = advantages_SBR.sum(0)
    else:
        paid_SB = streams.rewards_SBR[:, batch.in_loss_B].sum(2)
        informative = [bool(paid_B.numel() and paid_B.max() > paid_B.min()) for paid_B in paid_SB]
        mixed_BR = weigh(advantages_SBR, counted_BR, streams.shares, informative)
        mixed_BR += tax(advantages_SBR[streams.taxed], advantages_SBR[0], counted_BR, informative[0])
    return Experience(batch, reference_logprobs_BR, values_SBR, returns_SBR, whiten(mixed_BR, counted_BR))


def _put(target_BR: Tensor, mask_BR: Tensor, rows: Tensor, packed_n: Tensor) -> None:
    """Write values packed over the response tokens of `rows` into their frame."""
    mask_bR = mask_BR[rows]
    target_BR[rows] = torch.zeros_like(target_BR[rows]).masked_scatter(mask_bR, packed_n)

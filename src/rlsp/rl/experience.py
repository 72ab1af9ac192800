"""From a batch to experience: reference log-probs and values, token rewards, advantages."""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import PreTrainedModel

from rlsp import parallel
from rlsp.config import RlRecipe
from rlsp.models import Critic, token_logprobs
from rlsp.rl.advantages import gae_of_streams, returns_to_go, tax, token_rewards, weigh, whiten
from rlsp.rl.batch import Batch, Experience, microbatches, own
from rlsp.rl.groups import COMPARISONS, Comparison, weigh_groups
from rlsp.rl.streams import Streams


@torch.no_grad()
def gather(batch: Batch, reference: PreTrainedModel | None, critic: Critic | None, rl: RlRecipe) -> Experience:
    """`estimate`, with the reference and the critic asked.

    Args:
        reference: None without a KL term.
        critic: None for algorithms that have none.
    """
    if reference is None and critic is None:
        return estimate(batch, batch.logprobs_BR[:0], batch.streams.rewards_SBR[:0], rl)
    asking = (batch, reference, critic, rl.microbatch_tokens)
    asked = parallel.everywhere(_ask, *asking, weights=[] if critic is None else critic.models)
    logprobs, values = zip(*asked, strict=True)
    return estimate(batch, torch.stack(logprobs).sum(0), torch.stack(values).sum(0), rl)


def estimate(batch: Batch, reference_logprobs_BR: Tensor, values_SBR: Tensor, rl: RlRecipe) -> Experience:
    """Eq. 2 → the algorithm's advantages, over the rollouts that are in the loss, whoever computed log-probs and
    values.

    Args:
        reference_logprobs_BR: of no rollout without a KL term.
        values_SBR: of no stream without a critic.
    """
    rewards_SBR, returns_SBR = batch.streams.rewards_SBR.clone(), values_SBR
    if len(reference_logprobs_BR) and rl.definition.kl == "reward":
        taxed = batch.streams.taxed
        rewards_SBR[taxed] = token_rewards(
            rewards_SBR[taxed], batch.logprobs_BR, reference_logprobs_BR, batch.mask_BR, rl.kl_coefficient
        )
    if rl.definition.grouped:
        advantages_BR = _compared(batch, rewards_SBR, COMPARISONS[rl.definition.estimator])
    elif rl.gae_lambda is not None:
        advantages_SBR, returns_SBR = gae_of_streams(
            rewards_SBR, values_SBR, batch.mask_BR, batch.streams.gammas, rl.gae_lambda
        )
        advantages_BR = _whitened(batch, advantages_SBR)
    else:
        advantages_BR = _whitened(batch, returns_to_go(rewards_SBR, batch.mask_BR))
    return Experience(batch, reference_logprobs_BR, values_SBR, returns_SBR, advantages_BR)


@torch.no_grad()
def _ask(
    batch: Batch, reference: PreTrainedModel | None, critic: Critic | None, max_tokens: int
) -> tuple[Tensor, Tensor]:
    """(the reference's log-probs [B, R], the critic's values [S, B, R]) of this process's rollouts, 0 for the others;
    empty where there is nobody to ask."""
    logprobs_BR = torch.zeros_like(batch.logprobs_BR if reference is not None else batch.logprobs_BR[:0])
    values_SBR = torch.zeros_like(batch.streams.rewards_SBR if critic is not None else batch.streams.rewards_SBR[:0])
    for rows, ids_bT, sampled_bT in microbatches(batch, own(batch, torch.arange(len(batch.ids_BT))), max_tokens):
        if reference is not None:
            logprobs_n, _ = token_logprobs(reference, ids_bT, sampled_bT, batch.temperature)
            _put(logprobs_BR, batch.mask_BR, rows, logprobs_n)
        if critic is not None:
            for values_BR, values_n in zip(values_SBR, critic(ids_bT, sampled_bT), strict=True):
                _put(values_BR, batch.mask_BR, rows, values_n)
    return logprobs_BR, values_SBR


def _compared(batch: Batch, rewards_SBR: Tensor, compare: Comparison) -> Tensor:
    """Every token of a rollout has the advantage of its total, [B, R]; a stream counts by its sum over the response."""
    streams, totals_SB = batch.streams, torch.where(batch.mask_BR, rewards_SBR, 0.0).sum(2)
    if streams.shares is None:
        mixed_B = compare(totals_SB.sum(0), batch.groups_B, batch.in_loss_B)
    else:
        apart_SB = torch.stack([compare(totals_B, batch.groups_B, batch.in_loss_B) for totals_B in totals_SB])
        mixed_B = weigh_groups(apart_SB, batch.in_loss_B, streams.shares, streams.taxed)
    return torch.where(batch.counted_BR, mixed_B[:, None], 0.0)


def _whitened(batch: Batch, advantages_SBR: Tensor) -> Tensor:
    """The streams' advantages together, whitened, [B, R]."""
    return whiten(_mixed(batch.streams, advantages_SBR, batch.counted_BR, batch.in_loss_B), batch.counted_BR)


def _mixed(streams: Streams, advantages_SBR: Tensor, counted_BR: Tensor, in_loss_B: Tensor) -> Tensor:
    if streams.shares is None:
        return advantages_SBR.sum(0)
    paid_SB = streams.rewards_SBR[:, in_loss_B].sum(2)
    informative = [bool(paid_B.numel() and paid_B.max() > paid_B.min()) for paid_B in paid_SB]
    mixed_BR = weigh(advantages_SBR, counted_BR, streams.shares, informative)
    return mixed_BR + tax(advantages_SBR[streams.taxed], advantages_SBR[0], counted_BR, informative[0])


def _put(target_BR: Tensor, mask_BR: Tensor, rows: Tensor, packed_n: Tensor) -> None:
    """Write values packed over the response tokens of `rows` into their frame."""
    mask_bR = mask_BR[rows]
    target_BR[rows] = torch.zeros_like(target_BR[rows]).masked_scatter(mask_bR, packed_n)

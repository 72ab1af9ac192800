"""PPO's losses and the KL estimators. Pure: tensors of one shape in, a sum over the masked entries divided by the
denominator that is passed in, so that micro-batches of one minibatch add up to the same loss however they are cut."""

from __future__ import annotations

import torch
from torch import Tensor


def policy_loss(
    logprobs: Tensor, old_logprobs: Tensor, advantages: Tensor, mask: Tensor, clip: float, denominator: float
) -> Tensor:
    """−Σ min(ρA, clip(ρ, 1−ε, 1+ε)A) / denominator with ρ = π/π_old (Schulman et al. 2017, Eq. 7)."""
    ratio = torch.where(mask, logprobs - old_logprobs, 0.0).exp()
    advantages = torch.where(mask, advantages, 0.0)
    surrogate = torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)
    return -surrogate.sum() / denominator


def value_loss(
    values: Tensor, old_values: Tensor, returns: Tensor, mask: Tensor, clip: float, denominator: float
) -> Tensor:
    """½ Σ max((V − G)², (clip(V, V_old ± ε) − G)²) / denominator: value clipping as in OpenAI's baselines
    (Huang et al., "The 37 implementation details of PPO", 2022, detail 9)."""
    values, old_values, returns = (torch.where(mask, each, 0.0) for each in (values, old_values, returns))
    clipped = old_values + (values - old_values).clamp(-clip, clip)
    return 0.5 * torch.maximum((values - returns) ** 2, (clipped - returns) ** 2).sum() / denominator


def clip_count(logprobs: Tensor, old_logprobs: Tensor, mask: Tensor, clip: float) -> Tensor:
    """How many masked tokens have a ratio outside 1 ± clip."""
    return ((logprobs - old_logprobs)[mask].exp() - 1).abs().gt(clip).sum()


def kl_k1(logprobs: Tensor, reference_logprobs: Tensor) -> Tensor:
    """log π − log π_ref: unbiased for KL(π‖π_ref) under samples of π, can be negative (Schulman 2020)."""
    return logprobs - reference_logprobs


def kl_k2(logprobs: Tensor, reference_logprobs: Tensor) -> Tensor:
    """½ (log π − log π_ref)²: biased, never negative."""
    return 0.5 * (logprobs - reference_logprobs) ** 2


def kl_k3(logprobs: Tensor, reference_logprobs: Tensor) -> Tensor:
    """π_ref/π − 1 − log(π_ref/π): unbiased and never negative."""
    log_ratio = reference_logprobs - logprobs
    return log_ratio.exp() - 1 - log_ratio

"""The losses, how their tokens add up, and the KL estimators. Pure: tensors of one shape in, a weighted sum divided by
the denominator that is passed in, so that micro-batches of one minibatch add up to the same loss however they are cut.
Whatever stands where the weight is 0, NaN included, does not matter."""

from __future__ import annotations

import torch
from torch import Tensor

from rlsp.config.algorithms import Aggregation


def token_weights(counted_BR: Tensor, aggregation: Aggregation) -> Tensor:
    """What each counted token weighs before the denominator: 1/|o| where sequences are averaged, else 1."""
    if aggregation != "sequence_mean":
        return counted_BR
    return counted_BR / counted_BR.sum(1, keepdim=True).clamp(min=1)


def denominator(counted_BR: Tensor, aggregation: Aggregation, budget: int) -> int:
    """What the weighted sum over a minibatch is divided by: its tokens, its rollouts, or for `budget` a constant, all
    its rollouts at the full response budget (Dr. GRPO: Liu et al., arXiv 2503.20783)."""
    match aggregation:
        case "token_mean":
            return max(1, int(counted_BR.sum()))
        case "budget":
            return len(counted_BR) * budget
        case _:
            return max(1, int(counted_BR.any(1).sum()))


def policy_loss(
    logprobs: Tensor,
    old_logprobs: Tensor,
    advantages: Tensor,
    weights: Tensor,
    clip: float,
    denominator: float,
    clip_high: float | None = None,
) -> Tensor:
    """−Σ w·min(ρA, clip(ρ, 1−ε, 1+ε)A) / denominator with ρ = π/π_old (Schulman et al. 2017, Eq. 7); `clip_high` is the
    upper ε where it is another one (DAPO: Yu et al., arXiv 2503.14476, Eq. 8)."""
    mask = weights != 0
    ratio = torch.where(mask, logprobs - old_logprobs, 0.0).exp()
    advantages = torch.where(mask, advantages, 0.0)
    upper = clip if clip_high is None else clip_high
    surrogate = torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + upper) * advantages)
    return -(surrogate * weights).sum() / denominator


def kl_loss(logprobs: Tensor, reference_logprobs: Tensor, weights: Tensor, denominator: float) -> Tensor:
    """Σ w·k3 / denominator: GRPO's KL term before its β (DeepSeekMath: Shao et al., arXiv 2402.03300, Eq. 4)."""
    mask = weights != 0
    estimates = kl_k3(torch.where(mask, logprobs, 0.0), torch.where(mask, reference_logprobs, 0.0))
    return (estimates * weights).sum() / denominator


def value_loss(
    values: Tensor, old_values: Tensor, returns: Tensor, mask: Tensor, clip: float, denominator: float
) -> Tensor:
    """½ Σ max((V − G)², (clip(V, V_old ± ε) − G)²) / denominator: value clipping as in OpenAI's baselines
    (Huang et al., "The 37 implementation details of PPO", 2022, detail 9)."""
    values, old_values, returns = (torch.where(mask, each, 0.0) for each in (values, old_values, returns))
    clipped = old_values + (values - old_values).clamp(-clip, clip)
    return 0.5 * torch.maximum((values - returns) ** 2, (clipped - returns) ** 2).sum() / denominator


def clip_count(
    logprobs: Tensor, old_logprobs: Tensor, mask: Tensor, clip: float, clip_high: float | None = None
) -> Tensor:
    """How many masked tokens have a ratio outside 1 − clip … 1 + clip_high (by default clip)."""
    excess = (logprobs - old_logprobs)[mask].exp() - 1
    return ((excess > (clip if clip_high is None else clip_high)) | (excess < -clip)).sum()


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

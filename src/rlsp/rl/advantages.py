"""Token rewards (Eq. 2), generalised advantage estimation, whitening. Pure: tensors in, tensors out. Whatever stands
in the padding, NaN included, does not matter."""

from __future__ import annotations

import torch
from torch import Tensor


def token_rewards(
    rewards_B: Tensor, logprobs_BR: Tensor, reference_logprobs_BR: Tensor, mask_BR: Tensor, kl_coefficient: float
) -> Tensor:
    """Eq. 2: r_t = R·1[t is the last token] − β·(log π_old(o_t) − log π_ref(o_t)), [B, R], 0 in the padding.

    The paper pays R at EOS; a truncated response has none and is paid at its last token, as in the authors' code.
    """
    kl_BR = torch.where(mask_BR, logprobs_BR - reference_logprobs_BR, 0.0)
    last_BR = mask_BR & (mask_BR.cumsum(1) == mask_BR.sum(1, keepdim=True))
    return torch.where(last_BR, rewards_B[:, None], 0.0) - kl_coefficient * kl_BR


def gae(rewards_BR: Tensor, values_BR: Tensor, mask_BR: Tensor, gamma: float, lam: float) -> tuple[Tensor, Tensor]:
    """δ_t = r_t + γV_{t+1} − V_t and A_t = Σ_l (γλ)^l δ_{t+l}; V is 0 after the last token (Schulman et al. 2016).

    Returns:
        (advantages [B, R], returns A + V [B, R]), both 0 in the padding.
    """
    rewards_BR = torch.where(mask_BR, rewards_BR, 0.0)
    values_BR = torch.where(mask_BR, values_BR, 0.0)
    advantages_BR = torch.zeros_like(values_BR)
    advantage_B = torch.zeros_like(values_BR[:, 0])
    next_value_B = torch.zeros_like(values_BR[:, 0])
    for t in reversed(range(values_BR.shape[1])):
        delta_B = rewards_BR[:, t] + gamma * next_value_B - values_BR[:, t]
        advantage_B = delta_B + gamma * lam * advantage_B
        advantages_BR[:, t] = advantage_B
        next_value_B = values_BR[:, t]
    return advantages_BR, torch.where(mask_BR, advantages_BR + values_BR, 0.0)


def whiten(values_BR: Tensor, mask_BR: Tensor, epsilon: float = 1e-8) -> Tensor:
    """Shift and scale the masked entries to mean 0 and variance 1 over the whole batch; 0 in the padding."""
    if not mask_BR.any():
        return torch.zeros_like(values_BR)
    inside_N = values_BR[mask_BR]
    variance = inside_N.var(unbiased=False)
    return torch.where(mask_BR, (values_BR - inside_N.mean()) * torch.rsqrt(variance + epsilon), 0.0)

"""Token rewards (Eq. 2), generalised advantage estimation over streams of rewards, returns to go, whitening. Pure:
tensors in, tensors out. Whatever stands in the padding, NaN included, does not matter."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def token_rewards(
    rewards_BR: Tensor, logprobs_BR: Tensor, reference_logprobs_BR: Tensor, mask_BR: Tensor, kl_coefficient: float
) -> Tensor:
    """Eq. 2: r_t − β·(log π_old(o_t) − log π_ref(o_t)), [B, R], 0 in the padding.

    The paper's r_t is R at EOS and 0 before; a truncated response has no EOS and is paid at its last token, as in the
    authors' code.
    """
    kl_BR = logprobs_BR - reference_logprobs_BR
    return torch.where(mask_BR, rewards_BR - kl_coefficient * kl_BR, 0.0)


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


def gae_of_streams(
    rewards_SBR: Tensor, values_SBR: Tensor, mask_BR: Tensor, gammas: Sequence[float], lam: float
) -> tuple[Tensor, Tensor]:
    """GAE of each stream with its own discount and value head. Their sum at λ = 1 is the multi-γ advantage
    A_t = Σ_k Σ_{i≥t} γ_k^{i−t} r^k_i − V_t with V = Σ_k V^k ("Demystifying Long Chain-of-Thought Reasoning in LLMs",
    arXiv 2502.03373, section 4).

    Returns:
        (advantages [S, B, R], returns [S, B, R]), both 0 in the padding.
    """
    pairs = [
        gae(rewards_BR, values_BR, mask_BR, gamma, lam)
        for rewards_BR, values_BR, gamma in zip(rewards_SBR, values_SBR, gammas, strict=True)
    ]
    return torch.stack([advantages for advantages, _ in pairs]), torch.stack([returns for _, returns in pairs])


def returns_to_go(rewards_SBR: Tensor, mask_BR: Tensor) -> Tensor:
    """Σ_{i≥t} r_i of each stream, [S, B, R], 0 in the padding: REINFORCE++'s advantages before whitening (Hu et al.,
    arXiv 2501.03262, at γ = 1)."""
    rewards_SBR = torch.where(mask_BR, rewards_SBR, 0.0)
    return torch.where(mask_BR, rewards_SBR.flip(-1).cumsum(-1).flip(-1), 0.0)


def weigh(advantages_SBR: Tensor, mask_BR: Tensor, shares: Sequence[float], informative: Sequence[bool]) -> Tensor:
    """Σ_s share_s · whitened A^s, [B, R]: the shares weigh signals, whatever their scales. A stream that says the same
    of every rollout is left out: whitening would blow the noise of its value head up to full size."""
    mixed_BR = torch.zeros_like(advantages_SBR[0])
    for advantages_BR, share, tells in zip(advantages_SBR, shares, informative, strict=True):
        if tells and share:
            mixed_BR += share * whiten(advantages_BR, mask_BR)
    return mixed_BR


def tax(kl_BR: Tensor, correctness_BR: Tensor, mask_BR: Tensor, informative: bool) -> Tensor:
    """The KL tax's advantages in the unit in which correctness is weighed, its standard deviation: at α = 1 the two
    together are outcome-only RL, and whatever α is, the tax stays due. As it is when all verdicts agree."""
    return kl_BR * torch.rsqrt(correctness_BR[mask_BR].var(unbiased=False) + 1e-8) if informative else kl_BR


def whiten(values_BR: Tensor, mask_BR: Tensor, epsilon: float = 1e-8) -> Tensor:
    """Shift and scale the masked entries to mean 0 and variance 1 over the whole batch; 0 in the padding."""
    if not mask_BR.any():
        return torch.zeros_like(values_BR)
    inside_N = values_BR[mask_BR]
    variance = inside_N.var(unbiased=False)
    return torch.where(mask_BR, (values_BR - inside_N.mean()) * torch.rsqrt(variance + epsilon), 0.0)

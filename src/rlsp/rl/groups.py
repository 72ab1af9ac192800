"""Advantages from comparing the rollouts of one prompt: one number a rollout, from its total reward. Pure: tensors in,
tensors out. A rollout that is not counted gets 0 and its total, NaN included, does not matter; so does one whose group
has nothing to compare: a single rollout, or totals that are all equal."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

EPSILON = 1e-6
"""Beside the standard deviation, as in verl; TRL takes 1e-4."""


def settled(totals_B: Tensor, groups_B: Tensor, counted_B: Tensor) -> Tensor:
    """Whether the counted totals of a rollout's group are all equal, [B]."""
    lowest_G, highest_G = (
        torch.full_like(totals_B, start).scatter_reduce(
            0, groups_B, torch.where(counted_B, totals_B, start), which, include_self=True
        )
        for start, which in ((torch.inf, "amin"), (-torch.inf, "amax"))
    )
    return (lowest_G >= highest_G)[groups_B]


def centred(totals_B: Tensor, groups_B: Tensor, counted_B: Tensor) -> Tensor:
    """r_i − mean(r) (Dr. GRPO: Liu et al., arXiv 2503.20783)."""
    teaches_B = counted_B & ~settled(totals_B, groups_B, counted_B)
    totals_B = torch.where(counted_B, totals_B, 0.0)
    means_B = _summed(totals_B, groups_B) / _sizes(totals_B, groups_B, counted_B)
    return torch.where(teaches_B, totals_B - means_B, 0.0)


def z_score(totals_B: Tensor, groups_B: Tensor, counted_B: Tensor) -> Tensor:
    """(r_i − mean(r)) / (std(r) + ε), the unbiased standard deviation (GRPO: Shao et al., arXiv 2402.03300, section
    4.1.2)."""
    centred_B = centred(totals_B, groups_B, counted_B)
    others_B = (_sizes(totals_B, groups_B, counted_B) - 1).clamp(min=1)
    return centred_B / ((_summed(centred_B**2, groups_B) / others_B).sqrt() + EPSILON)


def leave_one_out(totals_B: Tensor, groups_B: Tensor, counted_B: Tensor) -> Tensor:
    """r_i − mean_{j≠i}(r_j) = n/(n−1) · (r_i − mean(r)) (RLOO: Ahmadian et al., arXiv 2402.14740)."""
    sizes_B = _sizes(totals_B, groups_B, counted_B)
    return centred(totals_B, groups_B, counted_B) * sizes_B / (sizes_B - 1).clamp(min=1)


Comparison = Callable[[Tensor, Tensor, Tensor], Tensor]
COMPARISONS: dict[str, Comparison] = {
    "group_z_score": z_score,
    "group_centred": centred,
    "leave_one_out": leave_one_out,
}
"""By the names of `config.algorithms.Estimator`."""


def weigh_groups(advantages_SB: Tensor, counted_B: Tensor, shares: Sequence[float], taxed: int) -> Tensor:
    """Σ_s share_s · A^s/rms(A^s), [B], so that the shares weigh signals whatever their scales, and the KL tax of stream
    `taxed` in the unit of correctness, stream 0. Nothing is shifted: a group without a difference stays at 0."""
    units_S = [_root_mean_square(advantages_B[counted_B]) for advantages_B in advantages_SB]
    mixed_B = torch.zeros_like(advantages_SB[0])
    for advantages_B, unit, share in zip(advantages_SB, units_S, shares, strict=True):
        if share:
            mixed_B += share * advantages_B / unit
    return mixed_B + advantages_SB[taxed] / units_S[0]


def _root_mean_square(values_N: Tensor) -> Tensor:
    """Over what is not 0; 1 where all is."""
    values_N = values_N[values_N != 0]
    return values_N.square().mean().sqrt() if len(values_N) else torch.ones(())


def _summed(values_B: Tensor, groups_B: Tensor) -> Tensor:
    """The sum over each rollout's group, [B]."""
    return torch.zeros_like(values_B).index_add(0, groups_B, values_B)[groups_B]


def _sizes(values_B: Tensor, groups_B: Tensor, counted_B: Tensor) -> Tensor:
    """How many counted rollouts each rollout's group has, at least 1, [B]."""
    return _summed(counted_B.to(values_B.dtype), groups_B).clamp(min=1)

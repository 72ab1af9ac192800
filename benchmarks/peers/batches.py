"""One batch of made-up responses, the same for everyone who asks."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Responses:
    """Prompts of one length [B, P], responses padded on the right [B, R] with their mask, and advantages [B]."""

    prompts_BP: Tensor
    responses_BR: Tensor
    mask_BR: Tensor
    advantages_B: Tensor


def make(lengths: list[int], prompt: int, vocabulary: int) -> Responses:
    generator = torch.Generator().manual_seed(0)

    def tokens(width: int) -> Tensor:
        return torch.randint(5, vocabulary, (len(lengths), width), generator=generator)

    mask_BR = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    return Responses(
        tokens(prompt), tokens(max(lengths)) * mask_BR, mask_BR, torch.randn(len(lengths), generator=generator)
    )

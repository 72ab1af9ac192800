"""AdamW, Muon and their learning-rate schedule, for every stage that trains."""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

BETAS = (0.9, 0.95)
"""AdamW's (paper, appendix)."""
FLOOR = 0.1
"""The cosine ends at this share of the peak (paper, appendix: "cosine to 10 %")."""


class NonFiniteLossError(RuntimeError):
    """A loss or gradient is NaN or infinite; no weight has been touched by it. `rows`: the minibatch's rollouts, in
    RL."""

    rows: tuple[int, ...] = ()


def finite(value: Tensor, name: str) -> Tensor:
    """The value itself.

    Raises:
        NonFiniteLossError: it is NaN or infinite.
    """
    if not torch.isfinite(value):
        raise NonFiniteLossError(
            f"the {name} is {value.item()}: stopped before the optimizer. Lower the learning rate, or look for NaN in "
            "the model's weights."
        )
    return value


def adamw(parameters: Iterable[nn.Parameter], learning_rate: float, weight_decay: float = 0.0) -> torch.optim.AdamW:
    return torch.optim.AdamW(parameters, lr=learning_rate, betas=BETAS, weight_decay=weight_decay)


def muon(model: PreTrainedModel, learning_rate: float, weight_decay: float) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the layers, AdamW for embeddings, output head and vectors (Jordan et al. 2024).
    Updates are scaled to AdamW's size, so that one learning rate serves both."""
    embeddings = {id(each.weight) for each in (model.get_input_embeddings(), model.get_output_embeddings())}
    matrices = [each for each in model.parameters() if each.ndim == 2 and id(each) not in embeddings]
    inside = set(map(id, matrices))
    others = [each for each in model.parameters() if id(each) not in inside]
    return [
        torch.optim.Muon(
            matrices, lr=learning_rate, weight_decay=weight_decay, momentum=0.95, adjust_lr_fn="match_rms_adamw"
        ),
        adamw(others, learning_rate),
    ]


def warmup_cosine(step: int, total: int, warmup_share: float) -> float:
    """Share of the peak learning rate at 0-based `step` of `total`: linear warm-up, then cosine down to FLOOR."""
    warmup = max(1, round(warmup_share * total))
    if step < warmup:
        return (step + 1) / warmup
    progress = (step - warmup) / max(1, total - warmup)
    return FLOOR + (1 - FLOOR) * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))


def set_learning_rate(optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = learning_rate

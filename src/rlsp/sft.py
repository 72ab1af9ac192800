"""Step 1b: supervised fine-tuning, cross-entropy on the response with the prompt masked. EOS is part of the response:
a model that never learns it never stops. The nano base model is pretrained with the same code, nothing masked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random

import torch
from torch import Tensor
from transformers import PreTrainedModel

from rlsp.config import SftRecipe
from rlsp.errors import InputError
from rlsp.models import token_logprobs
from rlsp.optim import adamw, finite, muon, set_learning_rate, warmup_cosine

BATCHES_PER_BUCKET = 32


@dataclass(frozen=True, slots=True)
class Example:
    """A token sequence; the loss counts the tokens from `response_start` on."""

    ids: tuple[int, ...]
    response_start: int


def train(
    model: PreTrainedModel,
    examples: Sequence[Example],
    settings: SftRecipe,
    seed: int,
    on_step: Callable[[dict[str, float]], None],
) -> None:
    """Fine-tune `model` in place; `on_step` receives the metrics of each step.

    Raises:
        InputError: an example has no response, or is longer than a batch.
        NonFiniteLossError: before the optimizer is reached.
    """
    _check(examples, settings)
    rng = Random(seed)
    epochs = [list(length_bucketed(examples, settings.batch_tokens, rng)) for _ in range(settings.epochs)]
    batches = [batch for epoch in epochs for batch in epoch]
    if settings.optimizer == "muon":
        optimizers = muon(model, settings.learning_rate, settings.weight_decay)
    else:
        optimizers = [adamw(model.parameters(), settings.learning_rate, settings.weight_decay)]
    for step, batch in enumerate(batches):
        share = warmup_cosine(step, len(batches), settings.warmup_share)
        for optimizer in optimizers:
            set_learning_rate(optimizer, settings.learning_rate * share)
        ids_BT, mask_BT = collate(batch, model.device)
        logprobs_N, _ = token_logprobs(model, ids_BT, mask_BT)
        loss = -logprobs_N.mean()
        finite(loss, "SFT loss").backward()
        grad_norm = finite(torch.nn.utils.clip_grad_norm_(model.parameters(), settings.grad_clip), "gradient norm")
        for optimizer in optimizers:
            optimizer.step()
        model.zero_grad(set_to_none=True)
        on_step(
            {
                "step": step + 1,
                "steps": len(batches),
                "loss": loss.item(),
                "grad_norm": grad_norm.item(),
                "tokens": sum(len(example.ids) for example in batch),
                "padding": 1 - sum(len(example.ids) for example in batch) / ids_BT.numel(),
            }
        )


def length_bucketed(examples: Sequence[Example], batch_tokens: int, rng: Random) -> Iterator[list[Example]]:
    """Every example once, in random batches of similar lengths whose padded size is at most `batch_tokens`."""
    order = rng.sample(range(len(examples)), len(examples))
    mean_length = sum(len(example.ids) for example in examples) / len(examples)
    window = max(1, round(BATCHES_PER_BUCKET * batch_tokens / mean_length))
    for start in range(0, len(order), window):
        bucket = sorted((examples[index] for index in order[start : start + window]), key=lambda e: len(e.ids))
        batches: list[list[Example]] = [[]]
        for example in bucket:
            if (len(batches[-1]) + 1) * len(example.ids) > batch_tokens:
                batches.append([])
            batches[-1].append(example)
        yield from rng.sample(batches, len(batches))


def collate(batch: Sequence[Example], device: torch.device) -> tuple[Tensor, Tensor]:
    """(ids [B, T] padded on the right with 0, mask [B, T] of the tokens that the loss counts)."""
    width = max(len(example.ids) for example in batch)
    ids_BT = torch.zeros(len(batch), width, dtype=torch.long)
    mask_BT = torch.zeros(len(batch), width, dtype=torch.bool)
    for row, example in enumerate(batch):
        ids_BT[row, : len(example.ids)] = torch.tensor(example.ids)
        mask_BT[row, max(1, example.response_start) : len(example.ids)] = True
    return ids_BT.to(device), mask_BT.to(device)


def _check(examples: Sequence[Example], settings: SftRecipe) -> None:
    if not examples:
        raise InputError("no examples to fine-tune on")
    longest = max(len(example.ids) for example in examples)
    if longest > settings.batch_tokens:
        raise InputError(
            f"an example has {longest} tokens, more than a batch of {settings.batch_tokens}: raise sft.batch_tokens"
        )
    for example in examples:
        if len(example.ids) <= max(1, example.response_start):
            raise InputError(f"an example of {len(example.ids)} tokens has no response to learn from")

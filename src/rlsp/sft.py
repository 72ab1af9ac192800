"""Step 1b: supervised fine-tuning, cross-entropy on the response with the prompt masked. EOS is part of the response:
a model that never learns it never stops. The nano base model is pretrained with the same code, nothing masked."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random

import torch
from torch import Tensor
from transformers import PreTrainedModel

from rlsp import parallel
from rlsp.checkpoints import Checkpoint, optimizer_state, restore_optimizer, restore_weights, weights
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


class Finetuning:
    """SFT of `model`, in place, step by step.

    Raises:
        InputError: an example has no response, or is longer than a batch.
    """

    def __init__(self, model: PreTrainedModel, examples: Sequence[Example], settings: SftRecipe, seed: int) -> None:
        _check(examples, settings)
        self.model, self.settings, self.seed, rng = model, settings, seed, Random(seed)
        epochs = [length_bucketed(examples, settings.batch_tokens, rng) for _ in range(settings.epochs)]
        self.batches = [batch for epoch in epochs for batch in epoch]
        if settings.optimizer == "muon":
            self.optimizers = muon(model, settings.learning_rate, settings.weight_decay)
        else:
            self.optimizers = [adamw(model.parameters(), settings.learning_rate, settings.weight_decay)]

    @property
    def steps(self) -> int:
        return len(self.batches)

    def step(self, number: int) -> dict[str, float]:
        """One optimizer step on the batch of that number, from 0.

        Returns:
            The step's metrics.

        Raises:
            NonFiniteLossError: before the optimizer is reached.
        """
        batch, settings = self.batches[number], self.settings
        share = warmup_cosine(number, self.steps, settings.warmup_share)
        for optimizer in self.optimizers:
            set_learning_rate(optimizer, settings.learning_rate * share)
        models = [self.model]
        told = (self.model, batch, self.seed + number)
        loss = sum(parallel.everywhere(accumulate, *told, weights=models, gradients=models))
        grad_norm = finite(torch.nn.utils.clip_grad_norm_(self.model.parameters(), settings.grad_clip), "gradient norm")
        for optimizer in self.optimizers:
            optimizer.step()
        self.model.zero_grad(set_to_none=True)
        lengths = [len(example.ids) for example in batch]
        return {
            "step": number + 1,
            "steps": self.steps,
            "loss": loss,
            "grad_norm": grad_norm.item(),
            "tokens": sum(lengths),
            "padding": 1 - sum(lengths) / (len(batch) * max(lengths)),
        }

    def snapshot(self, step: int) -> Checkpoint:
        """The training after `step` steps."""
        tensors = weights("policy", self.model) | {"cpu_rng": torch.get_rng_state()}
        if self.model.device.type == "cuda":
            tensors["cuda_rng"] = torch.cuda.get_rng_state(self.model.device)
        for number, optimizer in enumerate(self.optimizers):
            tensors |= optimizer_state(f"optimizer-{number}", optimizer)
        return Checkpoint(step, tensors, {})

    def restore(self, checkpoint: Checkpoint) -> None:
        restore_weights("policy", self.model, checkpoint.tensors)
        for number, optimizer in enumerate(self.optimizers):
            restore_optimizer(f"optimizer-{number}", optimizer, checkpoint.tensors)
        torch.set_rng_state(checkpoint.tensors["cpu_rng"])
        if self.model.device.type == "cuda":
            torch.cuda.set_rng_state(checkpoint.tensors["cuda_rng"], self.model.device)


def accumulate(model: PreTrainedModel, batch: Sequence[Example], seed: int) -> float:
    """Add the gradients of this process's part of a batch.

    Args:
        seed: another one for each step, for dropout in all processes but the first.

    Returns:
        Its part of the loss.

    Raises:
        NonFiniteLossError: the loss is NaN or infinite.
    """
    tokens = sum(len(example.ids) - max(1, example.response_start) for example in batch)
    if not (mine := parallel.share(batch)):
        return 0.0
    if parallel.rank():
        torch.manual_seed(seed * parallel.size() + parallel.rank())  # the same after a resume
    logprobs_N, _ = token_logprobs(model, *collate(mine, model.device))
    loss = -logprobs_N.sum() / tokens
    finite(loss, "SFT loss").backward()
    return loss.item()


def train(
    model: PreTrainedModel,
    examples: Sequence[Example],
    settings: SftRecipe,
    seed: int,
    on_step: Callable[[dict[str, float]], None],
) -> None:
    """All steps; `on_step` receives the metrics of each."""
    tuning = Finetuning(model, examples, settings, seed)
    for number in range(tuning.steps):
        on_step(tuning.step(number))


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

"""From rollouts and scores to tensors. B: rollouts, T: prompt and response, R: response, all padded on the right;
S: streams of rewards."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from rlsp import parallel
from rlsp.rl.streams import Streams
from rlsp.types import Advantages, Rollout, Score


@dataclass(frozen=True, slots=True)
class Batch:
    """`sampled_BT` marks the response tokens in `ids_BT`; `mask_BR` the same tokens in the response's own frame.
    `groups_B` numbers the problems; `in_loss_B` is False for rollouts that are left out of the loss."""

    ids_BT: Tensor
    sampled_BT: Tensor
    mask_BR: Tensor
    logprobs_BR: Tensor
    streams: Streams
    groups_B: Tensor
    in_loss_B: Tensor
    temperature: float

    @property
    def ends_B(self) -> Tensor:
        """The lengths of prompts and responses together."""
        return (self.sampled_BT * torch.arange(1, self.ids_BT.shape[1] + 1, device=self.ids_BT.device)).amax(1)

    @property
    def counted_BR(self) -> Tensor:
        """The response tokens that the loss is about."""
        return self.mask_BR & self.in_loss_B[:, None]


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Experience:
    """A batch with everything that the update needs. `reference_logprobs_BR` are of the sampled tokens, at the sampling
    temperature, empty without a KL term; `values_SBR` and `returns_SBR` train the critic, stream by stream, of no
    stream without one; `advantages_BR` are as the policy's loss takes them."""

    batch: Batch
    reference_logprobs_BR: Tensor
    values_SBR: Tensor
    returns_SBR: Tensor
    advantages_BR: Tensor

    @property
    def driven_B(self) -> Tensor:
        """Whether any counted token of a rollout has an advantage, [B]."""
        return ((self.advantages_BR != 0) & self.batch.counted_BR).any(1)

    def advantages_of(self, rollouts: Sequence[Rollout]) -> list[Advantages]:
        """The advantages of the batch's rollouts, which it was collated from, as records."""
        return [
            Advantages(each.problem_id, each.sample, tuple(round(value, 4) for value in row[: each.length].tolist()))
            for each, row in zip(rollouts, self.advantages_BR.cpu(), strict=True)
        ]


EXPERIENCE = ("reference_logprobs_BR", "values_SBR", "returns_SBR", "advantages_BR")


def experience_tensors(experience: Experience) -> dict[str, Tensor]:
    """What experience adds to its batch, for a file."""
    return {f"experience.{name}": getattr(experience, name) for name in EXPERIENCE}


def experience_from(batch: Batch, tensors: Mapping[str, Tensor]) -> Experience:
    """The experience that `experience_tensors` gave, of the same batch."""
    return Experience(batch, *(tensors[f"experience.{name}"].to(batch.ids_BT.device) for name in EXPERIENCE))


def collate(
    rollouts: Sequence[Rollout], scores: Sequence[Score], streams: Streams, mask_truncated: bool, device: torch.device
) -> Batch:
    """Stack rollouts; all of them must come from one temperature. One without a total is left out of the loss."""
    temperature = rollouts[0].temperature
    if any(rollout.temperature != temperature for rollout in rollouts):
        raise ValueError("rollouts of different temperatures in one batch")
    starts = torch.tensor([len(rollout.prompt_ids) for rollout in rollouts])
    lengths = torch.tensor([rollout.length for rollout in rollouts])
    ids_BT = torch.zeros(len(rollouts), int((starts + lengths).max()), dtype=torch.long)
    logprobs_BR = torch.zeros(len(rollouts), int(lengths.max()))
    for row, rollout in enumerate(rollouts):
        ids_BT[row, : starts[row] + lengths[row]] = torch.tensor(rollout.prompt_ids + rollout.response_ids)
        logprobs_BR[row, : lengths[row]] = torch.tensor(rollout.logprobs)
    positions_T, positions_R = torch.arange(ids_BT.shape[1]), torch.arange(logprobs_BR.shape[1])
    after_prompt_BT = positions_T >= starts[:, None]
    before_end_BT = positions_T < (starts + lengths)[:, None]
    in_loss = [
        score.total is not None and not (mask_truncated and rollout.truncated)
        for rollout, score in zip(rollouts, scores, strict=True)
    ]
    numbers = {problem: number for number, problem in enumerate(dict.fromkeys(each.problem_id for each in rollouts))}
    return Batch(
        ids_BT=ids_BT.to(device),
        sampled_BT=(after_prompt_BT & before_end_BT).to(device),
        mask_BR=(positions_R < lengths[:, None]).to(device),
        logprobs_BR=logprobs_BR.to(device),
        streams=replace(streams, rewards_SBR=streams.rewards_SBR.to(device)),
        groups_B=torch.tensor([numbers[rollout.problem_id] for rollout in rollouts]).to(device),
        in_loss_B=torch.tensor(in_loss).to(device),
        temperature=temperature,
    )


def own(batch: Batch, rows: Tensor) -> Tensor:
    """This process's part of `rows`: of long rollouts and short ones as many as every other's."""
    return parallel.share(_longest_first(batch, rows))


def _longest_first(batch: Batch, rows: Tensor) -> Tensor:
    return rows[batch.ends_B[rows].argsort(descending=True, stable=True).to(rows.device)]


def microbatches(batch: Batch, rows: Tensor, max_tokens: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Cut `rows` into pieces of similar lengths whose padded size is at most `max_tokens`.

    Yields:
        (rows of the piece, their ids, their sampled mask), the tensors cut to the piece's longest sequence.
    """
    ends, ordered, start = batch.ends_B, _longest_first(batch, rows), 0
    while start < len(ordered):
        width = int(ends[ordered[start]])
        piece = ordered[start : start + max(1, max_tokens // width)]
        yield piece, batch.ids_BT[piece, :width], batch.sampled_BT[piece, :width]
        start += len(piece)

"""What every sampler offers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from rlsp.errors import InputError
from rlsp.types import Rollout

if TYPE_CHECKING:
    from transformers import PretrainedConfig


@dataclass(frozen=True, slots=True)
class Prompt:
    """A problem as the policy sees it."""

    problem_id: str
    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class SamplingSettings:
    """`temperature` 0 is greedy; `max_response_tokens` counts EOS; `cache_tokens` bounds the memory of the key-value
    cache, in tokens."""

    temperature: float
    max_response_tokens: int
    cache_tokens: int


def ignore(rollouts: Sequence[Rollout]) -> None:
    """Nobody waits for rollouts as they end."""


class Sampler(Protocol):
    def sample(
        self,
        prompts: Sequence[Prompt],
        samples: int,
        settings: SamplingSettings,
        seed: int,
        policy_version: int,
        on_ended: Callable[[Sequence[Rollout]], None] = ignore,
    ) -> list[Rollout]:
        """`samples` rollouts of each prompt, ordered by prompt, then sample. What a rollout becomes depends on the
        seed, its problem and its sample index, never on the rollouts beside it. `on_ended` gets each rollout once, with
        those that end together with it."""
        ...


def request_seed(seed: int, problem_id: str, sample: int) -> int:
    """What decides a rollout: 63 bits."""
    digest = hashlib.sha256(f"{seed}/{problem_id}/{sample}".encode()).digest()
    return int.from_bytes(digest[:8]) >> 1


def check_room(config: PretrainedConfig, slots: int, cache_tokens: int) -> None:
    """Raises InputError when one sequence of `slots` tokens does not fit the cache or the model's context."""
    if slots > cache_tokens:
        raise InputError(
            f"a prompt and its response need {slots} tokens of cache, sampling.cache_tokens is {cache_tokens}: raise it"
        )
    context = getattr(config.get_text_config(), "max_position_embeddings", None)
    if context and slots > context:
        raise InputError(
            f"a prompt and its response need {slots} positions, the model has {context}: "
            "lower sampling.max_response_tokens"
        )

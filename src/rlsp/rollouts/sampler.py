"""What every sampler offers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from rlsp.types import Rollout


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


class Sampler(Protocol):
    def sample(
        self, prompts: Sequence[Prompt], samples: int, settings: SamplingSettings, seed: int, policy_version: int
    ) -> list[Rollout]:
        """`samples` rollouts of each prompt, ordered by prompt, then sample. What a rollout becomes depends on the
        seed, its problem and its sample index, never on the rollouts beside it."""
        ...

"""The dense repetition penalty of *Demystifying Long Chain-of-Thought Reasoning in LLMs* (arXiv 2502.03373, section
4.5): −`penalty` on every token inside an n-gram that the response held before, on a stream with its own discount.

Two defects of the published versions are known, and this one is free of them:

- What others took from the paper's repository is not the paper's reward but the function beside it: one number for the
  whole response, the share of repeated n-grams of lower-cased *words* (huggingface/open-r1#276; TRL has it too). No
  token learns that it was the one that repeated, and a response shorter than n words divides by zero. Ours is one
  number a token, over token ids, and 0 for a response shorter than n.
- The end of a repeat is taken to be the token after its last one (eddycmu/demystify-long-cot#10), so that with
  `only_start` a repeat that follows another one directly is not punished; as the end also moves with every overlapping
  repeat, a loop costs no more than two passes of it. Ours punishes every marked token, each of them once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rlsp.exploration.part import Part
from rlsp.exploration.repeats import repeated
from rlsp.types import Rollout


@dataclass(frozen=True, slots=True)
class RepetitionReward:
    """`penalty` is above 0. `floor` is what a response of `max_tokens` earns that says one token over and over."""

    ngram: int
    penalty: float
    max_tokens: int

    @property
    def floor(self) -> float:
        return -self.penalty * (self.max_tokens - 1)

    def explore(self, questions: Sequence[str], rollouts: Sequence[Rollout]) -> list[Part]:
        return [self._part(rollout) for rollout in rollouts]

    def _part(self, rollout: Rollout) -> Part:
        tokens = tuple(-self.penalty if mark else 0.0 for mark in repeated(rollout.response_ids, self.ngram))
        return Part(sum(tokens), tokens)

"""`R_ex = −C/|o_eff|`, ours: as `length`, but a token inside an n-gram that the response held before does not count, so
that saying the same again does not pay. `repeats` says what is marked; the first token never is, so |o_eff| ≥ 1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rlsp.exploration.part import Part
from rlsp.exploration.repeats import repeated
from rlsp.types import Rollout


@dataclass(frozen=True, slots=True)
class EffectiveLengthReward:
    """`c` is C in tokens. Longer is better only while it is new: the token that completes a repeat takes the whole
    n-gram out of the count."""

    c: float
    ngram: int

    @property
    def floor(self) -> float:
        return -self.c

    def explore(self, questions: Sequence[str], rollouts: Sequence[Rollout]) -> list[Part]:
        return [Part(-self.c / repeated(rollout.response_ids, self.ngram).count(False)) for rollout in rollouts]

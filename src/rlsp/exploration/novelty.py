"""How different a response is from its siblings and from the demonstrations, in n-grams of words."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rlsp.exploration.groups import siblings
from rlsp.exploration.part import Part
from rlsp.types import Demonstration, Rollout

_WORD = re.compile(r"\w+|[^\w\s]")

Ngram = tuple[str, ...]


def ngrams(text: str, n: int) -> frozenset[Ngram]:
    """The distinct runs of `n` words; a sign of punctuation is a word."""
    words = _WORD.findall(text)
    return frozenset(zip(*(words[start:] for start in range(n)), strict=False))


@dataclass(frozen=True, slots=True)
class NoveltyReward:
    """The share of a response's distinct n-grams that none of its siblings holds, averaged with the share that no
    demonstration holds, if there are any; 0 … 1. A text of fewer than n words is not new: 0. With neither siblings nor
    demonstrations there is nothing to be new against, and no value."""

    n: int
    demonstrated: frozenset[Ngram] = frozenset()

    @classmethod
    def against(cls, n: int, demonstrations: Iterable[Demonstration]) -> NoveltyReward:
        return cls(n, frozenset().union(*(ngrams(each.trace, n) for each in demonstrations)))

    @property
    def floor(self) -> float:
        return 0.0

    def explore(self, questions: Sequence[str], rollouts: Sequence[Rollout]) -> list[Part]:
        held = [ngrams(rollout.text, self.n) for rollout in rollouts]
        parts = [Part(0.0)] * len(rollouts)
        for group in siblings(rollouts):
            holders = Counter(ngram for each in group for ngram in held[each])
            for each in group:
                parts[each] = self._part(held[each], holders, len(group))
        return parts

    def _part(self, held: frozenset[Ngram], holders: Counter[Ngram], group_size: int) -> Part:
        if not held:
            return Part(0.0)
        shares = []
        if group_size > 1:
            shares.append(sum(holders[ngram] == 1 for ngram in held) / len(held))
        if self.demonstrated:
            shares.append(len(held - self.demonstrated) / len(held))
        if not shares:
            return Part(None, missing="no siblings and no demonstrations to compare with")
        return Part(sum(shares) / len(shares))

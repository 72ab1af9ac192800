"""Streams of token rewards: what each token earns, apart for each discount or for each signal.

`mix = "reward"` pays Eq. 1's total, so that the token rewards of a rollout add up to it; only dense parts and parts
with a discount of their own leave the last token. `mix = "advantage"` keeps correctness and every exploration reward
apart: each has a value head, its own discount and its own normalisation, and α weighs advantages.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, pstdev

import torch
from torch import Tensor

from rlsp.config import RewardRecipe
from rlsp.exploration.composite import Composite
from rlsp.types import Rollout, Score


@dataclass(frozen=True, slots=True)
class Streams:
    """S streams: their names, discounts, and token rewards without the KL term, 0 in the padding. With `shares` each
    stream's advantages are normalised and weighed by its share; without, they add up as they are."""

    names: tuple[str, ...]
    gammas: tuple[float, ...]
    rewards_SBR: Tensor
    shares: tuple[float, ...] | None = None


class SummedRewards:
    """`mix = "reward"`: one stream for each discount; with the paper's single γ, Eq. 1 paid at the last token."""

    def __init__(self, explorer: Composite, gamma: float) -> None:
        self.paid = explorer.paid
        self.gammas = tuple(dict.fromkeys([gamma, *(part.gamma for part in self.paid.values())]))
        self.names = ("reward", *(f"reward, γ = {each:g}" for each in self.gammas[1:]))

    def build(self, rollouts: Sequence[Rollout], scores: Sequence[Score]) -> Streams:
        rewards_SBR = _zeros(len(self.gammas), rollouts)
        for row, (rollout, score) in enumerate(zip(rollouts, scores, strict=True)):
            if score.total is None:
                continue
            elsewhere = 0.0
            for name, part in self.paid.items():
                stream, factor = self.gammas.index(part.gamma), (1 - score.alpha) * part.weight
                if tokens := score.exploration.tokens.get(name):
                    rewards_SBR[stream, row, : len(tokens)] += factor * torch.tensor(tokens)
                    elsewhere += factor * sum(tokens)
                elif stream > 0:
                    rewards_SBR[stream, row, rollout.length - 1] += factor * score.exploration.parts[name]
                    elsewhere += factor * score.exploration.parts[name]
            rewards_SBR[0, row, rollout.length - 1] += score.total - elsewhere
        return Streams(self.names, self.gammas, rewards_SBR)


class SeparateSignals:
    """`mix = "advantage"`: correctness first, then each exploration reward that has a weight.

    An exploration reward enters in units of its own: the first batch's standard deviation, and for a reward paid at the
    end around the first batch's mean. So its scale can't matter, neither to the advantages nor to its value head.
    """

    def __init__(self, explorer: Composite, gamma: float) -> None:
        self.paid = explorer.paid
        self.names = ("correctness", *self.paid)
        self.gammas = (gamma, *(part.gamma for part in self.paid.values()))
        self.units: dict[str, tuple[float, float]] = {}

    def build(self, rollouts: Sequence[Rollout], scores: Sequence[Score]) -> Streams:
        if not self.units:
            scored = [score for score in scores if score.total is not None]
            self.units = {name: _unit(scored, name) for name in self.paid}
        rewards_SBR = _zeros(len(self.names), rollouts)
        for row, (rollout, score) in enumerate(zip(rollouts, scores, strict=True)):
            if score.total is None:
                continue
            rewards_SBR[0, row, rollout.length - 1] = float(score.verdict.correct)
            for stream, (name, (centre, scale)) in enumerate(self.units.items(), 1):
                if tokens := score.exploration.tokens.get(name):
                    rewards_SBR[stream, row, : len(tokens)] = torch.tensor(tokens) / scale
                else:
                    rewards_SBR[stream, row, rollout.length - 1] = (score.exploration.parts[name] - centre) / scale
        return Streams(self.names, self.gammas, rewards_SBR, self._shares(scores[0].alpha))

    def _shares(self, alpha: float) -> tuple[float, ...]:
        """α for correctness; the rest falls to the exploration rewards by their weights."""
        weights = sum(part.weight for part in self.paid.values())
        return (alpha, *((1 - alpha) * part.weight / weights for part in self.paid.values()))


def streams_for(recipe: RewardRecipe, explorer: Composite, gamma: float) -> SummedRewards | SeparateSignals:
    return SeparateSignals(explorer, gamma) if recipe.mix == "advantage" else SummedRewards(explorer, gamma)


def _unit(scores: Sequence[Score], name: str) -> tuple[float, float]:
    """(centre, scale) of an exploration reward; a dense one is centred at 0, where nothing is paid."""
    values = [score.exploration.parts[name] for score in scores]
    scale = pstdev(values) if len(values) > 1 else 0.0
    dense = any(name in score.exploration.tokens for score in scores)
    return 0.0 if dense or not values else fmean(values), scale if math.isfinite(scale) and scale > 0 else 1.0


def _zeros(streams: int, rollouts: Sequence[Rollout]) -> Tensor:
    return torch.zeros(streams, len(rollouts), max(rollout.length for rollout in rollouts))

"""Streams of token rewards: what each token earns, apart for each discount or for each signal.

`mix = "reward"` pays Eq. 1's total: at the last token, but for dense parts and parts with a discount of their own.
`mix = "advantage"` keeps correctness, the KL tax and every exploration reward apart: each has a value head, its own
discount and its own normalisation, and α weighs advantages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, pstdev

import torch
from torch import Tensor

from rlsp.config import RewardRecipe
from rlsp.exploration.composite import Composite
from rlsp.reward import clamped, parts, share
from rlsp.types import Rollout, Score


@dataclass(frozen=True, slots=True)
class Streams:
    """S streams: their names, discounts, and token rewards without the KL tax, 0 in the padding. The tax falls on the
    stream `taxed`. `shares` weigh the streams' normalised advantages, with the taxed one as it is; without them all
    advantages add up as they are."""

    names: tuple[str, ...]
    gammas: tuple[float, ...]
    rewards_SBR: Tensor
    taxed: int = 0
    shares: tuple[float, ...] | None = None


class SummedRewards:
    """`mix = "reward"`: one stream for each discount; with the paper's single γ, Eq. 1 paid at the last token.

    What falls due at the last token is clamped. The token rewards of a rollout add up to its total where nothing is; a
    clamp that took in the dense parts, too, would pay a loop back at its end what it lost on the way.
    """

    units: Mapping[str, tuple[float, float]] = {}
    """Eq. 1 has none."""

    def __init__(self, explorer: Composite, gamma: float, clamp: float) -> None:
        self.paid, self.clamp = explorer.paid, clamp
        self.gammas = tuple(dict.fromkeys([gamma, *(part.gamma for part in self.paid.values())]))
        self.names = ("reward", *(f"reward_gamma_{each:g}" for each in self.gammas[1:]))

    def build(self, rollouts: Sequence[Rollout], scores: Sequence[Score]) -> Streams:
        rewards_SBR = _zeros(len(self.gammas), rollouts)
        for row, (rollout, score) in enumerate(zip(rollouts, scores, strict=True)):
            explored = score.exploration
            if explored.value is None:
                continue
            elsewhere = 0.0
            for name, part in self.paid.items():
                stream = self.gammas.index(part.gamma)
                if tokens := explored.tokens.get(name):
                    factor = share(score.alpha, part.weight, 1.0)
                    rewards_SBR[stream, row, : len(tokens)] += factor * torch.tensor(tokens)
                elif stream > 0:
                    paid = share(score.alpha, part.weight, explored.parts[name])
                    rewards_SBR[stream, row, rollout.length - 1] += clamped(paid, self.clamp)
                else:
                    continue
                elsewhere += share(score.alpha, part.weight, explored.parts[name])
            due = sum(parts(score.verdict, explored.value, score.alpha)) - elsewhere
            rewards_SBR[0, row, rollout.length - 1] += clamped(due, self.clamp)
        return Streams(self.names, self.gammas, rewards_SBR)


class SeparateSignals:
    """`mix = "advantage"`: correctness, the KL tax, and each exploration reward that has a weight.

    An exploration reward enters in units of its own: the standard deviation, and for a reward paid at the end the mean,
    of the first batch in which it differs between rollouts; before, it pays nothing. So its scale can't matter, neither
    to the advantages nor to its value head. `units`: (centre, scale) by name, what a training that goes on must keep.
    """

    def __init__(self, explorer: Composite, gamma: float) -> None:
        self.paid = explorer.paid
        self.names = ("correctness", "kl", *self.paid)
        self.gammas = (gamma, gamma, *(part.gamma for part in self.paid.values()))
        self.units: dict[str, tuple[float, float]] = {}

    def build(self, rollouts: Sequence[Rollout], scores: Sequence[Score]) -> Streams:
        self._take_units([score for score in scores if score.total is not None])
        rewards_SBR = _zeros(len(self.names), rollouts)
        for row, (rollout, score) in enumerate(zip(rollouts, scores, strict=True)):
            if score.total is None:
                continue
            last = rollout.length - 1
            rewards_SBR[0, row, last] = float(score.verdict.correct)
            for name, (centre, scale) in self.units.items():
                stream = self.names.index(name)
                if tokens := score.exploration.tokens.get(name):
                    rewards_SBR[stream, row, : len(tokens)] = torch.tensor(tokens) / scale
                else:
                    rewards_SBR[stream, row, last] = (score.exploration.parts[name] - centre) / scale
        return Streams(self.names, self.gammas, rewards_SBR, taxed=1, shares=self._shares(scores[0].alpha))

    def _take_units(self, scores: Sequence[Score]) -> None:
        """The units of rewards that have none yet and differ in this batch; a dense one is centred at 0, where nothing
        is paid."""
        for name in [each for each in self.paid if each not in self.units]:
            values = [score.exploration.parts[name] for score in scores]
            if len(values) > 1 and (scale := pstdev(values)) > 0:
                dense = any(name in score.exploration.tokens for score in scores)
                self.units[name] = (0.0 if dense else fmean(values), scale)

    def _shares(self, alpha: float) -> tuple[float, ...]:
        """α for correctness; the rest falls to the exploration rewards by their weights."""
        weights = sum(part.weight for part in self.paid.values())
        return (alpha, 0.0, *(share(alpha, part.weight / weights, 1.0) for part in self.paid.values()))


def streams_for(recipe: RewardRecipe, explorer: Composite, gamma: float) -> SummedRewards | SeparateSignals:
    if recipe.mix == "advantage":
        return SeparateSignals(explorer, gamma)
    return SummedRewards(explorer, gamma, recipe.clamp)


def _zeros(streams: int, rollouts: Sequence[Rollout]) -> Tensor:
    return torch.zeros(streams, len(rollouts), max(rollout.length for rollout in rollouts))

"""Streams of token rewards: what they add up to, the multi-γ advantage against brute force, α weighing advantages."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import pytest
import torch
from torch import Tensor

from rlsp.config import RewardRecipe
from rlsp.exploration.composite import Composite, Weighted
from rlsp.exploration.part import Part
from rlsp.reward import combine
from rlsp.rl.advantages import gae, gae_of_streams, weigh, whiten
from rlsp.rl.streams import SeparateSignals, Streams, SummedRewards, streams_for
from rlsp.types import Exploration, Finish, Reason, Rollout, Score, Verdict

ALPHA = 0.6
LENGTHS = (1, 4, 7, 3)


class Unused:
    """The parts below are written by hand."""

    floor = 0.0

    def explore(self, questions: Sequence[str], rollouts: Sequence[Rollout]) -> list[Part]:
        raise AssertionError("nothing is explored here")


def explorer(**gammas: float) -> Composite:
    return Composite({name: Weighted(weight=2.0, gamma=gamma, explorer=Unused()) for name, gamma in gammas.items()})


def rollouts() -> list[Rollout]:
    return [
        Rollout("p", sample, (5,), (7,) * length, (-1.0,) * length, "", Finish.EOS, 1.0, 0)
        for sample, length in enumerate(LENGTHS)
    ]


def scores(composite: Composite, seed: int = 0, dense: str = "repetition", scale: float = 1.0) -> list[Score]:
    """Eq. 1 of random parts; the dense one pays random tokens."""
    rng, scored = Random(seed), []
    for rollout in rollouts():
        tokens = {name: tuple(scale * -rng.random() for _ in range(rollout.length)) for name in composite.parts}
        tokens = {name: each for name, each in tokens.items() if name == dense}
        parts = {name: sum(tokens[name]) if name in tokens else scale * rng.gauss(0, 1) for name in composite.parts}
        value = sum(2.0 * part for part in parts.values())
        verdict = Verdict(rng.random() < 0.5, "", Reason.MATCH)
        scored.append(combine(rollout, verdict, Exploration(value, parts, tokens), ALPHA, RewardRecipe(clamp=1e9)))
    return scored


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "gammas",
    [{}, {"length": 1.0}, {"length": 0.9}, {"repetition": 0.99}, {"length": 1.0, "repetition": 0.99, "novelty": 0.9}],
)
def test_summed_token_rewards_add_up_to_the_total(gammas: dict[str, float], seed: int) -> None:
    composite = explorer(**gammas)
    scored = scores(composite, seed)
    streams = SummedRewards(composite, 1.0).build(rollouts(), scored)
    totals = torch.tensor([score.total for score in scored])
    torch.testing.assert_close(streams.rewards_SBR.sum((0, 2)), totals)
    assert streams.gammas == tuple(dict.fromkeys([1.0, *gammas.values()]))
    assert streams.shares is None


def test_one_discount_is_one_stream_paid_at_the_last_token() -> None:
    composite = explorer(length=1.0, novelty=1.0)
    scored = scores(composite)
    streams = SummedRewards(composite, 1.0).build(rollouts(), scored)
    assert streams.names == ("reward",)
    for row, (length, score) in enumerate(zip(LENGTHS, scored, strict=True)):
        paid = streams.rewards_SBR[0, row].tolist()
        assert paid[length - 1] == pytest.approx(score.total)
        assert not any(paid[: length - 1] + paid[length:])


def test_a_clamped_total_still_adds_up() -> None:
    composite = explorer(repetition=0.99)
    exploration = Exploration(-200.0, {"repetition": -100.0}, {"repetition": (-100.0,)})
    verdict = Verdict(False, "", Reason.MISMATCH)
    clamped = combine(rollouts()[0], verdict, exploration, ALPHA, RewardRecipe(clamp=10.0))
    assert clamped.total == -10
    streams = SummedRewards(composite, 1.0).build(rollouts()[:1], [clamped])
    assert streams.rewards_SBR.sum().item() == pytest.approx(-10, abs=1e-5)


def test_separate_signals_by_hand() -> None:
    composite = explorer(length=1.0, repetition=0.99)
    given = [
        Score("p", 0, Verdict(True, "", Reason.MATCH), _both(-4.0, (-0.1,)), ALPHA, 0.0),
        Score("p", 1, Verdict(False, "", Reason.MISMATCH), _both(-2.0, (0.0, 0.0, -0.1, -0.2)), ALPHA, 0.0),
    ]
    streams = SeparateSignals(composite, 1.0).build(rollouts()[:2], given)
    assert (streams.names, streams.gammas) == (("correctness", "length", "repetition"), (1.0, 1.0, 0.99))
    # length: mean −3, standard deviation 1; repetition: sums −0.1 and −0.3, standard deviation 0.1
    expected = [[[1, 0, 0, 0], [0, 0, 0, 0]], [[-1, 0, 0, 0], [0, 0, 0, 1]], [[-1, 0, 0, 0], [0, 0, -1, -2]]]
    torch.testing.assert_close(streams.rewards_SBR, torch.tensor(expected, dtype=torch.float32))
    assert streams.shares == pytest.approx((0.6, 0.2, 0.2))


def _both(length: float, repetition: tuple[float, ...]) -> Exploration:
    return Exploration(0.0, {"length": length, "repetition": sum(repetition)}, {"repetition": repetition})


def test_units_are_those_of_the_first_batch() -> None:
    composite = explorer(length=1.0)
    signals = SeparateSignals(composite, 1.0)
    first = signals.build(rollouts(), scores(composite, seed=1))
    later = signals.build(rollouts(), scores(composite, seed=1, scale=3.0))
    centre, scale = signals.units["length"]
    torch.testing.assert_close(_paid(later) * scale + centre, 3 * (_paid(first) * scale + centre))


def _paid(streams: Streams) -> Tensor:
    return streams.rewards_SBR[1].sum(1)


@pytest.mark.parametrize("scale", [0.1, 10.0])
def test_the_scale_of_an_exploration_reward_does_not_reach_the_advantages(scale: float) -> None:
    composite = explorer(length=1.0, repetition=0.99)
    plain, scaled = (
        SeparateSignals(composite, 1.0).build(rollouts(), scores(composite, scale=each)) for each in (1.0, scale)
    )
    torch.testing.assert_close(plain.rewards_SBR, scaled.rewards_SBR)


def test_without_spread_the_unit_is_one() -> None:
    composite = explorer(length=1.0)
    same = [
        Score("p", sample, Verdict(True, "", Reason.MATCH), Exploration(-2.0, {"length": -1.0}), ALPHA, 0.0)
        for sample in range(4)
    ]
    signals = SeparateSignals(composite, 1.0)
    assert not signals.build(rollouts(), same).rewards_SBR[1].any()
    assert signals.units == {"length": (-1.0, 1.0)}


@pytest.mark.parametrize(("mix", "expected"), [("reward", SummedRewards), ("advantage", SeparateSignals)])
def test_the_recipe_chooses(mix: str, expected: type[object]) -> None:
    recipe = RewardRecipe.model_validate({"mix": mix})
    assert isinstance(streams_for(recipe, explorer(), 1.0), expected)


def test_a_rollout_without_total_is_paid_nothing() -> None:
    composite = explorer(length=1.0)
    lost = Score("p", 0, Verdict(True, "", Reason.MATCH), Exploration(None, {}, {}, {"length": "?"}), ALPHA, None)
    for made in (SummedRewards(composite, 1.0), SeparateSignals(composite, 1.0)):
        scored = [lost, *scores(composite)[1:]]
        streams = made.build(rollouts(), scored)
        assert not streams.rewards_SBR[:, 0].any()
        assert streams.rewards_SBR[:, 1].any()


def brute_force(
    rewards: list[list[float]], values: list[list[float]], gammas: Sequence[float], lam: float
) -> list[float]:
    """A_t = Σ_k Σ_n (1−λ) λ^{n−1} (n-step advantage of stream k), its last term with the weight of the whole tail: the
    definition of GAE as a mixture of n-step advantages (Schulman et al. 2016, Eq. 16), one stream at a time."""
    length = len(rewards[0])
    advantages = [0.0] * length
    for stream, value, gamma in zip(rewards, values, gammas, strict=True):
        for t in range(length):
            steps = length - t
            for n in range(1, steps + 1):
                paid = sum(gamma**i * stream[t + i] for i in range(n))
                ahead = gamma**n * value[t + n] if t + n < length else 0.0
                weight = lam ** (n - 1) if n == steps else (1 - lam) * lam ** (n - 1)
                advantages[t] += weight * (paid + ahead - value[t])
    return advantages


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("lam", [0.0, 0.5, 0.95, 1.0])
@pytest.mark.parametrize("gammas", [(1.0,), (1.0, 0.99), (0.9, 1.0, 0.5)])
def test_multi_gamma_advantages_against_brute_force(gammas: tuple[float, ...], lam: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    shape = (len(gammas), len(LENGTHS), max(LENGTHS))
    mask_BR = torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None]
    rewards_SBR, values_SBR = (torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(2))
    rewards_SBR[:, ~mask_BR] = values_SBR[:, ~mask_BR] = float("nan")
    advantages_SBR, returns_SBR = gae_of_streams(rewards_SBR, values_SBR, mask_BR, gammas, lam)
    for row, length in enumerate(LENGTHS):
        cut = rewards_SBR[:, row, :length].tolist(), values_SBR[:, row, :length].tolist()
        expected = brute_force(*cut, gammas, lam)
        assert advantages_SBR.sum(0)[row, :length].tolist() == pytest.approx(expected, abs=1e-12)
    assert not advantages_SBR[:, ~mask_BR].any()
    torch.testing.assert_close(returns_SBR[:, mask_BR], (advantages_SBR + values_SBR)[:, mask_BR])


@pytest.mark.parametrize("seed", range(3))
def test_at_lambda_one_it_is_the_formula_of_the_paper(seed: int) -> None:
    """A_t = Σ_k Σ_{i≥t} γ_k^{i−t} r^k_i − V_t with one V, split over the streams in any way."""
    generator, gammas, length = torch.Generator().manual_seed(seed), (1.0, 0.99, 0.7), 9
    rewards_SBR, values_SBR = (torch.randn(3, 1, length, generator=generator, dtype=torch.float64) for _ in range(2))
    whole_BR = torch.ones(1, length, dtype=torch.bool)
    advantages_SBR, _ = gae_of_streams(rewards_SBR, values_SBR, whole_BR, gammas, 1.0)
    for t in range(length):
        to_go = sum(
            gamma ** (i - t) * rewards_SBR[k, 0, i].item() for k, gamma in enumerate(gammas) for i in range(t, length)
        )
        assert advantages_SBR[:, 0, t].sum().item() == pytest.approx(
            to_go - values_SBR[:, 0, t].sum().item(), abs=1e-12
        )


def test_streams_of_one_discount_are_one_stream() -> None:
    generator = torch.Generator().manual_seed(0)
    mask_BR = torch.arange(7) < torch.tensor(LENGTHS)[:, None]
    rewards_SBR, values_SBR = (torch.randn(3, 4, 7, generator=generator, dtype=torch.float64) for _ in range(2))
    advantages_SBR, _ = gae_of_streams(rewards_SBR, values_SBR, mask_BR, (0.97,) * 3, 0.9)
    together_BR, _ = gae(rewards_SBR.sum(0), values_SBR.sum(0), mask_BR, 0.97, 0.9)
    torch.testing.assert_close(advantages_SBR.sum(0), together_BR)


def test_shares_weigh_whitened_advantages_by_hand() -> None:
    mask_BR = torch.tensor([[True, True], [True, False]])
    advantages_SBR = torch.tensor([[[3.0, 0.0], [-3.0, 9.0]], [[100.0, -50.0], [-50.0, 9.0]]])
    # whitened: (1.2247, 0, −1.2247) and (1.4142, −0.7071, −0.7071)
    mixed_BR = weigh(advantages_SBR, mask_BR, (0.8, 0.2), (True, True))
    expected = [[0.8 * 1.5**0.5 + 0.2 * 2**0.5, -0.1 * 2**0.5], [-0.8 * 1.5**0.5 - 0.1 * 2**0.5, 0.0]]
    torch.testing.assert_close(mixed_BR, torch.tensor(expected))


def test_a_share_of_one_is_the_correctness_alone() -> None:
    advantages_SBR = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0))
    mask_BR = torch.ones(3, 5, dtype=torch.bool)
    torch.testing.assert_close(
        weigh(advantages_SBR, mask_BR, (1.0, 0.0), (True, True)), whiten(advantages_SBR[0], mask_BR)
    )


def test_a_stream_that_says_the_same_of_every_rollout_adds_no_noise() -> None:
    advantages_SBR = torch.stack([torch.randn(3, 5), 1e-6 * torch.randn(3, 5)])
    mask_BR = torch.ones(3, 5, dtype=torch.bool)
    mixed_BR = weigh(advantages_SBR, mask_BR, (0.5, 0.5), (True, False))
    torch.testing.assert_close(mixed_BR, 0.5 * whiten(advantages_SBR[0], mask_BR))

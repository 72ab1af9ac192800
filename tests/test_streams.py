"""Streams of token rewards: what they add up to, the multi-γ advantage against brute force, α weighing advantages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
import torch

from rlsp.config import RewardRecipe
from rlsp.exploration.composite import Composite, Weighted
from rlsp.exploration.part import Part
from rlsp.reward import combine
from rlsp.rl.advantages import gae, gae_of_streams, tax, weigh, whiten
from rlsp.rl.streams import SeparateSignals, Streams, SummedRewards, streams_for
from rlsp.types import Exploration, Finish, Reason, Rollout, Score, Verdict

ALPHA = 0.6
LENGTHS = (1, 4, 7, 3)


class Unused:
    """The parts below are written by hand."""

    floor = 0.0

    def explore(self, questions: Sequence[str], rollouts: Sequence[Rollout]) -> list[Part]:
        raise AssertionError("nothing is explored here")


def explorer(**parts: tuple[float, float]) -> Composite:
    """Parts by name: (weight, gamma)."""
    return Composite({name: Weighted(weight, gamma, Unused()) for name, (weight, gamma) in parts.items()})


def rollouts(lengths: Sequence[int] = LENGTHS) -> list[Rollout]:
    return [
        Rollout("p", sample, (5,), (7,) * length, (-1.0,) * length, "", Finish.EOS, 1.0, 0)
        for sample, length in enumerate(lengths)
    ]


def score(
    composite: Composite,
    correct: bool,
    parts: dict[str, float],
    tokens: Mapping[str, tuple[float, ...]] | None = None,
    alpha: float = ALPHA,
    clamp: float = 10.0,
) -> Score:
    """Eq. 1 of parts written by hand; a dense part's value is the sum of its tokens."""
    dense = dict(tokens or {})
    every = parts | {name: sum(each) for name, each in dense.items()}
    value = sum(part.weight * every[name] for name, part in composite.paid.items())
    verdict = Verdict(correct, "", Reason.MATCH if correct else Reason.MISMATCH)
    return combine(rollouts()[0], verdict, Exploration(value, every, dense), alpha, RewardRecipe(clamp=clamp))


def test_one_discount_is_one_stream_paid_at_the_last_token() -> None:
    composite = explorer(length=(2.0, 1.0), novelty=(0.5, 1.0))
    scored = [
        score(composite, True, {"length": -0.5, "novelty": 0.4}),
        score(composite, False, {"length": -1.0, "novelty": 0.0}),
    ]
    streams = SummedRewards(composite, 1.0, 10.0).build(rollouts((3, 2)), scored)
    assert (streams.names, streams.taxed, streams.shares) == (("reward",), 0, None)
    # 0.6 + 0.4 · (2 · −0.5 + 0.5 · 0.4) = 0.28;  0.4 · (2 · −1) = −0.8
    torch.testing.assert_close(streams.rewards_SBR, torch.tensor([[[0, 0, 0.28], [0, -0.8, 0]]]))
    assert [each.total for each in scored] == pytest.approx([0.28, -0.8])


def test_dense_parts_and_parts_with_a_discount_of_their_own_by_hand() -> None:
    composite = explorer(length=(1.0, 1.0), repetition=(3.0, 0.99), novelty=(2.0, 0.9), dense=(0.5, 1.0))
    tokens = {"repetition": (0.0, -0.1, -0.2), "dense": (-1.0, 0.0, -2.0)}
    scored = [score(composite, True, {"length": -0.5, "novelty": 0.25}, tokens)]
    streams = SummedRewards(composite, 1.0, 10.0).build(rollouts((3,)), scored)
    assert streams.names == ("reward", "reward_gamma_0.99", "reward_gamma_0.9")
    assert streams.gammas == (1.0, 0.99, 0.9)
    expected = [
        [[0.4 * 0.5 * -1.0, 0.0, 0.6 + 0.4 * -0.5 + 0.4 * 0.5 * -2.0]],
        [[0.0, 0.4 * 3 * -0.1, 0.4 * 3 * -0.2]],
        [[0.0, 0.0, 0.4 * 2 * 0.25]],
    ]
    torch.testing.assert_close(streams.rewards_SBR, torch.tensor(expected))
    assert streams.rewards_SBR.sum().item() == pytest.approx(scored[0].total)


@pytest.mark.parametrize("length", [40, 400, 4000])
def test_a_clamp_never_pays_a_loop_back_what_it_lost_on_the_way(length: int) -> None:
    """The return of every token lies below that of the same response without the penalty."""
    composite = explorer(length=(1.0, 1.0), repetition=(1.0, 0.99))
    looping = score(composite, False, {"length": -1000 / length}, {"repetition": (0.0,) + (-0.05,) * (length - 1)})
    honest = score(composite, False, {"length": -1000 / length}, {"repetition": (0.0,) * length})
    streams = SummedRewards(composite, 1.0, 10.0).build(rollouts((length, length)), [looping, honest])
    whole_BR = torch.ones(2, length, dtype=torch.bool)
    _, returns_SBR = gae_of_streams(streams.rewards_SBR, torch.zeros(2, 2, length), whole_BR, streams.gammas, 1.0)
    to_go_BR = returns_SBR.sum(0)
    assert (to_go_BR[0] < to_go_BR[1]).all()


def test_what_falls_due_at_the_end_is_clamped() -> None:
    composite = explorer(length=(1.0, 1.0), late=(1.0, 0.9))
    streams = SummedRewards(composite, 1.0, 10.0).build(
        rollouts((2,)), [score(composite, False, {"length": -1000.0, "late": 90.0}, alpha=0.0)]
    )
    torch.testing.assert_close(streams.rewards_SBR, torch.tensor([[[0.0, -10.0]], [[0.0, 10.0]]]))


def test_separate_signals_by_hand() -> None:
    composite = explorer(length=(1.0, 1.0), repetition=(3.0, 0.99))
    given = [
        score(composite, True, {"length": -4.0}, {"repetition": (-0.1,)}),
        score(composite, False, {"length": -2.0}, {"repetition": (0.0, 0.0, -0.1, -0.2)}),
    ]
    streams = SeparateSignals(composite, 1.0).build(rollouts((1, 4)), given)
    assert (streams.names, streams.gammas) == (("correctness", "kl", "length", "repetition"), (1.0, 1.0, 1.0, 0.99))
    # length: mean −3, standard deviation 1; repetition: sums −0.1 and −0.3, standard deviation 0.1
    nothing = [[0, 0, 0, 0], [0, 0, 0, 0]]
    expected = [
        [[1, 0, 0, 0], [0, 0, 0, 0]],
        nothing,
        [[-1, 0, 0, 0], [0, 0, 0, 1]],
        [[-1, 0, 0, 0], [0, 0, -1, -2]],
    ]
    torch.testing.assert_close(streams.rewards_SBR, torch.tensor(expected, dtype=torch.float32))
    assert streams.shares == pytest.approx((0.6, 0.0, 0.1, 0.3)), "α, the tax as it is, 0.4 by weights 1 and 3"
    assert streams.taxed == 1


@pytest.mark.parametrize("scale", [0.1, 10.0])
def test_the_scale_of_an_exploration_reward_does_not_reach_the_rewards(scale: float) -> None:
    composite = explorer(length=(1.0, 1.0), repetition=(1.0, 0.99))

    def build(by: float) -> Streams:
        given = [
            score(composite, True, {"length": -by * length}, {"repetition": (-by * length,)})
            for length in (3.0, 5.0, 9.0)
        ]
        return SeparateSignals(composite, 1.0).build(rollouts((1, 1, 1)), given)

    torch.testing.assert_close(build(1.0).rewards_SBR, build(scale).rewards_SBR)


def test_a_unit_is_that_of_the_first_batch_with_a_spread() -> None:
    composite = explorer(length=(1.0, 1.0))
    signals, two = SeparateSignals(composite, 1.0), rollouts((1, 1))

    def paid(*lengths: float) -> list[float]:
        given = [score(composite, True, {"length": length}) for length in lengths]
        return signals.build(two, given).rewards_SBR[2].flatten().tolist()

    lost = Score("p", 0, Verdict(True, "", Reason.MATCH), Exploration(None, {}, {}, {"length": "?"}), ALPHA, None)
    assert not signals.build(two, [lost, lost]).rewards_SBR.any()
    assert paid(-3.0, -3.0) == [0.0, 0.0], "nothing differs yet"
    assert paid(-3.0, -1.0) == [-1.0, 1.0]
    assert paid(-5.0, -2.0) == [-3.0, 0.0], "and it stays"


@pytest.mark.parametrize(("mix", "expected"), [("reward", SummedRewards), ("advantage", SeparateSignals)])
def test_the_recipe_chooses(mix: str, expected: type[object]) -> None:
    recipe = RewardRecipe.model_validate({"mix": mix})
    assert isinstance(streams_for(recipe, explorer(), 1.0), expected)


def test_a_rollout_without_total_is_paid_nothing() -> None:
    composite = explorer(length=(1.0, 1.0))
    lost = Score("p", 0, Verdict(True, "", Reason.MATCH), Exploration(None, {}, {}, {"length": "?"}), ALPHA, None)
    scored = [lost, score(composite, True, {"length": -1.0}), score(composite, True, {"length": -2.0})]
    for made in (SummedRewards(composite, 1.0, 10.0), SeparateSignals(composite, 1.0)):
        streams = made.build(rollouts((1, 2, 2)), scored)
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
    generator = torch.Generator().manual_seed(0)
    advantages_SBR = torch.randn(2, 3, 5, generator=generator) * torch.tensor([1.0, 1e-6])[:, None, None]
    mask_BR = torch.ones(3, 5, dtype=torch.bool)
    mixed_BR = weigh(advantages_SBR, mask_BR, (0.5, 0.5), (True, False))
    torch.testing.assert_close(mixed_BR, 0.5 * whiten(advantages_SBR[0], mask_BR))


def test_the_tax_is_due_in_the_unit_of_correctness() -> None:
    kl_BR, mask_BR = torch.tensor([[-0.3, -0.1]]), torch.ones(1, 2, dtype=torch.bool)
    correctness_BR = torch.tensor([[2.0, -2.0]])
    torch.testing.assert_close(tax(kl_BR, correctness_BR, mask_BR, True), torch.tensor([[-0.15, -0.05]]))
    torch.testing.assert_close(tax(kl_BR, correctness_BR, mask_BR, False), kl_BR)


def test_with_a_share_of_one_both_ways_to_mix_are_the_same_up_to_scale() -> None:
    generator = torch.Generator().manual_seed(0)
    correctness_BR, kl_BR, length_BR = torch.randn(3, 4, 6, generator=generator, dtype=torch.float64)
    mask_BR = torch.ones(4, 6, dtype=torch.bool)
    signals_SBR = torch.stack([correctness_BR, kl_BR, length_BR])
    apart_BR = weigh(signals_SBR, mask_BR, (1.0, 0.0, 0.0), (True, False, True))
    apart_BR = apart_BR + tax(kl_BR, correctness_BR, mask_BR, True)
    together_BR = correctness_BR + kl_BR
    torch.testing.assert_close(whiten(apart_BR, mask_BR), whiten(together_BR, mask_BR), rtol=1e-6, atol=1e-6)

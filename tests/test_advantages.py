"""Eq. 1, Eq. 2, GAE and whitening: against their definitions, numbers worked by hand, and known identities."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from rlsp.config import RewardRecipe
from rlsp.reward import combine
from rlsp.rl.advantages import gae, token_rewards, whiten
from rlsp.types import Exploration, Finish, Reason, Rollout, Verdict

TOLERANCE = 1e-12
SEEDS = range(5)


@dataclass(frozen=True, slots=True)
class Ragged:
    """A random batch in float64; `lengths` are those of the rows."""

    lengths: list[int]
    mask_BR: Tensor
    rewards_B: Tensor
    logprobs_BR: Tensor
    reference_logprobs_BR: Tensor
    token_rewards_BR: Tensor
    values_BR: Tensor


def ragged(seed: int, padding: float = 0.0) -> Ragged:
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, 12, (7,), generator=generator).tolist()
    lengths[0], lengths[1] = 1, 12
    mask_BR = torch.arange(12) < torch.tensor(lengths)[:, None]

    def numbers() -> Tensor:
        drawn_BR = torch.randn(7, 12, generator=generator, dtype=torch.float64)
        return torch.where(mask_BR, drawn_BR, padding)

    return Ragged(
        lengths,
        mask_BR,
        torch.randn(7, generator=generator, dtype=torch.float64),
        numbers(),
        numbers(),
        numbers(),
        numbers(),
    )


def at_end(batch: Ragged) -> Tensor:
    """Each row's reward at its last token; what stands in the padding stays."""
    last_BR = torch.zeros_like(batch.logprobs_BR)
    last_BR[torch.arange(len(batch.lengths)), torch.tensor(batch.lengths) - 1] = batch.rewards_B
    return torch.where(batch.mask_BR, last_BR, batch.logprobs_BR)


def assert_close(actual: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(actual, expected, rtol=TOLERANCE, atol=TOLERANCE)


def rollout(length: int = 3) -> Rollout:
    return Rollout("p", 0, (5,), (7,) * length, (-1.0,) * length, "", Finish.EOS, 1.0, 0)


@pytest.mark.parametrize("correct", [True, False])
@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.8, 1.0])
def test_eq1_is_its_definition(alpha: float, correct: bool) -> None:
    for exploration in (-2.5, -0.01, 0.0, 0.7):
        score = combine(
            rollout(), Verdict(correct, "", Reason.MATCH), Exploration(exploration, {}), alpha, RewardRecipe()
        )
        indicator = 1 if correct else 0
        assert score.total == pytest.approx(alpha * indicator + (1 - alpha) * exploration, abs=1e-15)


def test_eq1_by_hand_with_the_length_reward() -> None:
    # A right answer of 4000 tokens, C = 1000: 0.8 · 1 + 0.2 · (−1000/4000) = 0.8 − 0.05 = 0.75
    right = combine(rollout(), Verdict(True, "", Reason.MATCH), Exploration(-1000 / 4000, {}), 0.8, RewardRecipe())
    assert right.total == pytest.approx(0.75, abs=1e-15)
    # A wrong answer of 10 tokens: 0.2 · (−1000/10) = −20, clamped to −10
    wrong = combine(rollout(), Verdict(False, "", Reason.MISMATCH), Exploration(-1000 / 10, {}), 0.8, RewardRecipe())
    assert wrong.total == -10.0
    assert (wrong.verdict.correct, wrong.exploration.value, wrong.alpha) == (False, -100.0, 0.8)


@pytest.mark.parametrize("seed", SEEDS)
def test_eq2_is_its_definition(seed: int) -> None:
    batch, beta = ragged(seed), 0.05
    expected_BR = torch.zeros(7, 12, dtype=torch.float64)
    for row, length in enumerate(batch.lengths):
        for t in range(length):
            reward = batch.rewards_B[row].item() if t == length - 1 else 0.0
            kl = batch.logprobs_BR[row, t].item() - batch.reference_logprobs_BR[row, t].item()
            expected_BR[row, t] = reward - beta * kl
    actual_BR = token_rewards(at_end(batch), batch.logprobs_BR, batch.reference_logprobs_BR, batch.mask_BR, beta)
    assert_close(actual_BR, expected_BR)


def test_eq2_by_hand() -> None:
    mask_BR = torch.tensor([[True, True, True], [True, False, False]])
    logprobs_BR = torch.tensor([[-1.0, -2.0, -0.5], [-3.0, 9.0, 9.0]])
    reference_BR = torch.tensor([[-1.5, -1.0, -0.5], [-1.0, 7.0, 7.0]])
    paid_BR = torch.tensor([[0.0, 0.0, 0.75], [-2.0, 5.0, 5.0]])
    actual_BR = token_rewards(paid_BR, logprobs_BR, reference_BR, mask_BR, 0.1)
    # Row 0: −0.1 · (−1 + 1.5) = −0.05;  −0.1 · (−2 + 1) = +0.1;  0.75 − 0.1 · 0 = 0.75
    # Row 1: −2 − 0.1 · (−3 + 1) = −1.8, then padding
    torch.testing.assert_close(actual_BR, torch.tensor([[-0.05, 0.1, 0.75], [-1.8, 0.0, 0.0]]))


def test_eq2_without_kl_pays_the_whole_reward_once() -> None:
    batch = ragged(0)
    paid_BR = token_rewards(at_end(batch), batch.logprobs_BR, batch.reference_logprobs_BR, batch.mask_BR, 0.0)
    assert_close(paid_BR.sum(1), batch.rewards_B)
    assert int(paid_BR.count_nonzero()) == len(batch.lengths)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("gamma", "lam"), [(1.0, 0.95), (0.99, 0.9), (1.0, 1.0), (1.0, 0.0), (0.5, 0.5)])
def test_gae_is_its_definition(seed: int, gamma: float, lam: float) -> None:
    batch = ragged(seed)
    rewards_BR, values_BR = batch.token_rewards_BR, batch.values_BR
    expected_BR, returns_BR = (torch.zeros(7, 12, dtype=torch.float64) for _ in range(2))
    for row, length in enumerate(batch.lengths):
        deltas = []
        for t in range(length):
            next_value = values_BR[row, t + 1].item() if t + 1 < length else 0.0
            deltas.append(rewards_BR[row, t].item() + gamma * next_value - values_BR[row, t].item())
        for t in range(length):
            advantage = sum((gamma * lam) ** k * deltas[t + k] for k in range(length - t))
            expected_BR[row, t] = advantage
            returns_BR[row, t] = advantage + values_BR[row, t].item()
    advantages_BR, actual_returns_BR = gae(rewards_BR, values_BR, batch.mask_BR, gamma, lam)
    assert_close(advantages_BR, expected_BR)
    assert_close(actual_returns_BR, returns_BR)


def test_gae_by_hand() -> None:
    rewards_BR, values_BR = torch.tensor([[0.0, -0.1, 1.0]]), torch.tensor([[0.5, 0.6, 0.4]])
    # γ = 0.5, λ = 0.5, γλ = 0.25
    # δ_2 = 1 + 0 − 0.4 = 0.6;  δ_1 = −0.1 + 0.5 · 0.4 − 0.6 = −0.5;  δ_0 = 0 + 0.5 · 0.6 − 0.5 = −0.2
    # A_2 = 0.6;  A_1 = −0.5 + 0.25 · 0.6 = −0.35;  A_0 = −0.2 + 0.25 · (−0.35) = −0.2875
    # G = A + V = 0.2125, 0.25, 1
    advantages_BR, returns_BR = gae(rewards_BR, values_BR, torch.ones(1, 3, dtype=torch.bool), 0.5, 0.5)
    torch.testing.assert_close(advantages_BR, torch.tensor([[-0.2875, -0.35, 0.6]]))
    torch.testing.assert_close(returns_BR, torch.tensor([[0.2125, 0.25, 1.0]]))


@pytest.mark.parametrize("seed", SEEDS)
def test_gae_at_its_limits(seed: int) -> None:
    """λ = 1, γ = 1: return-to-go − V (Monte Carlo). λ = 0: the one-step error δ."""
    batch = ragged(seed)
    to_go_BR = batch.token_rewards_BR.flip(1).cumsum(1).flip(1)
    monte_carlo_BR, returns_BR = gae(batch.token_rewards_BR, batch.values_BR, batch.mask_BR, 1.0, 1.0)
    assert_close(monte_carlo_BR, torch.where(batch.mask_BR, to_go_BR - batch.values_BR, 0.0))
    assert_close(returns_BR, torch.where(batch.mask_BR, to_go_BR, 0.0))
    next_values_BR = torch.nn.functional.pad(batch.values_BR[:, 1:], (0, 1))
    delta_BR = batch.token_rewards_BR + 0.9 * next_values_BR - batch.values_BR
    one_step_BR, _ = gae(batch.token_rewards_BR, batch.values_BR, batch.mask_BR, 0.9, 0.0)
    assert_close(one_step_BR, torch.where(batch.mask_BR, delta_BR, 0.0))


def test_gae_of_a_perfect_critic_is_zero() -> None:
    batch = ragged(3)
    values_BR = torch.where(batch.mask_BR, batch.token_rewards_BR.flip(1).cumsum(1).flip(1), 0.0)
    advantages_BR, _ = gae(batch.token_rewards_BR, values_BR, batch.mask_BR, 1.0, 0.95)
    assert_close(advantages_BR, torch.zeros_like(advantages_BR))


@pytest.mark.parametrize("seed", SEEDS)
def test_whitening_is_its_definition(seed: int) -> None:
    batch = ragged(seed)
    inside = [batch.values_BR[row, t].item() for row, length in enumerate(batch.lengths) for t in range(length)]
    mean = sum(inside) / len(inside)
    variance = sum((value - mean) ** 2 for value in inside) / len(inside)
    expected_BR = torch.zeros(7, 12, dtype=torch.float64)
    for row, length in enumerate(batch.lengths):
        for t in range(length):
            expected_BR[row, t] = (batch.values_BR[row, t].item() - mean) / (variance + 1e-8) ** 0.5
    assert_close(whiten(batch.values_BR, batch.mask_BR), expected_BR)


def test_whitening_by_hand() -> None:
    mask_BR = torch.tensor([[True, True], [True, False]])
    # Mean of 1, 2, 6 is 3; variance (4 + 1 + 9)/3 = 14/3; standard deviation 2.160247
    whitened_BR = whiten(torch.tensor([[1.0, 2.0], [6.0, 100.0]]), mask_BR)
    torch.testing.assert_close(whitened_BR, torch.tensor([[-2.0, -1.0], [3.0, 0.0]]) / 2.160247)


def test_whitening_is_layer_norm_over_the_tokens() -> None:
    batch = ragged(4)
    inside_N = batch.values_BR[batch.mask_BR]
    normed_N = torch.nn.functional.layer_norm(inside_N, inside_N.shape, eps=1e-8)
    assert_close(whiten(batch.values_BR, batch.mask_BR)[batch.mask_BR], normed_N)


@pytest.mark.filterwarnings("ignore:var")
def test_whitening_survives_one_token_equal_tokens_and_none() -> None:
    one_BR = torch.tensor([[True, False]])
    assert whiten(torch.tensor([[3.0, 1.0]]), one_BR).tolist() == [[0.0, 0.0]]
    equal_BR = whiten(torch.full((2, 2), 0.25), torch.ones(2, 2, dtype=torch.bool))
    assert equal_BR.tolist() == [[0.0, 0.0], [0.0, 0.0]]
    assert whiten(torch.tensor([[3.0, 1.0]]), torch.zeros(1, 2, dtype=torch.bool)).tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize("padding", [float("nan"), float("inf"), 1e30])
def test_padding_does_not_matter(padding: float) -> None:
    clean, dirty = ragged(1), ragged(1, padding)
    assert dirty.logprobs_BR.isfinite().logical_not().any() or padding == 1e30
    for batch in (clean, dirty):
        before = [each.clone() for each in (batch.logprobs_BR, batch.token_rewards_BR, batch.values_BR)]
        rewards_BR = token_rewards(at_end(batch), batch.logprobs_BR, batch.reference_logprobs_BR, batch.mask_BR, 0.1)
        advantages_BR, returns_BR = gae(batch.token_rewards_BR, batch.values_BR, batch.mask_BR, 0.99, 0.95)
        outputs = (rewards_BR, advantages_BR, returns_BR, whiten(batch.values_BR, batch.mask_BR))
        if batch is clean:
            expected = outputs
        for actual, wanted in zip(outputs, expected, strict=True):
            assert torch.equal(actual, wanted)
            assert not actual[~batch.mask_BR].any()
        after = (batch.logprobs_BR, batch.token_rewards_BR, batch.values_BR)
        for old, new in zip(before, after, strict=True):
            assert torch.equal(old.nan_to_num(7.0), new.nan_to_num(7.0)), "an input was changed in place"

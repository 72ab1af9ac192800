"""PPO's losses and the KL estimators: against their definitions, numbers worked by hand, and torch's own functions."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
from torch import Tensor
from torch.distributions import Categorical, kl_divergence

from rlsp.rl.losses import clip_count, kl_k1, kl_k2, kl_k3, policy_loss, value_loss

TOLERANCE = 1e-12
SEEDS = range(5)
Loss = Callable[[Tensor, Tensor, Tensor, Tensor, float, float], Tensor]


class Inputs(NamedTuple):
    """(new, old, third, mask): log-probs and advantages for the policy, values and returns for the critic."""

    new_BR: Tensor
    old_BR: Tensor
    third_BR: Tensor
    mask_BR: Tensor


def ragged(seed: int, padding: float = 0.0) -> Inputs:
    """Random float64 numbers of ragged rows; new and old lie close enough that some are clipped and some are not."""
    generator = torch.Generator().manual_seed(seed)
    lengths_B = torch.randint(1, 10, (6,), generator=generator)
    mask_BR = torch.arange(10) < lengths_B[:, None]
    old_BR = torch.randn(6, 10, generator=generator, dtype=torch.float64)
    new_BR = old_BR + 0.3 * torch.randn(6, 10, generator=generator, dtype=torch.float64)
    third_BR = torch.randn(6, 10, generator=generator, dtype=torch.float64)
    return Inputs._make([*(torch.where(mask_BR, each, padding) for each in (new_BR, old_BR, third_BR)), mask_BR])


def slow_policy_loss(inputs: Inputs, clip: float, denominator: float) -> float:
    total = 0.0
    for row, t in inputs.mask_BR.nonzero().tolist():
        ratio = math.exp(inputs.new_BR[row, t].item() - inputs.old_BR[row, t].item())
        advantage = inputs.third_BR[row, t].item()
        total += min(ratio * advantage, max(1 - clip, min(1 + clip, ratio)) * advantage)
    return -total / denominator


def slow_value_loss(inputs: Inputs, clip: float, denominator: float) -> float:
    total = 0.0
    for row, t in inputs.mask_BR.nonzero().tolist():
        new, old, target = (each[row, t].item() for each in inputs[:3])
        clipped = max(old - clip, min(old + clip, new))
        total += max((new - target) ** 2, (clipped - target) ** 2)
    return 0.5 * total / denominator


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("clip", [0.2, 0.01, 0.9])
def test_losses_are_their_definitions(seed: int, clip: float) -> None:
    inputs = ragged(seed)
    assert policy_loss(*inputs, clip, 13.0).item() == pytest.approx(slow_policy_loss(inputs, clip, 13.0), abs=TOLERANCE)
    assert value_loss(*inputs, clip, 13.0).item() == pytest.approx(slow_value_loss(inputs, clip, 13.0), abs=TOLERANCE)
    outside = sum(
        abs(math.exp(inputs.new_BR[row, t].item() - inputs.old_BR[row, t].item()) - 1) > clip
        for row, t in inputs.mask_BR.nonzero().tolist()
    )
    assert clip_count(inputs.new_BR, inputs.old_BR, inputs.mask_BR, clip).item() == outside


def test_policy_loss_by_hand() -> None:
    ratios_N = torch.tensor([1.5, 1.5, 0.5, 0.5, 1.1])
    advantages_N = torch.tensor([2.0, -2.0, 2.0, -2.0, 1.0])
    logprobs_N = ratios_N.log().requires_grad_()
    # clip 0.2: min(3, 2.4) = 2.4;  min(−3, −2.4) = −3;  min(1, 1.6) = 1;  min(−1, −1.6) = −1.6;  1.1
    # −(2.4 − 3 + 1 − 1.6 + 1.1) / 4 = 0.1 / 4 = 0.025
    loss = policy_loss(logprobs_N, torch.zeros(5), advantages_N, torch.ones(5, dtype=torch.bool), 0.2, 4)
    assert loss.item() == pytest.approx(0.025, abs=1e-6)
    # dloss/dlogp = −ρA/4 where the unclipped term is the smaller one, else 0
    loss.backward()
    torch.testing.assert_close(logprobs_N.grad, torch.tensor([0.0, 0.75, -0.25, 0.0, -0.275]))
    assert clip_count(ratios_N.log(), torch.zeros(5), torch.ones(5, dtype=torch.bool), 0.2).item() == 4


def test_value_loss_by_hand() -> None:
    values_N = torch.tensor([1.0, 0.1, 0.1]).requires_grad_()
    old_N, returns_N = torch.tensor([0.0, 0.0, 0.0]), torch.tensor([2.0, 2.0, -1.0])
    # clip 0.2: max((1−2)², (0.2−2)²) = 3.24, clipped;  max((0.1−2)², the same) = 3.61;  max((0.1+1)², the same) = 1.21
    # ½ · (3.24 + 3.61 + 1.21) / 2 = 2.015
    loss = value_loss(values_N, old_N, returns_N, torch.ones(3, dtype=torch.bool), 0.2, 2)
    assert loss.item() == pytest.approx(2.015, abs=1e-6)
    # dloss/dV = (V − G)/2, and 0 where the clipped term is the larger one
    loss.backward()
    torch.testing.assert_close(values_N.grad, torch.tensor([0.0, -0.95, 0.55]))


@pytest.mark.parametrize("seed", SEEDS)
def test_losses_of_an_unmoved_model(seed: int) -> None:
    """At ρ = 1 the policy loss is −ΣA/D with gradient −A/D; with a value clip that never binds the value loss is
    half of torch's mean squared error."""
    inputs = ragged(seed)
    logprobs_BR = inputs.old_BR.clone().requires_grad_()
    loss = policy_loss(logprobs_BR, inputs.old_BR, inputs.third_BR, inputs.mask_BR, 0.2, 7.0)
    advantages_BR = torch.where(inputs.mask_BR, inputs.third_BR, 0.0)
    assert loss.item() == pytest.approx(-advantages_BR.sum().item() / 7, abs=TOLERANCE)
    loss.backward()
    torch.testing.assert_close(logprobs_BR.grad, -advantages_BR / 7)
    inside = [each[inputs.mask_BR] for each in inputs[:3]]
    half_mse = 0.5 * torch.nn.functional.mse_loss(inside[0], inside[2])
    actual = value_loss(*inputs, 1e6, float(len(inside[0])))
    torch.testing.assert_close(actual, half_mse, rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize("loss", [policy_loss, value_loss])
def test_gradients_are_those_of_finite_differences(loss: Loss) -> None:
    inputs = ragged(2)

    def function(new_BR: Tensor) -> Tensor:
        return loss(new_BR, inputs.old_BR, inputs.third_BR, inputs.mask_BR, 0.2, 11.0)

    assert torch.autograd.gradcheck(function, inputs.new_BR.clone().requires_grad_())


@pytest.mark.parametrize("loss", [policy_loss, value_loss])
@pytest.mark.parametrize("padding", [float("nan"), float("inf"), 1e30])
def test_padding_does_not_matter(loss: Loss, padding: float) -> None:
    results = []
    for inputs in (ragged(1), ragged(1, padding)):
        new_BR = inputs.new_BR.clone().requires_grad_()
        value = loss(new_BR, *inputs[1:], 0.2, 9.0)
        value.backward()
        assert new_BR.grad is not None and not new_BR.grad[~inputs.mask_BR].any()
        results.append((value, new_BR.grad, clip_count(*inputs[:2], inputs.mask_BR, 0.2)))
    for clean, dirty in zip(*results, strict=True):
        assert torch.equal(clean, dirty)


@pytest.mark.parametrize("loss", [policy_loss, value_loss])
def test_pieces_add_up_to_the_whole(loss: Loss) -> None:
    inputs = ragged(3)
    whole = loss(*inputs, 0.2, 17.0)
    pieces = [loss(*Inputs._make(each[rows] for each in inputs), 0.2, 17.0) for rows in torch.arange(6).split(1)]
    torch.testing.assert_close(sum(pieces), whole, rtol=TOLERANCE, atol=TOLERANCE)


@pytest.mark.parametrize("seed", SEEDS)
def test_kl_estimators_are_their_definitions(seed: int) -> None:
    inputs = ragged(seed)
    for row, t in inputs.mask_BR.nonzero().tolist():
        new, reference = inputs.new_BR[row, t], inputs.old_BR[row, t]
        difference = new.item() - reference.item()
        assert kl_k1(new, reference).item() == pytest.approx(difference, abs=TOLERANCE)
        assert kl_k2(new, reference).item() == pytest.approx(difference**2 / 2, abs=TOLERANCE)
        assert kl_k3(new, reference).item() == pytest.approx(math.exp(-difference) - 1 + difference, abs=TOLERANCE)


def test_kl_estimators_by_hand() -> None:
    logprob, reference = torch.tensor(math.log(0.5)), torch.tensor(math.log(0.25))
    # log(0.5/0.25) = 0.693147;  ½ · 0.693147² = 0.240227;  0.25/0.5 − 1 + 0.693147 = 0.193147
    assert kl_k1(logprob, reference).item() == pytest.approx(0.693147, abs=1e-6)
    assert kl_k2(logprob, reference).item() == pytest.approx(0.240227, abs=1e-6)
    assert kl_k3(logprob, reference).item() == pytest.approx(0.193147, abs=1e-6)
    # Where the policy is less sure than the reference, k1 is negative and k3 is not.
    assert kl_k1(reference, logprob).item() == pytest.approx(-0.693147, abs=1e-6)
    assert kl_k3(reference, logprob).item() == pytest.approx(1 - 0.693147, abs=1e-6)


@pytest.mark.parametrize("seed", SEEDS)
def test_k1_and_k3_are_unbiased(seed: int) -> None:
    """Their expectation over a whole vocabulary is torch's KL(π‖π_ref), not KL(π_ref‖π); k2's is not."""
    generator = torch.Generator().manual_seed(seed)
    policy, reference = (
        Categorical(logits=1.5 * torch.randn(9, generator=generator, dtype=torch.float64)) for _ in range(2)
    )
    truth = kl_divergence(policy, reference)
    for estimator in (kl_k1, kl_k3):
        expectation = (policy.probs * estimator(policy.logits, reference.logits)).sum()
        torch.testing.assert_close(expectation, truth, rtol=1e-10, atol=1e-10)
    assert (truth - kl_divergence(reference, policy)).abs() > 1e-3
    assert ((policy.probs * kl_k2(policy.logits, reference.logits)).sum() - truth).abs() > 1e-3


def test_k2_and_k3_agree_with_k1_for_close_policies() -> None:
    """All three are ½E[(log π/π_ref)²] to second order."""
    generator = torch.Generator().manual_seed(0)
    logits_V = torch.randn(9, generator=generator, dtype=torch.float64)
    nudge_V = 1e-4 * torch.randn(9, generator=generator, dtype=torch.float64)
    policy, reference = Categorical(logits=logits_V), Categorical(logits=logits_V + nudge_V)
    truth = kl_divergence(policy, reference).item()
    for estimator in (kl_k2, kl_k3):
        expectation = (policy.probs * estimator(policy.logits, reference.logits)).sum().item()
        assert expectation == pytest.approx(truth, rel=1e-3)


def test_k2_and_k3_are_never_negative() -> None:
    logprobs_N = -5 * torch.rand(1000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for estimator in (kl_k2, kl_k3):
        assert estimator(logprobs_N, logprobs_N.flip(0)).min() >= 0

"""Our advantages and losses against verl's own functions on the same tensors: `make test-peers`, in an environment of
its own. Where the two differ, the test says by what."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from torch import Tensor
from verl.trainer.ppo import core_algos as verl

from rlsp.rl.advantages import gae, returns_to_go, token_rewards, whiten
from rlsp.rl.groups import COMPARISONS
from rlsp.rl.losses import denominator, kl_k1, kl_k2, kl_k3, kl_loss, policy_loss, token_weights

SEEDS = range(5)
ROWS, WIDTH = 12, 9
BUDGET = 50


class Tensors:
    """Ragged float64 rows, in groups of four; old and new log-probs close enough that some ratios are clipped."""

    def __init__(self, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        lengths_B = torch.randint(1, WIDTH + 1, (ROWS,), generator=generator)
        self.mask_BR = torch.arange(WIDTH) < lengths_B[:, None]
        self.groups_B = torch.arange(ROWS) // 4

        def numbers(scale: float = 1.0) -> Tensor:
            drawn = scale * torch.randn(ROWS, WIDTH, generator=generator, dtype=torch.float64)
            return torch.where(self.mask_BR, drawn, 0.0)

        self.old_BR = numbers() - 2
        self.new_BR = self.old_BR + numbers(0.3)
        self.reference_BR = self.old_BR + numbers(0.5)
        self.rewards_BR, self.advantages_BR, self.values_BR = numbers(), numbers(), numbers()


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", COMPARISONS)
def test_group_advantages(name: str, seed: int) -> None:
    given = Tensors(seed)
    mask = given.mask_BR.double()
    index = np.array([str(group) for group in given.groups_B.tolist()])
    if name == "leave_one_out":
        theirs_BR, _ = verl.compute_rloo_outcome_advantage(given.rewards_BR.clone(), mask, index)
    else:
        theirs_BR, _ = verl.compute_grpo_outcome_advantage(
            given.rewards_BR.clone(), mask, index, norm_adv_by_std_in_grpo=name == "group_z_score"
        )
    ours_B = COMPARISONS[name](given.rewards_BR.sum(1), given.groups_B, torch.ones(ROWS, dtype=torch.bool))
    torch.testing.assert_close(ours_B[:, None] * mask, theirs_BR, rtol=1e-10, atol=1e-10)


def test_a_group_of_one_is_where_we_differ() -> None:
    """verl keeps its reward as the advantage; there is nothing to compare, so that ours is 0."""
    one = torch.ones(1, 1)
    theirs, _ = verl.compute_grpo_outcome_advantage(5 * one, one, np.array(["a"]), norm_adv_by_std_in_grpo=False)
    ours = COMPARISONS["group_centred"](torch.tensor([5.0]), torch.tensor([0]), torch.tensor([True]))
    assert (theirs.item(), ours.item()) == (5, 0)


@pytest.mark.parametrize("seed", SEEDS)
def test_reinforce_plus_plus(seed: int) -> None:
    """verl whitens by the unbiased variance of N tokens, we by the other: a factor of √((N−1)/N)."""
    given = Tensors(seed)
    mask, tokens = given.mask_BR.double(), int(given.mask_BR.sum())
    taxed_BR = token_rewards(given.rewards_BR, given.old_BR, given.reference_BR, given.mask_BR, 0.05)
    theirs_BR, theirs_returns_BR = verl.compute_reinforce_plus_plus_outcome_advantage(
        given.rewards_BR - 0.05 * verl.kl_penalty(given.old_BR, given.reference_BR, "kl") * mask,
        mask,
        config=OmegaConf.create({"gamma": 1.0}),
    )
    returns_BR = returns_to_go(taxed_BR[None], given.mask_BR)[0]
    torch.testing.assert_close(returns_BR, theirs_returns_BR, rtol=1e-10, atol=1e-10)
    ours_BR = whiten(returns_BR, given.mask_BR) * ((tokens - 1) / tokens) ** 0.5
    torch.testing.assert_close(ours_BR, theirs_BR, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("seed", SEEDS)
def test_gae(seed: int) -> None:
    given = Tensors(seed)
    tokens = int(given.mask_BR.sum())
    theirs_BR, theirs_returns_BR = verl.compute_gae_advantage_return(
        given.rewards_BR, given.values_BR, given.mask_BR.double(), gamma=0.99, lam=0.95
    )
    ours_BR, returns_BR = gae(given.rewards_BR, given.values_BR, given.mask_BR, 0.99, 0.95)
    torch.testing.assert_close(returns_BR[given.mask_BR], theirs_returns_BR[given.mask_BR], rtol=1e-10, atol=1e-10)
    whitened_BR = whiten(ours_BR, given.mask_BR) * ((tokens - 1) / tokens) ** 0.5
    torch.testing.assert_close(whitened_BR[given.mask_BR], theirs_BR[given.mask_BR], rtol=1e-6, atol=1e-6)


AGGREGATIONS = {
    "token_mean": ("token-mean", None),
    "sequence_mean": ("seq-mean-token-mean", None),
    "sequence_sum": ("seq-mean-token-sum", None),
    "budget": ("seq-mean-token-sum-norm", BUDGET),
}


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("aggregation", AGGREGATIONS)
@pytest.mark.parametrize("clip_high", [0.2, 0.28])
def test_policy_loss_and_its_gradient(aggregation: str, seed: int, clip_high: float) -> None:
    """verl's loss is the dual-clip one; its third clip is set out of reach here."""
    given, (mode, factor) = Tensors(seed), AGGREGATIONS[aggregation]
    mask = given.mask_BR.double()
    ours_new_BR, theirs_new_BR = (given.new_BR.clone().requires_grad_() for _ in range(2))
    config = OmegaConf.create(
        {
            "clip_ratio": 0.2,
            "clip_ratio_low": 0.2,
            "clip_ratio_high": clip_high,
            "clip_ratio_c": 1e9,
            "global_batch_info": {"loss_scale_factor": factor},
        }
    )
    theirs, metrics = verl.compute_policy_loss_vanilla(
        given.old_BR, theirs_new_BR, given.advantages_BR, mask, mode, config
    )
    weights_BR = token_weights(given.mask_BR, aggregation)  # type: ignore[arg-type]
    divisor = denominator(given.mask_BR, aggregation, BUDGET)  # type: ignore[arg-type]
    ours = policy_loss(ours_new_BR, given.old_BR, given.advantages_BR, weights_BR, 0.2, divisor, clip_high)
    assert metrics["actor/pg_clipfrac"] > 0
    torch.testing.assert_close(ours, theirs, rtol=1e-7, atol=1e-10)
    ours.backward()
    theirs.backward()
    torch.testing.assert_close(ours_new_BR.grad, theirs_new_BR.grad, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("aggregation", AGGREGATIONS)
def test_kl_loss_and_its_gradient(aggregation: str, seed: int) -> None:
    given, (mode, factor) = Tensors(seed), AGGREGATIONS[aggregation]
    ours_new_BR, theirs_new_BR = (given.new_BR.clone().requires_grad_() for _ in range(2))
    estimates_BR = verl.kl_penalty(theirs_new_BR, given.reference_BR, "low_var_kl")
    theirs = verl.agg_loss(estimates_BR, given.mask_BR.double(), mode, loss_scale_factor=factor)
    weights_BR = token_weights(given.mask_BR, aggregation)  # type: ignore[arg-type]
    ours = kl_loss(
        ours_new_BR,
        given.reference_BR,
        weights_BR,
        denominator(given.mask_BR, aggregation, BUDGET),  # type: ignore[arg-type]
    )
    torch.testing.assert_close(ours, theirs, rtol=1e-7, atol=1e-10)
    ours.backward()
    theirs.backward()
    torch.testing.assert_close(ours_new_BR.grad, theirs_new_BR.grad, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize(("name", "estimator"), [("k1", kl_k1), ("k2", kl_k2), ("k3", kl_k3)])
def test_kl_estimators(name: str, estimator: object) -> None:
    given = Tensors(0)
    assert callable(estimator)
    torch.testing.assert_close(
        estimator(given.new_BR, given.reference_BR), verl.kl_penalty(given.new_BR, given.reference_BR, name)
    )

"""Critic-free advantages: against slow loops, numbers worked by hand, and with NaN where nothing is counted."""

from __future__ import annotations

import statistics
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from rlsp.rl.advantages import returns_to_go, whiten
from rlsp.rl.groups import COMPARISONS, EPSILON, centred, leave_one_out, settled, weigh_groups, z_score

EVERYONE = torch.ones(8, dtype=torch.bool)
GROUPS = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2])


def slow(name: str, totals: list[float], groups: list[int], counted: list[bool]) -> list[float]:
    """One rollout at a time, from the definitions."""
    found = []
    for i, total in enumerate(totals):
        siblings = [j for j in range(len(totals)) if groups[j] == groups[i] and counted[j]]
        rewards = [totals[j] for j in siblings]
        if not counted[i] or len(set(rewards)) < 2:
            found.append(0.0)
        elif name == "group_z_score":
            found.append((total - statistics.fmean(rewards)) / (statistics.stdev(rewards) + EPSILON))
        elif name == "group_centred":
            found.append(total - statistics.fmean(rewards))
        else:
            found.append(total - statistics.fmean(totals[j] for j in siblings if j != i))
    return found


@pytest.mark.parametrize("name", COMPARISONS)
@pytest.mark.parametrize("seed", range(5))
def test_advantages_are_their_definitions(name: str, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    totals_B = torch.randn(20, generator=generator, dtype=torch.float64)
    groups_B = torch.randint(0, 6, (20,), generator=generator)
    counted_B = torch.rand(20, generator=generator) < 0.8
    totals_B[groups_B == 0] = 0.1
    expected = slow(name, totals_B.tolist(), groups_B.tolist(), counted_B.tolist())
    actual = COMPARISONS[name](torch.where(counted_B, totals_B, float("nan")), groups_B, counted_B)
    assert actual.tolist() == pytest.approx(expected, abs=1e-12)
    assert any(expected) and not all(expected)


@pytest.mark.parametrize(
    ("compare", "expected"),
    [
        # group 0: 1, 0, 0 has mean 1/3, standard deviation √(1/3) = 0.57735; group 1: 2, −2; group 2: all 5
        (centred, [2 / 3, -1 / 3, -1 / 3, 2, -2, 0, 0, 0]),
        (z_score, [1.154698, -0.577349, -0.577349, 0.707107, -0.707107, 0, 0, 0]),
        (leave_one_out, [1, -0.5, -0.5, 4, -4, 0, 0, 0]),
    ],
)
def test_advantages_by_hand(compare: Callable[[Tensor, Tensor, Tensor], Tensor], expected: list[float]) -> None:
    totals_B = torch.tensor([1.0, 0, 0, 2, -2, 5, 5, 5])
    assert compare(totals_B, GROUPS, EVERYONE).tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("name", COMPARISONS)
@pytest.mark.parametrize("total", [0.0, 0.1, 1 / 3, -7.7])
@pytest.mark.parametrize("size", [1, 2, 3, 7])
def test_a_group_without_a_difference_is_exactly_zero(name: str, total: float, size: int) -> None:
    """Also where the mean of equal numbers is rounded, and for a group of one."""
    totals_B, counted_B = torch.full((size,), total), torch.ones(size, dtype=torch.bool)
    assert COMPARISONS[name](totals_B, torch.zeros(size, dtype=torch.long), counted_B).tolist() == [0.0] * size


@pytest.mark.parametrize("name", COMPARISONS)
def test_rollouts_that_are_not_counted_do_not_matter(name: str) -> None:
    totals_B = torch.tensor([1.0, 0, 0, 2, -2, 5, 5, 5])
    kept_B = torch.tensor([1, 1, 0, 1, 1, 0, 0, 1], dtype=torch.bool)
    clean, dirty = (
        COMPARISONS[name](torch.where(kept_B, totals_B, other), GROUPS, kept_B) for other in (0.0, float("nan"))
    )
    assert torch.equal(clean, dirty)
    assert not clean[~kept_B].any() and clean[7] == 0
    assert clean[0] == -clean[1] != 0


def test_settled_by_hand() -> None:
    totals_B = torch.tensor([1.0, 0, 0, 2, -2, 5, 5, 5])
    assert settled(totals_B, GROUPS, EVERYONE).tolist() == [False] * 5 + [True] * 3
    assert settled(totals_B, GROUPS, torch.tensor([0, 1, 1, 1, 0, 1, 1, 1]).bool()).all()


@pytest.mark.parametrize("scale", [0.01, 1.0, 100.0])
def test_shares_weigh_streams_whatever_their_scales(scale: float) -> None:
    right_B = centred(torch.tensor([1.0, 0, 0, 1, 0, 1, 1, 1]), GROUPS, EVERYONE)
    effort_B = centred(torch.tensor([3.0, 1, 2, 5, 9, 1, 2, 6]), GROUPS, EVERYONE)
    nothing_B = torch.zeros(8)
    mixed_B = weigh_groups(torch.stack([right_B, nothing_B, scale * effort_B]), EVERYONE, (0.8, 0.0, 0.2), 1)
    units = [(each[each != 0] ** 2).mean().sqrt() for each in (right_B, effort_B)]
    torch.testing.assert_close(mixed_B, 0.8 * right_B / units[0] + 0.2 * effort_B / units[1])


def test_the_tax_is_due_in_the_unit_of_correctness() -> None:
    right_B, tax_B = torch.tensor([2.0, -2.0]), torch.tensor([-0.3, 0.3])
    both = torch.ones(2, dtype=torch.bool)
    mixed_B = weigh_groups(torch.stack([right_B, tax_B]), both, (1.0, 0.0), 1)
    assert mixed_B.tolist() == pytest.approx([1 - 0.15, -1 + 0.15])
    alone_B = weigh_groups(torch.stack([torch.zeros(2), tax_B]), both, (1.0, 0.0), 1)
    assert alone_B.tolist() == pytest.approx([-0.3, 0.3])


def test_returns_to_go_by_hand() -> None:
    mask_BR = torch.tensor([[True, True, True], [True, False, False]])
    rewards_SBR = torch.tensor([[[-0.1, -0.2, 1.0], [2.0, float("nan"), 9.0]]])
    expected = torch.tensor([[[0.7, 0.8, 1.0], [2.0, 0.0, 0.0]]])
    torch.testing.assert_close(returns_to_go(rewards_SBR, mask_BR), expected)
    # whitened over the four tokens: mean 1.125, variance (0.180625 + 0.105625 + 0.015625 + 0.765625)/4 = 0.266875
    whitened = [(each - 1.125) / 0.266875**0.5 for each in (0.7, 0.8, 1.0, 2.0)]
    assert whiten(expected[0], mask_BR)[mask_BR].tolist() == pytest.approx(whitened, abs=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_returns_to_go_are_their_definition(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    lengths_B = torch.randint(1, 9, (5,), generator=generator)
    mask_BR = torch.arange(9) < lengths_B[:, None]
    rewards_SBR = torch.randn(2, 5, 9, generator=generator, dtype=torch.float64).masked_fill(~mask_BR, float("nan"))
    actual_SBR = returns_to_go(rewards_SBR, mask_BR)
    for stream in range(2):
        for row, length in enumerate(lengths_B.tolist()):
            rewards = rewards_SBR[stream, row, :length].tolist()
            expected = [sum(rewards[t:]) for t in range(length)] + [0.0] * (9 - length)
            assert actual_SBR[stream, row].tolist() == pytest.approx(expected, abs=1e-12)

"""The rollouts of one problem in a call: siblings."""

from __future__ import annotations

from collections.abc import Sequence

from rlsp.types import Rollout


def solve_rates(rollouts: Sequence[Rollout], correct: Sequence[bool]) -> list[tuple[float, int]]:
    """For each rollout (the share of its problem's rollouts that are right, how many these are)."""
    rates = [(0.0, 0)] * len(rollouts)
    for group in siblings(rollouts):
        rate = sum(correct[each] for each in group) / len(group)
        for each in group:
            rates[each] = (rate, len(group))
    return rates


def siblings(rollouts: Sequence[Rollout]) -> list[list[int]]:
    """The positions of each problem's rollouts, every position once."""
    groups: dict[str, list[int]] = {}
    for position, rollout in enumerate(rollouts):
        groups.setdefault(rollout.problem_id, []).append(position)
    return list(groups.values())

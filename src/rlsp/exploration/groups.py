"""The rollouts of one problem in a call: siblings."""

from __future__ import annotations

from collections.abc import Sequence

from rlsp.types import Rollout


def siblings(rollouts: Sequence[Rollout]) -> list[list[int]]:
    """The positions of each problem's rollouts, every position once."""
    groups: dict[str, list[int]] = {}
    for position, rollout in enumerate(rollouts):
        groups.setdefault(rollout.problem_id, []).append(position)
    return list(groups.values())

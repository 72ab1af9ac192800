"""Splits that are disjoint by problem: where a problem goes depends on what it is, never on when it was drawn."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from enum import StrEnum
from random import Random

from rlsp.errors import InputError
from rlsp.types import Problem


class Split(StrEnum):
    """`train` feeds pretraining, demonstrations and RL; `selection` chooses; `test` reports."""

    TRAIN = "train"
    SELECTION = "selection"
    TEST = "test"


def split_of(problem_id: str) -> Split:
    """80 % train, 10 % selection, 10 % test, by a hash of the problem's identity."""
    bucket = int.from_bytes(hashlib.sha256(problem_id.encode()).digest()[:8]) % 10
    return {8: Split.SELECTION, 9: Split.TEST}.get(bucket, Split.TRAIN)


def draw(
    make: Callable[[Random, int], Problem], levels: Sequence[int], split: Split, count: int, seed: int
) -> list[Problem]:
    """`count` distinct problems of one split, levels in turn.

    Raises:
        InputError: the levels do not hold that many different problems.
    """
    rng = Random(f"{split}:{seed}")
    problems: dict[str, Problem] = {}
    misses = 0
    while len(problems) < count:
        problem = make(rng, levels[len(problems) % len(levels)])
        if split_of(problem.id) is split and problem.id not in problems:
            problems[problem.id] = problem
            misses = 0
        elif (misses := misses + 1) > 20_000:
            raise InputError(
                f"only {len(problems)} different {split} problems at levels {list(levels)}, {count} were asked for: "
                "ask for fewer or add levels"
            )
    return list(problems.values())

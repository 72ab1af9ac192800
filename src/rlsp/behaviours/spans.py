"""Behaviours and where a response shows them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Behaviour(StrEnum):
    """verification: recomputes an earlier quantity, or checks a stated value against the problem. backtracking: leaves
    a line of reasoning, or returns to an earlier state, to take another one. self-correction: replaces something stated
    before. alternative: a second derivation by another way. subgoal: an intermediate target, announced. backward
    chaining: from the goal back to what must hold for it. repetition: what was said before, again."""

    VERIFICATION = "verification"
    BACKTRACKING = "backtracking"
    SELF_CORRECTION = "self-correction"
    ALTERNATIVE = "alternative"
    SUBGOAL = "subgoal"
    BACKWARD_CHAINING = "backward chaining"
    REPETITION = "repetition"


@dataclass(frozen=True, slots=True)
class Span:
    """The response's characters from `start` to `end` show the behaviour."""

    behaviour: Behaviour
    start: int
    end: int


def counts(spans: Sequence[Span], behaviours: Sequence[Behaviour]) -> dict[str, int]:
    """How many spans each of the behaviours has."""
    found = Counter(span.behaviour for span in spans)
    return {str(behaviour): found[behaviour] for behaviour in behaviours}

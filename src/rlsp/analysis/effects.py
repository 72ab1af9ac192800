"""What a behaviour was worth, as it is stored and shown."""

from __future__ import annotations

from dataclasses import dataclass

from rlsp.behaviours.spans import Behaviour
from rlsp.evaluation.benchmark import Estimate


@dataclass(frozen=True, slots=True)
class Effect:
    """Accuracy of what is sampled after the behaviour (`kept`) and of what is sampled from before it and does not begin
    with it again (`dropped`), as means over `responses`; their paired difference with its interval over problems.
    `again`: how much of what is sampled from before the behaviour begins with it, and is left out."""

    behaviour: Behaviour
    responses: int
    kept: float
    dropped: float
    difference: Estimate
    again: float

"""What a behaviour was worth, as it is stored and shown."""

from __future__ import annotations

from dataclasses import dataclass

from rlsp.behaviours.spans import Behaviour
from rlsp.evaluation.benchmark import Estimate


@dataclass(frozen=True, slots=True)
class Effect:
    """Accuracy of what is sampled on after the behaviour (`after`) and of what is sampled from before it and does
    something else there (`instead`: another line, the same one again, the end), as means over `responses`; their paired
    difference, with its interval over problems. `instead_of`: how many continuations did something else; `again`: the
    share that did the same again, and is left out."""

    behaviour: Behaviour
    responses: int
    instead_of: int
    after: float
    instead: float
    difference: Estimate
    again: float

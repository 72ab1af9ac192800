"""Verdicts that come out of workers: how long each took, and what could not be judged because its worker, not the
answer, came to an end."""

from __future__ import annotations

from dataclasses import dataclass

from rlsp.types import Reason, Verdict
from rlsp.verifiers.pool import Outcome

_REASONS = {
    "timeout": Reason.TIMEOUT,
    "crashed": Reason.CRASHED,
    "out of memory": Reason.OUT_OF_MEMORY,
    "error": Reason.CRASHED,
}


@dataclass(frozen=True, slots=True)
class Timed:
    """A verdict and the wall time that its worker took, in seconds; None where no worker was asked."""

    verdict: Verdict
    seconds: float | None


def unjudged(outcome: Outcome, answer: str, reference: str) -> Verdict:
    """The verdict on an item whose outcome is not `done`; an `error` is what the judge raised on it.

    Raises:
        ValueError: the item was judged.
    """
    if outcome.status == "done":
        raise ValueError("an item that was judged has a verdict of its own")
    return Verdict(False, answer, _REASONS[outcome.status], reference, outcome.detail)

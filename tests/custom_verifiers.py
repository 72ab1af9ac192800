"""Verifiers that a user might write, for test_custom_verifier; imported by workers."""

from __future__ import annotations

import os
import time
from typing import Any

from rlsp.types import Problem, Reason, Verdict

NOT_A_FUNCTION = 3


def equal(problem: Problem, response: str) -> bool:
    return response.split()[-1:] == [problem.answer]


def graded(problem: Problem, response: str) -> Verdict:
    correct = len(response) <= problem.grading["budget"]
    return Verdict(correct, str(len(response)), Reason.MATCH if correct else Reason.MISMATCH, detail="length")


def elsewhere(problem: Problem, response: str) -> bool:
    """Whether it runs in another process than `response` names."""
    return os.getpid() != int(response)


def faulty(problem: Problem, response: str) -> bool:
    return bool(problem.grading[response])


def numeric(problem: Problem, response: str) -> Any:
    return 1.0


def absent(problem: Problem, response: str) -> Any:
    return None


def unreadable(problem: Problem, response: str) -> Any:
    return Verdict(True, problem, Reason.MATCH)  # type: ignore[arg-type]


def moody(problem: Problem, response: str) -> bool:
    """Sleeps, dies, eats memory or answers, as the response says."""
    if response == "sleep":
        time.sleep(60)
    if response == "die":
        os._exit(0)
    if response == "eat":
        return bool(bytearray(1 << 40))
    return True

"""Responses written in steps that a machine can check: the task replays them, every step must be true."""

from __future__ import annotations

from rlsp.tasks import replayer
from rlsp.types import Problem, Verdict


def verify(problem: Problem, response: str) -> Verdict:
    replay = replayer(problem.task)
    if replay is None:
        raise ValueError(f"task {problem.task!r} has no steps to replay")
    outcome = replay(problem, response)
    return Verdict(outcome.correct, outcome.answer, outcome.reason)

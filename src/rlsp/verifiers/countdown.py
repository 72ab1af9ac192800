"""Countdown's answer: an expression that the response names, else the steps of its last attempt."""

from __future__ import annotations

from rlsp.tasks.countdown import judge_expression
from rlsp.types import Problem, Reason, Verdict
from rlsp.verifiers import steps
from rlsp.verifiers.extraction import extract


def verify(problem: Problem, response: str) -> Verdict:
    named = extract(response)
    if not named:
        return steps.verify(problem, response)
    answer, reason = judge_expression(problem, named.replace(r"\times", "*").replace(r"\cdot", "*"))
    return Verdict(reason is Reason.MATCH, answer, reason)

"""Verifiers that say the same of everything: what alarms must notice."""

from __future__ import annotations

from rlsp.types import Problem


def right(problem: Problem, response: str) -> bool:
    return True


def wrong(problem: Problem, response: str) -> bool:
    return False

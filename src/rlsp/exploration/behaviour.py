"""Grounded behaviours at a price each: R_ex = Σ price · count, cut to ±1. The counts come from executing the response,
on tasks whose steps a machine can check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rlsp.behaviours.grounded import count
from rlsp.exploration.part import Part
from rlsp.tasks import replayer
from rlsp.types import Problem, Rollout


@dataclass(frozen=True, slots=True)
class BehaviourReward:
    """`prices` by names of `Behaviours`; `task` says how a response is executed.

    It knows what the question tells, and no answer. On a task whose question says what would solve it, that is enough
    to know a right line from a wrong one.
    """

    task: str
    prices: Mapping[str, float]

    def __post_init__(self) -> None:
        if replayer(self.task) is None:
            raise ValueError(f"no machine can check the steps of task {self.task!r}")

    @property
    def floor(self) -> float:
        return -1.0 if min(self.prices.values()) < 0 else 0.0

    def explore(self, questions: Sequence[str], rollouts: Sequence[Rollout]) -> list[Part]:
        values: dict[tuple[str, str], float] = {}  # samples of one prompt are often the same text
        parts = []
        for question, rollout in zip(questions, rollouts, strict=True):
            asked = (question, rollout.text)
            if asked not in values:
                values[asked] = self._value(question, rollout.text)
            parts.append(Part(values[asked]))
        return parts

    def _value(self, question: str, text: str) -> float:
        replay = replayer(self.task)
        assert replay is not None
        behaviours = count(replay(Problem("", self.task, question, answer=""), text))
        paid = sum(price * getattr(behaviours, name) for name, price in self.prices.items())
        return max(-1.0, min(1.0, paid))

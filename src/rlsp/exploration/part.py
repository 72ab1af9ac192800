"""What one exploration reward says, and the two kinds there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from rlsp.types import Rollout


@dataclass(frozen=True, slots=True)
class Part:
    """One exploration reward of one rollout, before its weight. `tokens`, of a dense reward, is one number a response
    token, and `value` their sum. `value` is None when it could not be had; `missing` then says why."""

    value: float | None
    tokens: tuple[float, ...] = ()
    missing: str = ""


class Explorer(Protocol):
    """A judge of effort: it gets questions and responses, never an answer or a verdict. `floor` is the lowest it can
    give: what running into the response budget earns under `reward.truncation = "floor"`."""

    @property
    def floor(self) -> float: ...

    def explore(self, questions: Sequence[str], rollouts: Sequence[Rollout]) -> list[Part]:
        """One part a rollout, in order; `questions[i]` is what `rollouts[i]` answers. The rollouts of one problem
        in the call are siblings."""
        ...


@runtime_checkable
class OutcomeExplorer(Protocol):
    """The named exception: rewards that fit the effort to the difficulty, and so see what was right."""

    @property
    def floor(self) -> float: ...

    def explore_outcomes(
        self, questions: Sequence[str], rollouts: Sequence[Rollout], correct: Sequence[bool]
    ) -> list[Part]: ...

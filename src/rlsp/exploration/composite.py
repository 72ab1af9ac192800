"""R_ex from its parts: Σ weight × part, each part kept under its name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from rlsp.exploration.part import Explorer, OutcomeExplorer, Part
from rlsp.types import Exploration, Rollout


@dataclass(frozen=True, slots=True)
class Weighted:
    """A part of R_ex: its weight (0: a metric), the discount of its stream of rewards, and what computes it."""

    weight: float
    gamma: float
    explorer: Explorer | OutcomeExplorer


@dataclass(frozen=True, slots=True)
class Composite:
    """The exploration reward of a recipe. Without parts it is 0: outcome-only RL."""

    parts: Mapping[str, Weighted]

    @property
    def paid(self) -> dict[str, Weighted]:
        """The parts that are more than metrics."""
        return {name: part for name, part in self.parts.items() if part.weight > 0}

    def explore(
        self, questions: Sequence[str], rollouts: Sequence[Rollout], correct: Sequence[bool]
    ) -> list[Exploration]:
        """R_ex of every rollout. `correct` reaches the outcome-aware parts alone."""
        columns = {name: ask(part.explorer, questions, rollouts, correct) for name, part in self.parts.items()}
        return [self.combined({name: column[row] for name, column in columns.items()}) for row in range(len(rollouts))]

    def floored(self, exploration: Exploration) -> Exploration:
        """What a truncated response earns when running into the budget must never pay: the floor of every part but the
        dense ones, which stand on their tokens."""
        floors = {name: part.explorer.floor for name, part in self.paid.items() if name not in exploration.tokens}
        parts = exploration.parts | floors
        missing = {name: why for name, why in exploration.missing.items() if name not in floors}
        return replace(exploration, value=self._value(parts), parts=parts, missing=missing)

    def combined(self, row: Mapping[str, Part]) -> Exploration:
        """R_ex of one rollout from its parts, each under its name."""
        parts = {name: part.value for name, part in row.items() if part.value is not None}
        return Exploration(
            value=self._value(parts),
            parts=parts,
            tokens={name: part.tokens for name, part in row.items() if part.tokens},
            missing={name: part.missing for name, part in row.items() if part.value is None},
        )

    def _value(self, parts: Mapping[str, float]) -> float | None:
        paid = self.paid
        return None if paid.keys() - parts.keys() else sum(paid[name].weight * parts[name] for name in paid)


def ask(
    explorer: Explorer | OutcomeExplorer,
    questions: Sequence[str],
    rollouts: Sequence[Rollout],
    correct: Sequence[bool],
) -> list[Part]:
    """One part of every rollout; `correct` reaches it if it is outcome-aware."""
    if isinstance(explorer, OutcomeExplorer):
        return explorer.explore_outcomes(questions, rollouts, correct)
    return explorer.explore(questions, rollouts)

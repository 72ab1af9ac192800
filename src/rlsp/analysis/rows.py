"""What an analysis says, row by row, for whoever shows it: one figure a model, the base's first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from rlsp.analysis.analyze import Account, Analysis
from rlsp.analysis.novelty import STEPS, WORDS, Novelty
from rlsp.evaluation.benchmark import Estimate, Row

Kind = Literal["share", "length", "correlation"]


@dataclass(frozen=True, slots=True)
class Line:
    """`values` are None where the responses can't tell; one of them at least is known."""

    label: str
    kind: Kind
    values: list[Estimate | None]


def time_lines(analysis: Analysis) -> list[Line]:
    """Accuracy, and what it costs."""
    last = analysis.accounts[-1]
    unit, n = last.ledger.unit, last.figures.samples
    accuracy = "accuracy" if n == 1 else f"accuracy (avg@{n})"

    def line(label: str, kind: Kind, value: Callable[[Account], Estimate | None]) -> Line:
        return Line(label, kind, [value(each) for each in analysis.accounts])

    def of_level(level: int, length: Callable[[Row], Estimate | None]) -> Callable[[Account], Estimate | None]:
        return lambda each: length(each.figures.by_level[level]) if level in each.figures.by_level else None

    lines = [
        line(accuracy, "share", lambda each: each.figures.overall.accuracy),
        *(
            line(f"pass@{k}", "share", lambda each, k=k: each.figures.pass_at.get(k))  # type: ignore[misc]
            for k in last.figures.pass_at
        ),
        line(f"{unit} a response", "length", lambda each: each.figures.overall.length),
        line("  when right", "length", lambda each: each.figures.overall.length_right),
        line("  when wrong", "length", lambda each: each.figures.overall.length_wrong),
        line(f"{unit} for each right response", "length", lambda each: each.ledger.per_solved),
        line("right: beyond the shortest right", "share", lambda each: each.ledger.beyond_shortest),
        line("wrong: below the shortest right", "share", lambda each: each.ledger.stopped_short),
        line(f"ρ of length and {analysis.difficulty}", "correlation", lambda each: each.ledger.with_difficulty),
    ]
    for level in last.figures.by_level:
        lines.append(line(f"level {level}: when right", "length", of_level(level, lambda row: row.length_right)))
        lines.append(line(f"level {level}: when wrong", "length", of_level(level, lambda row: row.length_wrong)))
    return _known(lines)


def novelty_lines(analysis: Analysis) -> list[Line]:
    """Shares of runs that are nowhere in some texts."""

    def line(label: str, novelty: Callable[[Account], Novelty | None]) -> Line:
        found = [novelty(each) for each in analysis.accounts]
        return Line(label, "share", [each.share if each else None for each in found])

    lines = [
        line(f"not in the base's other responses: {WORDS} words", lambda each: each.novelty.words_to_base),
        line(f"not in the base's other responses: {STEPS} steps", lambda each: each.novelty.steps_to_base),
        line(f"not in demonstrations: {WORDS} words", lambda each: each.novelty.words_to_demonstrations),
        line(f"not in demonstrations: {STEPS} steps", lambda each: each.novelty.steps_to_demonstrations),
        Line(
            "responses close to a demonstration",
            "share",
            [None if (of := each.novelty.variants) is None else Estimate(of, None) for each in analysis.accounts],
        ),
    ]
    return _known(lines)


def _known(lines: list[Line]) -> list[Line]:
    return [line for line in lines if any(value is not None for value in line.values)]

"""How the trained model reasons, beside its base: the page's tables and charts from the run's stored analysis."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from rlsp.analysis import stored
from rlsp.analysis.analyze import Account
from rlsp.analysis.rates import Rate, Shift
from rlsp.analysis.rows import Line, accounts, novelty_lines, time_lines
from rlsp.behaviours.detectors import MEANING
from rlsp.evaluation.benchmark import Estimate
from rlsp.report import wording
from rlsp.report.figures import Chart, heat
from rlsp.runs import Run

TIME = (
    "What thinking costs and buys. Beyond the shortest right: the share of what right responses hold beyond the "
    "shortest right response to their problem, whichever model's. Below it: the share of wrong responses that stopped "
    "before its length. ρ: rank correlation."
)
NOVELTY = (
    "Share of a response's runs of words, and of kinds of steps, that are nowhere in … († to other problems). The "
    "base's own column says how new responses are to one another anyway; only what exceeds it is new."
)


@dataclass(frozen=True, slots=True)
class Cell:
    """A figure and the range below it, "" without one; `clear`: a difference that is not chance alone."""

    value: str
    range: str = ""
    clear: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    title: str
    note: str
    columns: list[str]
    rows: list[tuple[str, list[Cell]]]


@dataclass(frozen=True, slots=True)
class Reasoning:
    tables: list[Table]
    charts: list[Chart]


def read(run: Run, evaluations: Collection[str]) -> Reasoning | None:
    """None for a run that was not analysed, or before it was trained further than what was."""
    found = stored.read(run)
    if found is None or found.trained != next((name for name in stored.TRAINED if name in evaluations), None):
        return None
    columns = accounts(found.analysis)
    names = [each.name for each in columns]
    tables = [_behaviours(MEANING[detector], each, names) for detector, each in found.analysis.behaviours.items()]
    if found.effects:
        tables.append(_effects(found))
    tables.append(_lines("Thinking time", TIME, time_lines(found.analysis), names))
    tables.append(_lines("Is it new?", NOVELTY, novelty_lines(found.analysis), names))
    return Reasoning([table for table in tables if table.rows], _ledgers(columns))


def _behaviours(meaning: str, behaviours: Mapping[str, Rate] | Mapping[str, Shift], names: Sequence[str]) -> Table:
    rows = []
    for name, each in behaviours.items():
        if isinstance(each, Shift):
            cells = [_share(each.first.share), _share(each.second.share), _points(each.difference)]
        else:
            cells = [_share(each.share)]
        rows.append((name, cells))
    columns = [*names, "difference, points"] if len(names) > 1 else list(names)
    note = (
        f"Share of responses that show it, {meaning}. A dot: the paired 95% interval of the difference excludes 0; "
        "intervals are not corrected for looking at several behaviours."
    )
    return Table("Behaviours", note, columns, rows)


def _effects(found: stored.RunAnalysis) -> Table:
    rows = [
        (
            str(effect.behaviour),
            [
                Cell(f"{effect.responses} / {effect.instead_of}"),
                Cell(wording.percent(effect.after)),
                Cell(wording.percent(effect.instead)),
                _points(effect.difference),
                Cell(wording.percent(effect.again)),
            ],
        )
        for effect in found.effects
    ]
    note = (
        "Responses were cut at a place that shows the behaviour and sampled on from both sides of the cut: after it, "
        "and from before it, where what does it again is left out (so many remain 'without'). What else the model does "
        "there may be to repeat a line or to stop. A dot: the interval of the difference excludes 0."
    )
    columns = ["responses / without", "right after it", "right without", "difference, points", "did it again"]
    return Table("Does it help?", note, columns, rows)


def _lines(title: str, note: str, lines: Sequence[Line], columns: Sequence[str]) -> Table:
    written = {"share": _share, "length": _count, "correlation": _number}
    rows = [(line.label, [written[line.kind](value) for value in line.values]) for line in lines]
    return Table(title, note, list(columns), rows)


def _ledgers(columns: Sequence[Account]) -> list[Chart]:
    """One heat map a model: length by level and outcome."""
    charts = []
    cells = [row for each in columns for row in each.figures.by_level.values()]
    most = max((mean.value for row in cells for mean in (row.length_right, row.length_wrong) if mean), default=1.0)
    for number, each in enumerate(columns):
        levels = each.figures.by_level
        if levels:
            names = [f"level {level}" for level in levels]
            rows = {
                "right": [row.length_right.value if row.length_right else None for row in levels.values()],
                "wrong": [row.length_wrong.value if row.length_wrong else None for row in levels.values()],
            }
            caption = f"Mean {each.ledger.unit} of right and of wrong responses. Look for time where it is needed."
            charts.append(heat(f"ledger-{number}", f"Where the time goes: {each.name}", caption, names, rows, most))
    return charts


_NONE = Cell(wording.NONE)


def _share(estimate: Estimate | None) -> Cell:
    if estimate is None:
        return _NONE
    return Cell(
        wording.percent(estimate.value), wording.percent_interval(estimate.interval) if estimate.interval else ""
    )


def _points(estimate: Estimate) -> Cell:
    if estimate.interval is None:
        return Cell(wording.points(estimate.value))
    low, high = estimate.interval
    return Cell(wording.points(estimate.value), wording.points_interval(estimate.interval), low > 0 or high < 0)


def _count(estimate: Estimate | None) -> Cell:
    if estimate is None:
        return _NONE
    ends = "–".join(wording.count(end) for end in estimate.interval) if estimate.interval else ""
    return Cell(wording.count(estimate.value), ends)


def _number(estimate: Estimate | None) -> Cell:
    if estimate is None:
        return _NONE
    ends = " to ".join(f"{end:+.2f}" for end in estimate.interval) if estimate.interval else ""
    return Cell(f"{estimate.value:+.2f}", ends)

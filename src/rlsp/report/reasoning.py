"""How the trained model reasons, beside its base: the page's tables and charts from the run's stored analysis."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rlsp.analysis import stored
from rlsp.analysis.analyze import Account
from rlsp.analysis.novelty import STEPS, WORDS, Novelty
from rlsp.analysis.rates import Shift
from rlsp.behaviours.detectors import MEANING
from rlsp.evaluation.benchmark import Estimate
from rlsp.report import wording
from rlsp.report.figures import Chart, heat
from rlsp.runs import Run


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


def read(run: Run) -> Reasoning | None:
    """None for a run that was not analysed."""
    found = stored.read(run)
    if found is None:
        return None
    model, base = found.analysis.model, found.analysis.base
    accounts = [base, model] if base else [model]
    names = [each.name for each in accounts]
    tables = [_behaviours(MEANING[detector], each, names) for detector, each in found.analysis.behaviours.items()]
    if found.effects:
        tables.append(_effects(found))
    tables += [_time(accounts), _novelty(accounts)]
    return Reasoning([table for table in tables if table.rows], _ledgers(accounts))


def _behaviours(meaning: str, behaviours: object, names: Sequence[str]) -> Table:
    assert isinstance(behaviours, dict)
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
                Cell(str(effect.responses)),
                Cell(wording.percent(effect.kept)),
                Cell(wording.percent(effect.dropped)),
                _points(effect.difference),
                Cell(wording.percent(effect.again)),
            ],
        )
        for effect in found.effects
    ]
    note = (
        "Responses were cut at a place that shows the behaviour and sampled on from both sides of the cut: after it, "
        "and from before it without doing it. The difference in accuracy is what it was worth there."
    )
    columns = ["responses", "right after it", "right in its place", "difference, points", "did it again"]
    return Table("Does it help?", note, columns, rows)


def _time(accounts: Sequence[Account]) -> Table:
    unit, ledgers = accounts[0].ledger.unit, [each.ledger for each in accounts]
    lines: list[tuple[str, list[Cell]]] = [
        ("accuracy", [_share(each.figures.overall.accuracy) for each in accounts]),
        (f"{unit} a response", [_count(each.figures.overall.length) for each in accounts]),
        (f"{unit} for each right response", [_count(each.per_solved) for each in ledgers]),
        ("right: spent beyond the shortest right one", [_share(each.beyond_shortest) for each in ledgers]),
        ("wrong: shorter than the shortest right one", [_share(each.stopped_short) for each in ledgers]),
    ]
    if ledgers[0].difficulty:
        correlations = [_number(each.with_difficulty) for each in ledgers]
        lines.append((f"rank correlation of length with {ledgers[0].difficulty}", correlations))
    note = "What thinking costs and buys. The shortest right response to a problem is that of either model."
    return Table("Thinking time", note, [each.name for each in accounts], _known(lines))


def _novelty(accounts: Sequence[Account]) -> Table:
    def row(novelty: Callable[[Account], Novelty | None]) -> list[Cell]:
        return [_share(found.share) if (found := novelty(each)) else _NONE for each in accounts]

    lines = [
        (f"the base's responses to other problems: {WORDS} words", row(lambda each: each.novelty.words_to_base)),
        (f"the base's responses to other problems: {STEPS} steps", row(lambda each: each.novelty.steps_to_base)),
        (f"the demonstrations: {WORDS} words", row(lambda each: each.novelty.words_to_demonstrations)),
        (f"the demonstrations: {STEPS} steps", row(lambda each: each.novelty.steps_to_demonstrations)),
    ]
    note = (
        "Share of a response's runs of words, and of kinds of steps, that are nowhere in … The base's own column says "
        "how new responses are to one another anyway; only what exceeds it is new."
    )
    return Table("Is it new?", note, [each.name for each in accounts], _known(lines))


def _ledgers(accounts: Sequence[Account]) -> list[Chart]:
    """One heat map a model: length by level and outcome."""
    charts = []
    cells = [row for each in accounts for row in each.figures.by_level.values()]
    most = max((mean.value for row in cells for mean in (row.length_right, row.length_wrong) if mean), default=1.0)
    for number, each in enumerate(accounts):
        levels = each.figures.by_level
        if levels:
            columns = [f"level {level}" for level in levels]
            rows = {
                "right": [row.length_right.value if row.length_right else None for row in levels.values()],
                "wrong": [row.length_wrong.value if row.length_wrong else None for row in levels.values()],
            }
            caption = f"Mean {each.ledger.unit} of right and of wrong responses. Look for time where it is needed."
            charts.append(heat(f"ledger-{number}", f"Where the time goes: {each.name}", caption, columns, rows, most))
    return charts


_NONE = Cell(wording.NONE)


def _known(lines: Sequence[tuple[str, list[Cell]]]) -> list[tuple[str, list[Cell]]]:
    return [(name, cells) for name, cells in lines if any(cell is not _NONE for cell in cells)]


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

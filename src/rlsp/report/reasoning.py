"""How the trained model reasons, beside its base: the page's tables and charts from the run's stored analysis."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from rlsp.analysis import stored
from rlsp.analysis.analyze import Account, Analysis
from rlsp.analysis.attempts import Attempts
from rlsp.analysis.effects import Effect
from rlsp.analysis.novelty import STEPS, WORDS
from rlsp.analysis.rates import Shown
from rlsp.analysis.rows import Line, novelty_lines, time_lines
from rlsp.behaviours.detectors import DEFINITIONS, MEANING, Detector
from rlsp.evaluation.benchmark import Estimate
from rlsp.report import wording
from rlsp.report.figures import Chart, heat, pass_at_k
from rlsp.runs import Run

TIME = (
    "What thinking costs and buys. Beyond the shortest right: the share of what right responses hold beyond the "
    "shortest right response to their problem, whichever model's. Below it: the share of wrong responses that stopped "
    "before its length. ρ: rank correlation."
)
STEP_KINDS = {
    Detector.GROUNDED: "which operation, a line's end, a check's verdict",
    Detector.LEXICAL: "which behaviour a sentence shows, if any",
}


@dataclass(frozen=True, slots=True)
class Cell:
    """A figure and the range below it, "" without one; `clear`: a difference that is not chance alone."""

    value: str
    range: str = ""
    clear: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """`words` explains the rows' names, below it."""

    title: str
    note: str
    columns: list[str]
    rows: list[tuple[str, list[Cell]]]
    words: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reasoning:
    tables: list[Table]
    charts: list[Chart]


def read(run: Run, evaluations: Collection[str]) -> Reasoning | None:
    """None for a run that was not analysed, or before it was trained further than what was."""
    found = stored.read(run)
    if found is None or found.trained != next((name for name in stored.TRAINED if name in evaluations), None):
        return None
    return of_analysis(found.analysis, found.effects, found.attempts)


def of_analysis(analysis: Analysis, effects: Sequence[Effect] = (), attempts: Sequence[Attempts] = ()) -> Reasoning:
    columns = analysis.accounts
    names = [each.name for each in columns]
    tables = [_behaviours(detector, each, names) for detector, each in analysis.behaviours.items()]
    if effects:
        tables.append(_effects(effects, names[-1]))
    tables.append(_lines("Thinking time", TIME, time_lines(analysis), names))
    tables.append(_lines("Is it new?", _novelty_note(analysis), novelty_lines(analysis), names))
    charts = _ledgers(columns)
    if attempts:
        tables.append(_attempts(attempts))
        charts.append(pass_at_k([(each.name, each.label, each.pass_at) for each in attempts]))
    return Reasoning([table for table in tables if table.rows], charts)


def _behaviours(detector: Detector, behaviours: Mapping[str, Shown], names: Sequence[str]) -> Table:
    rows = [
        (name, [*(_share(rate.share) for rate in each.rates), *(_points(change) for change in each.changes)])
        for name, each in behaviours.items()
    ]
    *before, last = names
    note = f"Share of responses that show it, {MEANING[detector]}." + (
        f" What {last} has more or less than each of the others is in points. A dot: the paired 95% interval excludes "
        "0; intervals are not corrected for looking at several behaviours."
        if before
        else ""
    )
    return Table("Behaviours", note, [*names, *(f"{last} − {each}" for each in before)], rows, DEFINITIONS[detector])


def _effects(effects: Sequence[Effect], name: str) -> Table:
    rows = [
        (
            str(effect.behaviour),
            [
                Cell(f"{effect.responses:,}"),
                Cell(wording.percent(effect.after)),
                Cell(wording.percent(effect.instead), f"of {effect.instead_of:,}"),
                _points(effect.difference),
                Cell(wording.percent(effect.again)),
            ],
        )
        for effect in effects
    ]
    note = (
        f"An experiment on {name}'s own responses. Each was cut at one place that shows the behaviour. {name} went on "
        "from behind that place, and, as another try, from before it; tries that did the same thing there once more "
        "say nothing of doing without it and are set aside. What it does instead may be to repeat a line, or to stop. "
        "A behaviour that it nearly always shows again there has nothing to be compared with and no row. A dot: the "
        "interval of the difference excludes 0."
    )
    columns = ["responses cut", "right: with it", "right: something else", "with − else, points", "same again"]
    return Table("Does it help?", note, columns, rows)


def _novelty_note(analysis: Analysis) -> str:
    kinds = "; ".join(STEP_KINDS[detector] for detector in analysis.behaviours)
    note = (
        f"Each response is read as runs of {WORDS} words, and of {STEPS} kinds of steps ({kinds}). Share of its runs "
        "that the texts named on the left hold nowhere."
    )
    if len(analysis.accounts) == 1:
        return note
    return f"{note} The first column says how much of that there is without training: more is new, less is borrowed."


def _attempts(attempts: Sequence[Attempts]) -> Table:
    *_, last = attempts
    rows = [
        (
            f"pass@{k}",
            [_share(each.pass_at[k]) for each in attempts] + ([_points(last.over_base[k])] if last.over_base else []),
        )
        for k in last.pass_at
    ]
    columns = [each.label for each in attempts] + ([f"{last.label} − {attempts[0].label}"] if last.over_base else [])
    note = (
        f"pass@k: the share of {last.problems:,} test problems that at least one of k samples solves. Ahead at large "
        "k, too: training has widened what the model can solve. Ahead at small k alone: it has made more likely what "
        "the model could do before; close to 100%, nobody can tell. A dot: the paired 95% interval excludes 0."
    )
    return Table("Wider, or only sharper?", note, columns, rows)


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

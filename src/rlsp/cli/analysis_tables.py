"""An analysis on the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rlsp.cli.progress import console
from rlsp.cli.terminal import clean, say
from rlsp.cli.verdicts import number, percent, points, titled

if TYPE_CHECKING:
    from rlsp.analysis.analyze import Analysis
    from rlsp.analysis.annotator import Annotation
    from rlsp.analysis.attempts import Attempts
    from rlsp.analysis.effects import Effect
    from rlsp.analysis.rates import Shown
    from rlsp.analysis.rows import Line
    from rlsp.evaluation.benchmark import Estimate


def print_analysis(analysis: Analysis, headings: Sequence[str] = ("base", "this")) -> None:
    """Behaviours, then what thinking costs, then what is new.

    Args:
        headings: the models' columns; the last one is that of a model alone.
    """
    from rlsp.analysis.rows import novelty_lines, time_lines
    from rlsp.behaviours.detectors import MEANING

    *before, model = analysis.accounts
    headings = headings[-len(analysis.accounts) :]
    row = model.figures.overall
    beside = ", ".join(f"{clean(each.name)} ({each.figures.overall.responses})" for each in before)
    say(f"{clean(model.name)}: {row.responses} responses to {row.problems} problems" + (
        f"; beside {beside}" if beside else ""
    ))  # fmt: skip
    console.print()
    for detector, behaviours in analysis.behaviours.items():
        _print_behaviours(f"Behaviours, {MEANING[detector]}", behaviours, headings)
    _print_lines("Thinking time, and what it buys", time_lines(analysis), headings)
    _print_lines("Novelty: share of runs of words and of kinds of steps", novelty_lines(analysis), headings)


def _print_behaviours(title: str, behaviours: Mapping[str, Shown], headings: Sequence[str]) -> None:
    *before, last = headings
    shown = titled(title)
    shown.add_column("")
    more = [f"{last} − {each}" for each in before] or ["times"]
    for heading in (*headings, *more):
        shown.add_column(heading, justify="right", no_wrap=True)
    for name, each in behaviours.items():
        changes = [_below(points(change), " *" if change.clear else "  ") for change in each.changes]
        shown.add_row(
            name, *(_below(percent(rate.share)) for rate in each.rates), *(changes or [f"{each.rates[0].count:.2f}"])
        )
    console.print(shown)
    if before:
        say("share of responses that show it, and differences in points, with 95 % intervals;")
        say("* the paired interval excludes 0, uncorrected for looking at several behaviours")
    else:
        say("share of responses that show it, with its 95 % interval; times: how often one does, on average")
    console.print()


def _print_lines(title: str, lines: Sequence[Line], headings: Sequence[str]) -> None:
    if not lines:
        return
    shown = titled(title)
    shown.add_column("")
    for heading in headings:
        shown.add_column(heading, justify="right", no_wrap=True)
    written = {"share": _share, "length": number, "correlation": _correlation}
    for line in lines:
        shown.add_row(line.label, *(_below(written[line.kind](value)) for value in line.values))
    console.print(shown)


def _below(cell: str, mark: str = "") -> str:
    """The interval under its figure."""
    value, _, ends = cell.partition(" (")
    return f"{value}{mark}\n{ends.removesuffix(')').replace(' … ', '…')}"


def print_effects(effects: Sequence[Effect]) -> None:
    """What each behaviour was worth where it was shown."""
    if not effects:
        return
    shown = titled("What a behaviour was worth: accuracy of what is sampled on after it, and without")
    for heading in ("", "n", "after it", "without", "of", "difference, points (95 %)", "again"):
        shown.add_column(heading, justify="right" if heading else "left", no_wrap=True)
    for effect in effects:
        shown.add_row(
            effect.behaviour,
            str(effect.responses),
            f"{100 * effect.after:.1f} %",
            f"{100 * effect.instead:.1f} %",
            str(effect.instead_of),
            points(effect.difference),
            f"{100 * effect.again:.0f} %",
        )
    console.print(shown)
    say("n: responses, cut at one such place; without: continuations that did something else there (of so many)")


def print_attempts(attempts: Sequence[Attempts]) -> None:
    """pass@k of each model, and what the last one has over the first."""
    if not attempts:
        return
    first, last = attempts[0], attempts[-1]
    shown = titled(f"Wider or only sharper? pass@k on {last.problems} problems (95 %)")
    headings = [each.label for each in attempts]
    if last.over_base:
        headings.append(f"{last.label} − {first.label}")
    shown.add_column("")
    for heading in headings:
        shown.add_column(heading, justify="right", no_wrap=True)
    for k in last.pass_at:
        cells = [_below(percent(each.pass_at[k])) for each in attempts]
        if last.over_base:
            cells.append(_below(points(last.over_base[k]), " *" if last.over_base[k].clear else "  "))
        shown.add_row(f"pass@{k}", *cells)
    console.print(shown)


def print_annotation(annotation: Annotation) -> None:
    """How far the annotator and the detector agree, sentence by sentence."""
    shown = titled(f"Annotator {clean(annotation.model)} beside the words, by sentence")
    for heading in ("", "both", "annotator only", "words only", "neither", "Cohen's κ (95 %)"):
        shown.add_column(heading, justify="right" if heading else "left", no_wrap=True)
    for behaviour, table in annotation.tables.items():
        kappa = "–"
        if table.kappa is not None and table.kappa_interval is not None:
            low, high = table.kappa_interval
            kappa = f"{table.kappa:.2f} ({low:.2f} … {high:.2f})"
        shown.add_row(
            behaviour,
            str(table.both_right),
            str(table.first_only),
            str(table.second_only),
            str(table.both_wrong),
            kappa,
        )
    console.print(shown)
    say(f"{annotation.sentences} sentences of {annotation.responses} responses; neither reader is the truth")
    for why, count in annotation.failed.items():
        say(f"{count} more could not be labelled: {clean(why)}")


def _share(estimate: Estimate | None) -> str:
    if estimate is None:
        return "–"
    return percent(estimate) if estimate.interval else f"{100 * estimate.value:.1f} %"


def _correlation(estimate: Estimate | None) -> str:
    if estimate is None:
        return "–"
    if estimate.interval is None:
        return f"{estimate.value:+.2f}"
    low, high = estimate.interval
    return f"{estimate.value:+.2f} ({low:+.2f} … {high:+.2f})"

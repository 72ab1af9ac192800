"""An analysis on the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rlsp.cli.progress import console
from rlsp.cli.terminal import clean, say
from rlsp.cli.verdicts import number, percent, points, titled

if TYPE_CHECKING:
    from rlsp.analysis.analyze import Account, Analysis
    from rlsp.analysis.effects import Effect
    from rlsp.analysis.rates import Rate, Shift
    from rlsp.analysis.rows import Line
    from rlsp.evaluation.benchmark import Estimate


def print_analysis(analysis: Analysis) -> None:
    """Behaviours, then what thinking costs, then what is new; the base's column comes first."""
    from rlsp.analysis.rows import novelty_lines, time_lines
    from rlsp.behaviours.detectors import MEANING

    model, base = analysis.model, analysis.base
    row = model.figures.overall
    say(f"{clean(model.name)}: {row.responses} responses to {row.problems} problems" + (
        f", against {clean(base.name)}: {base.figures.overall.responses}" if base else ""
    ))  # fmt: skip
    console.print()
    for detector, behaviours in analysis.behaviours.items():
        _print_behaviours(f"Behaviours, {MEANING[detector]}: share of responses that show it", behaviours, base)
    _print_lines("Thinking time, and what it buys", time_lines(analysis), base is not None)
    _print_lines("Novelty: runs that are nowhere in …", novelty_lines(analysis), base is not None)
    if base:
        say("† to other problems; the base's own column says how new responses are to one another anyway")


def _print_behaviours(title: str, behaviours: Mapping[str, Rate] | Mapping[str, Shift], base: Account | None) -> None:
    from rlsp.analysis.rates import Shift

    shown = titled(f"{title} (95 %)")
    for heading in ("", *(("base", "this", "difference, points") if base else ("this", "times"))):
        shown.add_column(heading, justify="right" if heading else "left", no_wrap=True)
    for name, each in behaviours.items():
        if isinstance(each, Shift):
            mark = " *" if each.clear else "  "
            shown.add_row(
                name,
                percent(each.first.share),
                percent(each.second.share),
                points(each.difference) + mark,
            )
        else:
            shown.add_row(name, percent(each.share), f"{each.count:.2f}")
    console.print(shown)
    if base:
        say("* the paired interval excludes 0; intervals are not corrected for looking at several behaviours")
    else:
        say("times: how often a response shows it, on average")
    console.print()


def _print_lines(title: str, lines: Sequence[Line], beside_base: bool) -> None:
    if not lines:
        return
    shown = titled(title)
    shown.add_column("")
    for heading in ("base", "this") if beside_base else ("this",):
        shown.add_column(heading, justify="right", no_wrap=True)
    written = {"share": _share, "length": number, "correlation": _correlation}
    for line in lines:
        shown.add_row(line.label, *(written[line.kind](value) for value in line.values))
    console.print(shown)


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

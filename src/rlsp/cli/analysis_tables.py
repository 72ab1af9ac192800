"""An analysis on the terminal; tables fit into 80 columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from rlsp.cli.progress import console
from rlsp.cli.terminal import clean, say
from rlsp.cli.verdicts import number, percent, points, titled

if TYPE_CHECKING:
    from rlsp.analysis.analyze import Account, Analysis
    from rlsp.analysis.effects import Effect
    from rlsp.analysis.novelty import Novelty
    from rlsp.analysis.rates import Rate, Shift
    from rlsp.evaluation.benchmark import Estimate


def print_analysis(analysis: Analysis) -> None:
    """Behaviours, then what thinking costs, then what is new; the base's column comes first."""
    from rlsp.behaviours.detectors import MEANING

    model, base = analysis.model, analysis.base
    row = model.figures.overall
    say(f"{clean(model.name)}: {row.responses} responses to {row.problems} problems" + (
        f", against {clean(base.name)}: {base.figures.overall.responses}" if base else ""
    ))  # fmt: skip
    console.print()
    for detector, behaviours in analysis.behaviours.items():
        _print_behaviours(f"Behaviours, {MEANING[detector]}: share of responses that show it", behaviours, base)
    accounts = [base, model] if base else [model]
    _print_rows("Thinking time, and what it buys", accounts, _time_rows(accounts))
    _print_rows("Novelty: runs that are nowhere in …", accounts, _novelty_rows(accounts))
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


def _print_rows(title: str, accounts: list[Account], rows: Mapping[str, list[str]]) -> None:
    shown = titled(title)
    shown.add_column("")
    for heading in ("base", "this") if len(accounts) > 1 else ("this",):
        shown.add_column(heading, justify="right", no_wrap=True)
    for name, cells in rows.items():
        if any(cell != "–" for cell in cells):
            shown.add_row(name, *cells)
    console.print(shown)


def _time_rows(accounts: list[Account]) -> dict[str, list[str]]:
    unit, ledgers = accounts[0].ledger.unit, [each.ledger for each in accounts]
    rows = {
        "accuracy (avg@n)": [percent(each.figures.overall.accuracy) for each in accounts],
        **{
            f"pass@{k}": [percent(each.figures.pass_at[k]) if k in each.figures.pass_at else "–" for each in accounts]
            for k in accounts[-1].figures.pass_at
        },
        f"{unit} a response": [number(each.figures.overall.length) for each in accounts],
        "  when right": [number(each.figures.overall.length_right) for each in accounts],
        "  when wrong": [number(each.figures.overall.length_wrong) for each in accounts],
        f"{unit} for each right response": [number(each.per_solved) for each in ledgers],
        "right ones: spent beyond the shortest right": [_share(each.beyond_shortest) for each in ledgers],
        "wrong ones: shorter than the shortest right": [_share(each.stopped_short) for each in ledgers],
    }
    if difficulty := ledgers[0].difficulty:
        rows[f"rank correlation of length with {difficulty}"] = [_correlation(each.with_difficulty) for each in ledgers]
    for level in accounts[-1].figures.by_level:
        at = [each.figures.by_level.get(level) for each in accounts]
        rows[f"level {level}: {unit} when right"] = [number(each.length_right) if each else "–" for each in at]
        rows[f"level {level}: {unit} when wrong"] = [number(each.length_wrong) if each else "–" for each in at]
    return rows


def _novelty_rows(accounts: list[Account]) -> dict[str, list[str]]:
    from rlsp.analysis.novelty import STEPS, WORDS

    def row(novelty: Callable[[Account], Novelty | None]) -> list[str]:
        return [percent(found.share) if (found := novelty(each)) else "–" for each in accounts]

    return {
        f"the base's responses †, {WORDS} words": row(lambda each: each.novelty.words_to_base),
        f"the base's responses †, {STEPS} steps": row(lambda each: each.novelty.steps_to_base),
        f"the demonstrations, {WORDS} words": row(lambda each: each.novelty.words_to_demonstrations),
        f"the demonstrations, {STEPS} steps": row(lambda each: each.novelty.steps_to_demonstrations),
        "responses that vary a demonstration": [
            "–" if each.novelty.variants is None else f"{100 * each.novelty.variants:.1f} %" for each in accounts
        ],
    }


def print_effects(effects: Sequence[Effect]) -> None:
    """What each behaviour was worth where it was shown."""
    if not effects:
        return
    shown = titled("What a behaviour was worth: accuracy of what is sampled on after it, and in its place")
    for heading in ("", "n", "after it", "in its place", "difference, points (95 %)", "did it again"):
        shown.add_column(heading, justify="right" if heading else "left", no_wrap=True)
    for effect in effects:
        shown.add_row(
            effect.behaviour,
            str(effect.responses),
            f"{100 * effect.kept:.1f} %",
            f"{100 * effect.dropped:.1f} %",
            points(effect.difference),
            f"{100 * effect.again:.0f} %",
        )
    console.print(shown)
    say("n: responses, cut at one such place; what did it again at once is left out of 'in its place'")


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

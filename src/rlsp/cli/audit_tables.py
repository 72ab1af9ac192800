"""An audit on the terminal. A and B are its two graders; tables fit into 80 columns, and what a model wrote is printed
without control characters and markup."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from rlsp.cli.progress import console
from rlsp.cli.terminal import head, say

if TYPE_CHECKING:
    from rlsp.evaluation import agreement
    from rlsp.evaluation.audit import Audit, Item
    from rlsp.types import Verdict
    from rlsp.verifiers.outcomes import Timed

DISAGREEMENTS_SHOWN = 10
UNJUDGED_SHOWN = 20
SLOWEST_SHOWN = 10
NAME_SHOWN = 40
ANSWER_SHOWN = 60
"""Characters of a problem's name, and of an answer with its verdict."""


def print_agreement(audit: Audit, table: agreement.Table) -> None:
    """Who the graders are, the 2 × 2 table and Cohen's κ."""
    count = len(audit.items)
    say(f"{count} responses to {len({item.problem.id for item in audit.items})} problems, graded by")
    say(f"  A  {audit.first}")
    say(f"  B  {audit.second}")
    grid = _table("", "B right", "B wrong")
    grid.add_row("A right", str(table.both_right), str(table.first_only))
    grid.add_row("A wrong", str(table.second_only), str(table.both_wrong))
    console.print(grid)
    same = table.both_right + table.both_wrong
    say(f"the same verdict on {same} of {count}, {100 * same / count:.1f} %")
    if table.kappa is None or table.kappa_interval is None:
        say("Cohen's κ is undefined: both gave every response the same verdict")
    else:
        low, high = table.kappa_interval
        say(f"Cohen's κ {table.kappa:.3f} ({low:.3f} … {high:.3f}, 95 %)")
    console.print()


def print_errors(audit: Audit, first: agreement.Errors, second: agreement.Errors, labelled: bool) -> None:
    """Both graders' error rates, and what they rest on."""
    if labelled:
        bare = sum(item.label is None for item in audit.items)
        say(f"Error rates by {len(audit.items) - bare} labels")
        if bare:
            say(f"The other {bare} are agreements, taken as right: errors that both make don't count.")
        grid = _table("", "rate", "95 %", "errors", "among", "")
    else:
        say("Error rates without labels: at most, if the other grader is right in every case.")
        say("Errors that both make don't count.")
        grid = _table("", "at most", "upper end of 95 %", "errors", "among", "")
    for letter, each in (("A", first), ("B", second)):
        grid.add_row(f"{letter} false positives", *_rate(each.false_positives, labelled), "wrong")
        grid.add_row(f"{letter} false negatives", *_rate(each.false_negatives, labelled), "right")
    console.print(grid)


def print_disagreements(audit: Audit, stored: Path | None) -> None:
    """What each grader extracted, its reason, the reference and the label, of the first few."""
    different = audit.disagreements
    if not different:
        say("no disagreements")
        return
    say(f"{len(different)} disagreements:")
    for item in different[:DISAGREEMENTS_SHOWN]:
        label = {None: "", True: ", labelled right", False: ", labelled wrong"}[item.label]
        say(f"  {_name(item)}{label}")
        say(f"    reference: {head(item.problem.answer, ANSWER_SHOWN)}")
        for letter, verdict in (("A", item.first.verdict), ("B", item.second.verdict)):
            say(f"    {letter} {head(_judgement(verdict), ANSWER_SHOWN)}")
    if (hidden := len(different) - DISAGREEMENTS_SHOWN) > 0:
        say(f"  … and {hidden} more")
    say(f"all of them: {stored}" if stored is not None else "--out FILE keeps them all, to be labelled")
    console.print()


def print_unjudged(audit: Audit) -> None:
    """What a grader gave up on, by name."""
    for letter, verdicts in (
        ("A", [item.first.verdict for item in audit.items]),
        ("B", [item.second.verdict for item in audit.items]),
    ):
        names = [
            f"{_name(item)}: {verdict.reason} ({verdict.detail})"
            for item, verdict in zip(audit.items, verdicts, strict=True)
            if verdict.reason.unjudged
        ]
        say(f"unjudged by {letter}, counted as wrong: {len(names) or 'none'}")
        for name in names[:UNJUDGED_SHOWN]:
            say(f"  {name}")
        if (hidden := len(names) - UNJUDGED_SHOWN) > 0:
            say(f"  … and {hidden} more")


def print_slowest(audit: Audit) -> None:
    """The items that took longest, in seconds; nothing where no grader was timed."""
    timed = {index: seconds for index, item in enumerate(audit.items) if (seconds := _longest(item)) is not None}
    if not timed:
        return
    console.print()
    say("The slowest, in seconds")
    grid = _table("", "A", "B")
    for index in sorted(timed, key=timed.__getitem__, reverse=True)[:SLOWEST_SHOWN]:
        item = audit.items[index]
        grid.add_row(escape(_name(item)), _seconds(item.first), _seconds(item.second))
    console.print(grid)


def _rate(rate: agreement.Rate, exact: bool) -> tuple[str, str, str, str]:
    """The share, its interval or that one's upper end, the errors, and among how many responses."""
    counts = str(rate.count), str(rate.among)
    if rate.interval is None:
        return "–", "–", *counts
    low, high = (f"{100 * end:.1f}" for end in rate.interval)
    return f"{100 * rate.count / rate.among:.1f} %", f"{low}–{high}" if exact else f"{high} %", *counts


def _judgement(verdict: Verdict) -> str:
    detail = f", {verdict.detail}" if verdict.detail else ""
    return f"{'right' if verdict.correct else 'wrong'} ({verdict.reason}{detail}): {verdict.answer or '(none)'}"


def _longest(item: Item) -> float | None:
    return max((timed.seconds for timed in (item.first, item.second) if timed.seconds is not None), default=None)


def _seconds(timed: Timed) -> str:
    if timed.seconds is None:
        return "–"
    gave_up = f"{timed.verdict.reason} " if timed.verdict.reason.unjudged else ""
    return f"{gave_up}{timed.seconds:.3f}"


def _name(item: Item) -> str:
    return f"{head(item.problem.id, NAME_SHOWN)} sample {item.sample}"


def _table(*headings: str) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for index, heading in enumerate(headings):
        table.add_column(heading, justify="right" if index else "left", no_wrap=True)
    return table

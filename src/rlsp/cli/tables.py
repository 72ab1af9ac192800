"""Results on the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from rlsp.cli.progress import console
from rlsp.evaluation.evaluate import place
from rlsp.runs import Run


def print_results(title: str, summaries: Iterable[Mapping[str, Any]]) -> None:
    """One row a summary, in the order of the method; fits into 80 columns."""
    table = Table(
        title=title,
        title_justify="left",
        caption_justify="left",
        box=SIMPLE_HEAD,
        pad_edge=False,
        collapse_padding=True,
    )
    table.caption = "Intervals: Wilson. Tokens a problem; checks and backtracks a response."
    table.add_column("")
    for heading in ("accuracy (95 %)", "tokens", "cut off", "checks", "backtracks"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in sorted(summaries, key=lambda row: place(row["name"])):
        low, high = row["interval"]
        table.add_row(
            row["label"],
            f"{100 * row['accuracy']:.1f} % ({100 * low:.1f}–{100 * high:.1f})",
            f"{row['mean_tokens']:.1f}",
            f"{100 * row['truncated']:.1f} %",
            *(f"{row['behaviours'][key]:.2f}" if key in row["behaviours"] else "–" for key in ("checks", "backtracks")),
        )
    console.print(table)


def print_differences(run: Run) -> None:
    """What each step of the method adds, with its 95 % interval; paired, but for a vote, by problem."""
    from rlsp.report.evaluations import compare, read_evaluations

    by_name = {summary.name: summary for summary in read_evaluations(run)}
    for after, before in (("sft", "base"), ("rlsp", "sft"), ("rlsp", "base"), ("rlsp", "self-consistency")):
        if after not in by_name or before not in by_name:
            continue
        base, other = by_name[before], by_name[after]
        difference = compare(run, base, other)
        low, high = difference.interval
        console.print(
            f"{other.label} − {base.label}: {100 * difference.value:+.1f} points "
            f"(95 %: {100 * low:+.1f} … {100 * high:+.1f})",
            highlight=False,
        )

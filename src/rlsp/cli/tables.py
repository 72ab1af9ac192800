"""Results on the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich.table import Table

from rlsp.cli.progress import console
from rlsp.evaluation.evaluate import place


def print_results(title: str, summaries: Iterable[Mapping[str, Any]]) -> None:
    """One row a summary, in the order of the method."""
    rows = sorted(summaries, key=lambda row: place(row["name"]))
    table = Table(title=title, title_justify="left", caption_justify="left")
    table.caption = "Intervals are 95 % (Wilson). Tokens are generated tokens a problem; the rest are means a response."
    table.add_column("")
    for heading in ("accuracy", "95 % interval", "tokens", "truncated", "checks", "backtracks", "alternatives"):
        table.add_column(heading, justify="right")
    for row in rows:
        behaviours = row["behaviours"]
        low, high = row["interval"]
        table.add_row(
            row["label"],
            f"{100 * row['accuracy']:.1f} %",
            f"{100 * low:.1f} – {100 * high:.1f}",
            f"{row['mean_tokens']:.1f}",
            f"{100 * row['truncated']:.1f} %",
            *(f"{behaviours[key]:.2f}" if behaviours else "–" for key in ("checks", "backtracks", "alternatives")),
        )
    console.print(table)

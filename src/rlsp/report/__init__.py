"""One self-contained HTML page from a run directory: what changed, how training went, what the traces look like."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rlsp.analysis.analyze import Analysis, Read
from rlsp.files import write_text
from rlsp.report import comparison, responses
from rlsp.report.page import render
from rlsp.runs import Run


def build_comparison(runs: Sequence[Run], path: Path) -> None:
    """Write the page that compares several runs.

    Raises:
        InputError: fewer than two runs, one of them no run, without evaluations or there twice, or a broken file.
    """
    write_text(path, comparison.render(runs))


def build_responses(models: Sequence[Read], analysis: Analysis, path: Path) -> None:
    """Write the page of an analysis of anyone's responses, the base's first."""
    write_text(path, responses.render(models, analysis))


def build(run: Run) -> Path:
    """Write `report.html` into the run directory and return its path. A part that the run lacks is left out.

    The page needs no network: plotly.js is inlined and a content security policy forbids every request.

    Raises:
        InputError: not a run directory, or a broken file in it.
    """
    path = run.path("report.html")
    write_text(path, render(run))
    return path

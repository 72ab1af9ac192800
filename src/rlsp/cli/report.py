"""`rlsp report`: the page of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rlsp.cli.progress import console
from rlsp.cli.tables import print_results
from rlsp.runs import Run


def report(directory: Annotated[Path, typer.Argument(help="A run directory.")]) -> None:
    """Write the run's HTML page, and print its results."""
    run = Run(directory)
    recipe = run.recipe()
    from rlsp.report import build

    path = build(run)
    print_results(f"{recipe.name}, seed {recipe.seed}", run.evaluations().values())
    console.print(f"report: {path}", soft_wrap=True)

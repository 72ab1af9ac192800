"""`rlsp report`: the page of a run, or of several beside each other."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rlsp.cli.options import ReplaceOption
from rlsp.cli.progress import console
from rlsp.cli.tables import print_results
from rlsp.errors import InputError
from rlsp.files import check_writable
from rlsp.runs import Run


def report(
    directories: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run directories.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="Where to write a comparison; one run's page goes into the run.")
    ] = None,
    overwrite: ReplaceOption = False,
) -> None:
    """Write a run's HTML page, and print its results; of several runs, one page that compares them."""
    runs = [Run(directory) for directory in directories]
    recipes = [run.recipe() for run in runs]
    from rlsp.report import build, build_comparison

    if len(runs) == 1:
        if out is not None:
            raise InputError(
                f"the page of one run is its report.html: leave out --out {out}, or compare it with others"
            )
        path = build(runs[0])
    else:
        path = out or Path("comparison.html")
        check_writable(path, overwrite, directories)
        build_comparison(runs, path)
    for run, recipe in zip(runs, recipes, strict=True):
        print_results(f"{run.name}: {recipe.name}, seed {recipe.seed}", run.evaluations().values())
    console.print(f"report: {path}", soft_wrap=True)

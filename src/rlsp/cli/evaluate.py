"""`rlsp eval`: accuracy with its interval, length and behaviours of a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rlsp.cli.options import RecipeArgument, ReplaceOption, SetOption
from rlsp.cli.progress import LiveProgress
from rlsp.cli.tables import print_results
from rlsp.config import Recipe, load
from rlsp.runs import check_writable, write_json
from rlsp.tasks.splits import Split
from rlsp.types import to_json


def evaluate(
    recipe: RecipeArgument,
    settings: SetOption = None,
    split: Annotated[Split, typer.Option(help="The split that selects is not the one that reports.")] = Split.TEST,
    out: Annotated[Path | None, typer.Option(help="Also write the summary as JSON.")] = None,
    overwrite: ReplaceOption = False,
) -> None:
    """pass@1 of the recipe's model (--set model.path=DIR) on held-out problems."""
    resolved = load(Recipe, recipe, settings or [])
    if out is not None:
        check_writable(out, overwrite)
    from rlsp.engines import stages

    policy = stages.open_policy(resolved.model.path)
    problems = stages.held_out_problems(resolved, split)
    with LiveProgress() as progress:
        evaluation = stages.evaluate(policy, problems, resolved, progress, resolved.name, resolved.model.path)
    summary = to_json(evaluation.summary)
    print_results(f"{resolved.task.name}, {split} split, {len(problems)} problems", [summary])
    if out is not None:
        write_json(out, summary)

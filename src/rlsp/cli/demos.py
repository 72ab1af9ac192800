"""`rlsp demos`: demonstrations of thinking, unrolled from search."""

from __future__ import annotations

from rlsp.cli.options import OutFile, RecipeArgument, SetOption
from rlsp.cli.progress import LiveProgress, console
from rlsp.config import Recipe, load
from rlsp.runs import write_records


def demos(recipe: RecipeArgument, out: OutFile, settings: SetOption = None) -> None:
    """Write the recipe's demonstrations as JSONL, each verified by replay."""
    resolved = load(Recipe, recipe, settings or [])
    from rlsp.engines.stages import demonstrate

    with LiveProgress() as progress:
        demonstrations = demonstrate(resolved, progress)
    write_records(out, demonstrations)
    console.print(f"{len(demonstrations)} demonstrations: {out}", soft_wrap=True)

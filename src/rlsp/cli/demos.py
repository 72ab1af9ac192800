"""`rlsp demos`: demonstrations of thinking, unrolled from search."""

from __future__ import annotations

from rlsp.cli.options import OutFile, RecipeArgument, ReplaceOption, SetOption
from rlsp.cli.progress import LiveProgress, console
from rlsp.config import Recipe, load
from rlsp.errors import InputError
from rlsp.files import check_writable, write_records


def demos(recipe: RecipeArgument, out: OutFile, settings: SetOption = None, overwrite: ReplaceOption = False) -> None:
    """Write the recipe's demonstrations as JSONL, each verified by replay."""
    resolved = load(Recipe, recipe, settings or [])
    check_writable(out, overwrite)
    from rlsp.engines.stages import demonstrate

    with LiveProgress() as progress:
        demonstrations = demonstrate(resolved, progress)
    if not demonstrations:
        raise InputError("no search succeeded: raise demonstrations.intuition or demonstrations.max_attempts")
    write_records(out, demonstrations)
    console.print(f"{len(demonstrations)} demonstrations: {out}", soft_wrap=True)

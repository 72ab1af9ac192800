"""`rlsp demos`: demonstrations of thinking, unrolled from search or taken from data."""

from __future__ import annotations

from rlsp.cli.options import OutFile, RecipeArgument, ReplaceOption, SetOption, TrustOption, judging
from rlsp.cli.progress import LiveProgress, console
from rlsp.config import Recipe, load
from rlsp.errors import InputError
from rlsp.files import check_writable, write_records


def demos(
    recipe: RecipeArgument,
    out: OutFile,
    settings: SetOption = None,
    overwrite: ReplaceOption = False,
    trust: TrustOption = False,
) -> None:
    """Write the recipe's demonstrations as JSONL: searches, or the traces of its data, that pass the verifier."""
    resolved = load(Recipe, recipe, settings or [])
    check_writable(out, overwrite)
    from rlsp.engines.drawing import demonstrate

    with LiveProgress() as progress:
        demonstrations = demonstrate(resolved, progress, judging(trusted_code=trust))
    if not demonstrations:
        raise InputError("no search succeeded: raise demonstrations.intuition or demonstrations.max_attempts")
    write_records(out, demonstrations)
    console.print(f"{len(demonstrations)} demonstrations: {out}", soft_wrap=True)

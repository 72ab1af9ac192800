"""`rlsp pretrain`: make the nano base model."""

from __future__ import annotations

from rlsp.cli.options import OutFile, RecipeArgument, ReplaceOption, SetOption
from rlsp.cli.progress import LiveProgress, console
from rlsp.config import PretrainRecipe, load
from rlsp.files import check_writable


def pretrain(
    recipe: RecipeArgument, out: OutFile, settings: SetOption = None, overwrite: ReplaceOption = False
) -> None:
    """Train a nano base model from generated text and measure the skills that search needs."""
    resolved = load(PretrainRecipe, recipe, settings or [])
    check_writable(out, overwrite, directory=True)
    from rlsp.nano.pretrain import pretrain as make

    with LiveProgress() as progress:
        measured = make(resolved, out, progress)
    console.print_json(data=measured)
    console.print(f"model: {out}", soft_wrap=True)

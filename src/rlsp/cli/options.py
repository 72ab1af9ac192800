"""Arguments that several verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

RecipeArgument = Annotated[str, typer.Argument(help="A recipe's TOML file, or the name of one that ships: nano …")]
SetOption = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a recipe's key.")]
ResumeOption = Annotated[bool, typer.Option("--resume", help="Go on with an existing run directory.")]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Delete an existing run directory first.")]
ReplaceOption = Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")]
OutFile = Annotated[Path, typer.Option("--out", help="Where to write.")]

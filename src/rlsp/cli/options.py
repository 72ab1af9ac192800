"""Arguments that several verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

RecipeArgument = Annotated[str, typer.Argument(help="A recipe's TOML file, or the name of one that ships: nano …")]
SetOption = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a recipe's key.")]
ModelOption = Annotated[str, typer.Option("--model", help="A local Hugging Face model directory, or 'nano'.")]
OutFile = Annotated[Path, typer.Option("--out", help="Where to write.")]

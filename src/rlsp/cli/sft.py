"""`rlsp sft`: fine-tune on demonstrations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from rlsp.cli.options import OutFile, RecipeArgument, ReplaceOption, SetOption
from rlsp.cli.progress import LiveProgress, console
from rlsp.config import Recipe, load
from rlsp.errors import InputError
from rlsp.files import check_writable, read_records, write_text
from rlsp.types import Demonstration


def sft(
    recipe: RecipeArgument,
    demonstrations: Annotated[Path, typer.Option(help="JSONL written by `rlsp demos`.")],
    out: OutFile,
    settings: SetOption = None,
    overwrite: ReplaceOption = False,
) -> None:
    """Fine-tune the recipe's model on demonstrations; writes a Hugging Face checkpoint and its metrics."""
    resolved = load(Recipe, recipe, settings or [])
    check_writable(out / "model", overwrite, directory=True)
    examples = list(read_records(demonstrations, Demonstration))
    if not examples:
        raise InputError(f"{demonstrations}: no demonstrations in it; write some by rlsp demos")
    from rlsp.engines import stages

    policy = stages.open_policy(resolved.model.path, resolved.sampling.engine)
    with LiveProgress() as progress:
        metrics = stages.finetune(policy, examples, resolved, progress)
    policy.save(out / "model")
    write_text(out / "metrics.jsonl", "".join(json.dumps(each) + "\n" for each in metrics))
    console.print(f"model: {out / 'model'}", soft_wrap=True)

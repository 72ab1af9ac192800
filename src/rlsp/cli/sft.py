"""`rlsp sft`: fine-tune on demonstrations."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rlsp.checkpoints import check_replaceable
from rlsp.cli.options import OutFile, RecipeArgument, SetOption
from rlsp.cli.progress import LiveProgress, console
from rlsp.config import Recipe, load
from rlsp.runs import MetricsLog, read_records
from rlsp.types import Demonstration


def sft(
    recipe: RecipeArgument,
    demonstrations: Annotated[Path, typer.Option(help="JSONL written by `rlsp demos`.")],
    out: OutFile,
    settings: SetOption = None,
) -> None:
    """Fine-tune the recipe's model on demonstrations; writes a Hugging Face checkpoint and its metrics."""
    resolved = load(Recipe, recipe, settings or [])
    check_replaceable(out / "model")
    examples = list(read_records(demonstrations, Demonstration))
    from rlsp.engines import stages

    policy = stages.open_policy(resolved.model.path)
    with LiveProgress() as progress:
        log = MetricsLog(out / "metrics.jsonl")
        log.path.unlink(missing_ok=True)
        stages.finetune(policy, examples, resolved, progress, log.write)
    policy.save(out / "model")
    console.print(f"model: {out / 'model'}", soft_wrap=True)

"""`rlsp tasks`: what can be asked."""

from __future__ import annotations

from pathlib import Path
from random import Random
from typing import Annotated

import typer

from rlsp import tasks as sources
from rlsp.cli.options import ReplaceOption
from rlsp.cli.progress import console
from rlsp.config import TaskRecipe
from rlsp.demonstrations.search import unroll
from rlsp.errors import InputError
from rlsp.runs import check_writable, write_records
from rlsp.tasks.splits import Split


def tasks(
    name: Annotated[str | None, typer.Argument(help="A generated task; without it, the list.")] = None,
    level: Annotated[int, typer.Option(min=1)] = 1,
    count: Annotated[int, typer.Option(min=1, help="How many problems.")] = 3,
    split: Annotated[Split, typer.Option()] = Split.TRAIN,
    seed: Annotated[int, typer.Option()] = 0,
    out: Annotated[Path | None, typer.Option(help="Write the problems as JSONL.")] = None,
    overwrite: ReplaceOption = False,
) -> None:
    """List the tasks, or show problems of one, each with a demonstration."""
    if name is None:
        for known, module in sources.GENERATED.items():
            first_line = (module.__doc__ or "").partition("\n")[0]
            console.print(f"[bold]{known}[/bold]  levels {', '.join(map(str, module.LEVELS))}  {first_line}")
        console.print("[bold]file[/bold]  your JSONL of {question, answer}: rlsp run RECIPE --data FILE")
        return
    if name not in sources.GENERATED:
        raise InputError(f"no generated task {name!r}; there are {', '.join(sources.GENERATED)}")
    recipe = TaskRecipe.model_validate({"name": name, "levels": (level,)})
    problems = sources.problems(recipe, split, count, seed)
    if out is not None:
        check_writable(out, overwrite)
        write_records(out, problems)
        console.print(f"{len(problems)} problems: {out}", soft_wrap=True)
        return
    for problem in problems:
        console.print(f"[bold]{problem.question}[/bold]  ({problem.id})", highlight=False)
        console.print(unroll(problem, Random(seed), 0.5, 8) or "(no demonstration)", highlight=False)

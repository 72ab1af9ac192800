"""`rlsp sample`: rollouts of a model."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from rlsp.cli.options import OutFile, RecipeArgument, ReplaceOption, SetOption
from rlsp.cli.progress import LiveProgress, console
from rlsp.config import Recipe, load
from rlsp.errors import InputError
from rlsp.files import check_writable, read_records, write_records
from rlsp.types import Problem


def sample(
    recipe: RecipeArgument,
    problems: Annotated[Path, typer.Option(help="JSONL of problems, as a run or `rlsp tasks` writes them.")],
    out: OutFile,
    samples: Annotated[int, typer.Option(min=1, help="Rollouts of each problem.")] = 1,
    settings: SetOption = None,
    overwrite: ReplaceOption = False,
) -> None:
    """Sample the recipe's model (--set model.path=DIR); rollouts carry no reward, `rlsp score` judges them."""
    resolved = load(Recipe, recipe, settings or [])
    check_writable(out, overwrite, (problems,))
    asked = list(read_records(problems, Problem))
    if not asked:
        raise InputError(f"{problems}: no problems in it; write some by rlsp tasks filter")
    [(name, count)] = Counter(problem.id for problem in asked).most_common(1)
    if count > 1:
        raise InputError(f"{problems}: problem {name!r:.80} is there {count} times; keep one, and ask for --samples")
    from rlsp.engines import stages

    policy = stages.open_policy(resolved.model.path, resolved.sampling.engine)
    with LiveProgress() as progress:
        rollouts = stages.sample(policy, asked, samples, resolved.sampling.temperature, resolved, progress, "sample")
    write_records(out, rollouts)
    console.print(f"{len(rollouts)} rollouts: {out}", soft_wrap=True)

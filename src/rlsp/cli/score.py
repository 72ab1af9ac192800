"""`rlsp score`: judge rollouts, again if you like."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rlsp.cli.options import OutFile, RecipeArgument, ReplaceOption, SetOption
from rlsp.cli.progress import console
from rlsp.config import Recipe, load
from rlsp.errors import InputError
from rlsp.exploration import explorer_for
from rlsp.reward import score as judge
from rlsp.runs import check_writable, read_records, write_records
from rlsp.types import Problem, Rollout


def score(
    recipe: RecipeArgument,
    problems: Annotated[Path, typer.Option(help="JSONL of the problems.")],
    rollouts: Annotated[Path, typer.Option(help="JSONL of their rollouts, plain or .zst.")],
    out: OutFile,
    settings: SetOption = None,
    overwrite: ReplaceOption = False,
) -> None:
    """Verdict, exploration reward and total of every rollout, under the recipe's reward."""
    resolved = load(Recipe, recipe, settings or [])
    check_writable(out, overwrite)
    asked, answered = list(read_records(problems, Problem)), list(read_records(rollouts, Rollout))
    if not answered:
        raise InputError(f"{rollouts}: no rollouts in it")
    known = {problem.id for problem in asked}
    if strangers := [rollout.problem_id for rollout in answered if rollout.problem_id not in known]:
        raise InputError(f"{rollouts}: {len(strangers)} rollouts of problems that {problems} lacks: {strangers[0]!r} …")
    scores = judge(asked, answered, explorer_for(resolved), resolved.reward)
    write_records(out, scores)
    right = sum(each.verdict.correct for each in scores)
    console.print(f"{right} of {len(scores)} right; scores: {out}", soft_wrap=True)

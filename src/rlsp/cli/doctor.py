"""`rlsp doctor`: what will keep a recipe from learning."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rlsp.cli.options import RecipeArgument, SetOption, TrustOption, judging
from rlsp.cli.terminal import say, say_if
from rlsp.config import Recipe, load


def doctor(
    recipe: RecipeArgument,
    settings: SetOption = None,
    out: Annotated[Path, typer.Option(help="Where the run would be, for the room on its disk.")] = Path("runs/new"),
    trust: TrustOption = False,
) -> None:
    """Look for what will keep a recipe from learning, and for the fix. Exit code 1: something was found. Every run does
    the same when its RL begins."""
    resolved = load(Recipe, recipe, settings or [])
    from rlsp.engines import doctor as checks
    from rlsp.engines import drawing, preflight, stages

    judge = judging(trusted_code=trust)
    say_if(preflight.check(resolved, judge))
    policy = stages.open_policy(resolved.model.path, resolved.sampling.engine)
    problems = next(drawing.training_problems(resolved))
    if resolved.sft is not None:
        say("responses are the base model's: SFT may change what is said of them")
    found = [
        checks.of_padding(policy.tokenizer),
        *checks.of_recipe(resolved, policy, problems, out),
        *checks.of_policy(resolved, policy, problems, judge),
    ]
    for check in found:
        say(f"{'ok' if check.healthy else '!!'}  {check.name:<12} {check.found}")
        say_if(f"    fix: {check.fix}" if check.fix else "")
    ill = sum(not check.healthy for check in found)
    say(f"{ill} of {len(found)} checks found something")
    if ill:
        raise typer.Exit(1)

"""`rlsp reward`: what a reward pays, what it ranks wrongly, what it pays the next token."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rlsp.cli.options import RecipeArgument, SetOption, TrustOption, judging
from rlsp.cli.reward_tables import print_plan, print_pull, print_ranking, print_score, print_stored, print_tokens
from rlsp.cli.terminal import say
from rlsp.config import Recipe, load
from rlsp.errors import InputError
from rlsp.reward import warnings
from rlsp.runs import MANIFEST, Run
from rlsp.xray import explain as explaining
from rlsp.xray import plan as planning
from rlsp.xray.cast import NoCast, cast_for
from rlsp.xray.ranking import rank as rank_cast
from rlsp.xray.tokens import CHARACTERS_PER_TOKEN, EstimatedTokens, ModelTokens, Tokens

app = typer.Typer(help="X-ray a reward before it trains anything.", no_args_is_help=True)


def tokens_for(recipe: Recipe) -> Tokens:
    """The model's tokenizer; an estimate where there is no such directory."""
    if recipe.model.path != "nano" and not Path(recipe.model.path).expanduser().is_dir():
        return EstimatedTokens()
    from rlsp.models import load_tokenizer

    return ModelTokens(load_tokenizer(recipe.model.path))


def _load(recipe: str, settings: list[str] | None) -> Recipe:
    """The recipe, after what is wrong with its reward though it was chosen."""
    resolved = load(Recipe, recipe, settings or [])
    for warning in warnings(resolved):
        say(f"warning: {warning}")
    return resolved


@app.command("rank")
def rank(recipe: RecipeArgument, settings: SetOption = None, trust: TrustOption = False) -> None:
    """Standard responses as the reward ranks them, and whether a sane one would. Exit code 1: it would not."""
    resolved = _load(recipe, settings)
    try:
        cast = cast_for(resolved, tokens_for(resolved))
    except NoCast as reason:
        say(f"no standard cast for recipe {resolved.name!r}: {reason}")
        return
    rankings = rank_cast(resolved, cast, judging(trusted_code=trust))
    for ranking in rankings:
        print_ranking(resolved, cast, ranking)
    if not all(ranking.passed for ranking in rankings):
        raise typer.Exit(1)


@app.command("explain")
def explain(
    recipe: Annotated[str, typer.Argument(metavar="RECIPE|RUN", help="A recipe, or a run directory of rlsp.")],
    problem: Annotated[str | None, typer.Option("--problem", metavar="TEXT", help="The question.")] = None,
    answer: Annotated[str, typer.Option(help="Its answer, where the question does not tell it.")] = "",
    problems: Annotated[Path | None, typer.Option("--problems", help="JSONL of problems, instead of one.")] = None,
    identity: Annotated[
        str | None,
        typer.Option(
            "--id", metavar="PROBLEM_ID", help="Which of the problems, or of the run's; the first by default."
        ),
    ] = None,
    response: Annotated[str | None, typer.Option("--response", metavar="TEXT", help="What was answered.")] = None,
    file: Annotated[Path | None, typer.Option("--file", help="The same, as a text file.")] = None,
    step: Annotated[int | None, typer.Option(min=1, help="Of a run: the RL step; the last by default.")] = None,
    sample: Annotated[
        int | None, typer.Option(min=0, help="Of a run: which rollout of the problem; the first by default.")
    ] = None,
    settings: SetOption = None,
    trust: TrustOption = False,
) -> None:
    """What one response earns, part by part and token by token."""
    if (Path(recipe) / MANIFEST).is_file():
        if settings or answer or any(each is not None for each in (problem, problems, response, file)):
            raise InputError(f"{recipe} is a run, whose rollouts are stored: choose one by --step, --id and --sample")
        run = Run(Path(recipe))
        resolved = run.recipe()
        found = explaining.stored(run, step, identity, sample or 0)
        print_score(resolved, found)
        print_stored(resolved, found)
        return
    if step is not None or sample is not None:
        raise InputError(f"--step and --sample choose a stored rollout, and {recipe} is no run: give a run's directory")
    resolved = _load(recipe, settings)
    asked = explaining.find_problem(resolved, problem, answer, problems, identity)
    text, tokens = explaining.read_response(response, file), tokens_for(resolved)
    found = explaining.score_text(resolved, asked, text, tokens, judging(trusted_code=trust))
    if tokens.estimated:
        say(f"no model in {resolved.model.path}: lengths are estimated at {CHARACTERS_PER_TOKEN} characters a token")
    print_score(resolved, found)
    print_tokens(resolved, found)


@app.command("plan")
def plan(
    recipe: RecipeArgument,
    run: Annotated[Path | None, typer.Option("--run", help="Length and KL from the last steps of this run.")] = None,
    length: Annotated[float | None, typer.Option(metavar="TOKENS", help="The mean length of a response now.")] = None,
    kl: Annotated[float | None, typer.Option(metavar="NATS", help="The KL against the reference, a token.")] = None,
    growth: Annotated[str, typer.Option(metavar="PERCENT", help="How much longer: 30%.")] = "30%",
    settings: SetOption = None,
    trust: TrustOption = False,
) -> None:
    """What the next token is paid and taxed, and the C and α for so much more length."""
    if (run is None) == (length is None) or (run is None and kl is None):
        raise InputError("give either --run (--kl then stands for the run's own), or both --length and --kl")
    resolved = _load(recipe, settings)
    share = planning.read_growth(growth)
    now, nats = planning.of_run(run) if run is not None else (length or 0.0, 0.0)
    forces = planning.pull(resolved, now, nats if kl is None else kl)
    print_pull(forces)
    try:
        made = planning.plan(resolved, forces, share, tokens_for(resolved), judging(trusted_code=trust))
    except NoCast as reason:
        raise InputError(f"no plan: whether it ranks rightly can't be checked: {reason}") from None
    print_plan(resolved, forces, made, share)

"""`rlsp replay`: a stored rollout again, token by token, as training saw it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table
from rich.text import Text

from rlsp.cli.options import RunArgument, TrustOption, judging
from rlsp.cli.progress import console
from rlsp.cli.terminal import clean, say
from rlsp.errors import InputError
from rlsp.runs import Run

if TYPE_CHECKING:
    from rlsp.engines.replay import Failure, Replayed


def replay(
    run: RunArgument,
    step: Annotated[int, typer.Argument(min=1, help="The RL step.")],
    sample: Annotated[
        int | None, typer.Argument(min=0, help="Which rollout of the step, from 0; all of them by default, in short.")
    ] = None,
    trust: TrustOption = False,
) -> None:
    """Sample a step of RL again and show what training saw of a rollout. Exit code 1: some token came out differently.
    A step that failed is computed again from what was kept of it."""
    from rlsp.engines import replay as replaying

    source = Run(run)
    source.require_native()
    settings = judging(trusted_code=trust)
    if replaying.failed_step(source) == step:
        print_failure(step, replaying.reproduce(source, settings))
        return
    if sample is not None and sample >= (count := len(replaying.stored(source, step))):
        raise InputError(f"step {step} of {run} has {count} rollouts, 0 to {count - 1}: there is no {sample}")
    found = replaying.replay(source, step, settings)
    different = [number for number, each in enumerate(found) if each.difference is not None]
    if sample is None:
        print_all(found)
    else:
        print_one(found[sample])
    if different:
        say(
            f"{len(different)} of {len(found)} rollouts differ, the first is {different[0]}: the machine, its threads "
            "or the versions of torch and transformers are not those of the run"
        )
        raise typer.Exit(1)
    say(f"all {len(found)} rollouts of step {step} come out token for token")


def print_all(found: list[Replayed]) -> None:
    table = Table(box=None, padding=(0, 1))
    for heading in ("rollout", "problem", "sample", "tokens", "verdict", "reward", "first difference"):
        table.add_column(heading, justify="left" if heading in ("problem", "verdict") else "right")
    for number, each in enumerate(found):
        verdict = "right" if each.score.verdict.correct else "wrong"
        total = "" if each.score.total is None else f"{each.score.total:.3f}"
        difference = "" if each.difference is None else str(each.difference)
        problem = clean(each.stored.problem_id)
        table.add_row(
            str(number), problem, str(each.stored.sample), str(each.stored.length), verdict, total, difference
        )
    console.print(table)


def print_one(found: Replayed) -> None:
    """A line a token; what the algorithm does not have has no column."""
    table = Table(box=None, padding=(0, 1))
    columns = ["", "token", "log π", "entropy", *(f"value {name}" for name in found.streams), "advantage"]
    taxed = found.tokens[0].kl is not None
    for heading in [*columns, *(["KL"] if taxed else [])]:
        table.add_column(heading, justify="left" if heading == "token" else "right", no_wrap=True)
    for place, token in enumerate(found.tokens):
        mark = " ≠" if place == found.difference else ""
        numbers = [token.logprob, token.entropy, *token.values, token.advantage, *([token.kl] if taxed else [])]
        shown = Text(clean(token.text.replace("\n", "↵")) + mark)
        table.add_row(str(place), shown, *("" if each is None else f"{each:+.4f}" for each in numbers))
    verdict = found.score.verdict
    say(
        f"{found.stored.problem_id}, sample {found.stored.sample}: {'right' if verdict.correct else 'wrong'} "
        f"({verdict.reason}), {found.stored.length} tokens, policy after step {found.stored.policy_version}"
    )
    console.print(table)


def print_failure(step: int, found: Failure) -> None:
    say(f"step {step} ended with: {found.said}")
    if not found.again:
        say("computed again from what was kept, it is finite: another machine or other versions than the run's")
        raise typer.Exit(1)
    say(f"computed again: {found.again}")
    alone = ", ".join(map(str, found.culprits)) or "none"
    say(f"a minibatch of {len(found.rows)} rollouts; by themselves, these have no finite loss or gradient: {alone}")

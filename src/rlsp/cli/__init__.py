"""The command line, one file a verb."""

from __future__ import annotations

import sys

import typer
from rich.console import Console
from rich.text import Text

from rlsp.cli import (
    compare,
    demos,
    evaluate,
    pretrain,
    quickstart,
    report,
    reward,
    run,
    sample,
    score,
    sft,
    tasks,
    train,
    verify,
)
from rlsp.errors import InputError, Paused

app = typer.Typer(
    help="Turn a language model into a reasoning model (RLSP, arXiv 2502.06773). Start with: rlsp quickstart",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for name, verb in (
    ("quickstart", quickstart.quickstart),
    ("run", run.run),
    ("pretrain", pretrain.pretrain),
    ("demos", demos.demos),
    ("sft", sft.sft),
    ("train", train.train),
    ("sample", sample.sample),
    ("score", score.score),
    ("eval", evaluate.evaluate),
    ("compare", compare.compare),
    ("report", report.report),
):
    app.command(name)(verb)
app.add_typer(tasks.app, name="tasks")
app.add_typer(verify.app, name="verify")
app.add_typer(reward.app, name="reward")


def main() -> None:
    """Run the command line; what the user gave wrong is printed without a traceback, exit code 2, and so is why
    training paused, exit code 3."""
    try:
        app()
    except InputError as error:
        Console(stderr=True, soft_wrap=True).print(Text.assemble(("error: ", "bold red"), str(error)))
        sys.exit(2)
    except Paused as reason:
        Console(stderr=True, soft_wrap=True).print(Text.assemble(("paused: ", "bold yellow"), str(reason)))
        sys.exit(3)

"""The command line, one file a verb."""

from __future__ import annotations

import sys
from errno import EDQUOT, ENOSPC, EROFS
from pathlib import Path
from typing import NoReturn

import typer
from rich.console import Console
from rich.text import Text

from rlsp import parallel
from rlsp.cli import (
    analyze,
    compare,
    demos,
    doctor,
    evaluate,
    export,
    fork,
    pretrain,
    quickstart,
    replay,
    report,
    resume,
    reward,
    run,
    sample,
    score,
    serve_reward,
    sft,
    tasks,
    train,
    verify,
    watch,
)
from rlsp.cli.terminal import paragraph
from rlsp.errors import Diverged, InputError, JobFailed, Paused, Stopped
from rlsp.files import refused

app = typer.Typer(
    help="Turn a language model into a reasoning model (RLSP, arXiv 2502.06773). Start with: rlsp quickstart",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for name, verb in (
    ("quickstart", quickstart.quickstart),
    ("run", run.run),
    ("doctor", doctor.doctor),
    ("resume", resume.resume),
    ("fork", fork.fork),
    ("export", export.export),
    ("replay", replay.replay),
    ("pretrain", pretrain.pretrain),
    ("demos", demos.demos),
    ("sft", sft.sft),
    ("train", train.train),
    ("sample", sample.sample),
    ("score", score.score),
    ("eval", evaluate.evaluate),
    ("compare", compare.compare),
    ("analyze", analyze.analyze),
    ("report", report.report),
    ("watch", watch.watch),
    ("serve-reward", serve_reward.serve_reward),
):
    app.command(name)(verb)
app.add_typer(tasks.app, name="tasks")
app.add_typer(verify.app, name="verify")
app.add_typer(reward.app, name="reward")


def main() -> None:
    """Run the command line; begun by torchrun, in the first of its processes. Without a traceback end: what the user
    gave wrong and a disk that takes no more (exit code 2), a training that paused itself (3), one whose loss is not
    finite (4), an engine of other processes that failed (5), and a training that a signal stopped (128 + the signal's
    number). torchrun makes all of these 1."""
    try:
        with parallel.joined() as first:
            if first:
                app()
    except InputError as error:
        _refuse(str(error))
    except OSError as error:  # a disk can be full, or turn read-only, at any file
        if error.filename is None or error.errno not in (ENOSPC, EDQUOT, EROFS):
            raise
        _refuse(str(refused(Path(error.filename), error)))
    except Paused as reason:
        Console(stderr=True, soft_wrap=True).print(Text.assemble(("paused: ", "bold yellow"), str(reason)))
        sys.exit(3)
    except Diverged as reason:
        Console(stderr=True, soft_wrap=True).print(Text.assemble(("diverged: ", "bold red"), str(reason)))
        sys.exit(4)
    except JobFailed as reason:
        Console(stderr=True, soft_wrap=True).print(Text.assemble(("failed: ", "bold red"), str(reason)))
        sys.exit(5)
    except Stopped as request:
        Console(stderr=True, soft_wrap=True).print(
            Text.assemble(("stopped: ", "bold yellow"), f"{request}; a training goes on where it was by --resume")
        )
        sys.exit(128 + request.signal)


def _refuse(reason: str) -> NoReturn:
    Console(stderr=True, soft_wrap=True).print(Text.assemble(("error: ", "bold red"), paragraph(reason)))
    sys.exit(2)

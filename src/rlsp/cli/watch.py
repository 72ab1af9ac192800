"""`rlsp watch`: a run while it trains, in the browser and on the terminal."""

from __future__ import annotations

import threading
import time
from typing import Annotated

import typer
from rich.live import Live
from rich.table import Table
from rich.text import Text

from rlsp.cli.options import RunArgument
from rlsp.cli.progress import console
from rlsp.cli.terminal import clean, say
from rlsp.errors import InputError
from rlsp.runs import Run, read_metrics

COLUMNS = {
    "step": "step",
    "accuracy": "accuracy",
    "held_out_accuracy": "held out",
    "length": "tokens",
    "exploration": "explore",
    "behaviour/checks": "checks",
    "behaviour/backtracks": "backtracks",
    "entropy": "entropy",
    "kl": "KL",
}
ROWS = 15
SECONDS = 2.0
TRIES = 4


def watch(
    run: RunArgument,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of the page on 127.0.0.1; 0 takes a free one.")] = 0,
) -> None:
    """Follow a run: its newest steps here, its page in the browser. It ends by Ctrl-C, and the run goes on. Where the
    output is no terminal there is no page: its address holds a token, and would stand in a log."""
    source = Run(run)
    source.manifest()
    if console.is_terminal:
        from rlsp.report.live import Server

        server = Server(source, port)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        say(f"page: {server.address}")
    try:
        if not console.is_terminal:
            say("no page: the output is no terminal, and the page's address holds a token")
            _follow(source)
            return
        with Live(_table(source, _metrics(source)), console=console, refresh_per_second=1) as live:
            while True:
                time.sleep(SECONDS)
                live.update(_table(source, _metrics(source)))
    except KeyboardInterrupt:
        say("no longer watched; nothing else has changed")


def _metrics(run: Run) -> list[dict[str, float]]:
    """Read again where a line was only half written.

    Raises:
        InputError: it stays broken.
    """
    for _ in range(TRIES - 1):
        try:
            return read_metrics(run.path("rl", "metrics.jsonl"))
        except InputError:
            time.sleep(SECONDS / TRIES)
    return read_metrics(run.path("rl", "metrics.jsonl"))


def _follow(run: Run) -> None:
    """A line a step: a log file has no rows to draw over."""
    seen = 0
    while True:
        metrics = _metrics(run)
        for each in metrics[seen:]:
            say("  ".join(f"{label} {_written(each[key])}" for key, label in COLUMNS.items() if key in each))
        seen = len(metrics)
        time.sleep(SECONDS)


def _table(run: Run, metrics: list[dict[str, float]]) -> Table | Text:
    stages = ", ".join(run.manifest()["stages"]) or "none yet"
    title = Text(clean(f"{run.name}: {len(metrics)} RL steps; finished: {stages}"))
    if not metrics:
        return title
    table = Table(title=title, title_justify="left", box=None)
    shown = [key for key in COLUMNS if any(key in each for each in metrics)]
    for key in shown:
        table.add_column(COLUMNS[key], justify="right")
    for each in metrics[-ROWS:]:
        table.add_row(*(_written(each[key]) if key in each else "" for key in shown))
    return table


def _written(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.3g}"

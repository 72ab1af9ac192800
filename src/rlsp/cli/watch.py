"""`rlsp watch`: a run while it trains, in the browser, on the terminal and in trackers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Annotated, TypeVar

import typer
from rich.live import Live
from rich.table import Table
from rich.text import Text

from rlsp.cli.options import RunArgument
from rlsp.cli.progress import console
from rlsp.cli.terminal import clean, say
from rlsp.errors import InputError
from rlsp.runs import Run, read_metrics
from rlsp.trackers import Follower, Name

T = TypeVar("T")

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
    to: Annotated[list[Name] | None, typer.Option("--to", help="A tracker that gets its numbers, too.")] = None,
) -> None:
    """Follow a run: its newest steps here, its page in the browser, its numbers in trackers. It ends by Ctrl-C, and the
    run goes on. Where the output is no terminal there is no page, as its address holds a token and would stand in a
    log, and it ends when the run is complete."""
    source = Run(run)
    source.manifest()
    if console.is_terminal:
        from rlsp.report.live import Server

        server = Server(source, port)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        say(f"page: {server.address}")
    else:
        say("no page: the output is no terminal, and the page's address holds a token")
    follower = Follower(source)
    try:
        for name in dict.fromkeys(to or ()):
            follower.add(name)
        if not console.is_terminal:
            _follow(source, follower)
            return
        with Live(console=console, refresh_per_second=1) as live:
            while True:
                live.update(_table(source, _metrics(source)))
                _patiently(follower.update)
                time.sleep(SECONDS)
    except KeyboardInterrupt:
        say("no longer watched; nothing else has changed")
    finally:
        follower.close()


def _metrics(run: Run) -> list[dict[str, float]]:
    return _patiently(lambda: read_metrics(run.path("rl", "metrics.jsonl")))


def _patiently(read: Callable[[], T]) -> T:
    """Read again where a line was only half written.

    Raises:
        InputError: it stays broken.
    """
    for _ in range(TRIES - 1):
        try:
            return read()
        except InputError:
            time.sleep(SECONDS / TRIES)
    return read()


def _follow(run: Run, follower: Follower) -> None:
    """A line a step, until the run is complete: a log file has no rows to draw over."""
    seen, complete = 0, False
    while not complete:
        complete = run.complete
        metrics = _metrics(run)
        _patiently(follower.update)
        for each in metrics[seen:]:
            say("  ".join(f"{label} {_written(each[key])}" for key, label in COLUMNS.items() if key in each))
        seen = len(metrics)
        if not complete:
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

"""Live progress: what runs, how fast, how long it will still take."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

console = Console()
LINES_PER_STAGE = 5
"""Without a terminal (a log file, CI) a stage prints about this many lines instead of a bar."""


class LiveProgress:
    """Bars on a terminal, plain lines elsewhere; a context manager."""

    def __init__(self) -> None:
        self.bars = Progress(
            TextColumn("{task.description:<28}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]:>10}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=console,
            disable=not console.is_terminal,
        )
        self.name, self.total, self.started, self.printed = "", 0, 0.0, 0
        self.bar: TaskID | None = None

    def __enter__(self) -> LiveProgress:
        self.bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.bars.stop()

    def stage(self, name: str, total: int) -> None:
        self.name, self.total, self.started, self.printed = name, total, time.perf_counter(), 0
        self.bar = self.bars.add_task(name, total=total, note="", rate="")

    def advance(self, done: int, note: str = "") -> None:
        assert self.bar is not None
        elapsed = time.perf_counter() - self.started
        rate = f"{done / elapsed:.1f}/s" if elapsed > 0 else ""
        self.bars.update(self.bar, completed=done, note=note, rate=rate)
        due = done * LINES_PER_STAGE // self.total
        if not console.is_terminal and due > self.printed:
            self.printed = due
            left = elapsed / done * (self.total - done)
            console.print(f"{self.name}: {done}/{self.total}  {rate}  {elapsed:.0f}s, {left:.0f}s left  {note}")

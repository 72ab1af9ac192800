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
if not console.is_terminal:
    console.width = 140  # a log file has no edge
LINES_PER_STAGE = 5
SECONDS_PER_LINE = 30.0
"""Without a terminal (a log file, CI) a stage prints about so many lines, or one in so many seconds, and no bar."""


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
        self.name, self.total, self.before, self.started, self.printed, self.spoke = "", 0, 0, 0.0, 0, 0.0
        self.bar: TaskID | None = None

    def __enter__(self) -> LiveProgress:
        self.bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.bars.stop()

    def stage(self, name: str, total: int, done: int = 0) -> None:
        self.name, self.total, self.before = name, total, done
        self.printed = done * LINES_PER_STAGE // total
        self.started = self.spoke = time.perf_counter()
        self.bar = self.bars.add_task(name, total=total, completed=done, note="", rate="")

    def advance(self, done: int, note: str = "") -> None:
        assert self.bar is not None
        now = time.perf_counter()
        elapsed = now - self.started
        rate = f"{(done - self.before) / elapsed:.1f}/s" if elapsed > 0 else ""
        self.bars.update(self.bar, completed=done, note=note, rate=rate)
        due = done * LINES_PER_STAGE // self.total
        if not console.is_terminal and (due > self.printed or now - self.spoke > SECONDS_PER_LINE):
            self.printed, self.spoke = due, now
            left = elapsed / (done - self.before) * (self.total - done)
            console.print(f"{self.name}: {done}/{self.total}  {rate}  {elapsed:.0f}s, {left:.0f}s left  {note}")

    def say(self, message: str) -> None:
        console.print(message, soft_wrap=True)

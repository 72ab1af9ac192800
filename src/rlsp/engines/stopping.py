"""Ctrl-C and SIGTERM: a training step is finished and saved first, everything else stops at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

from rlsp.errors import Stopped

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stopping:
    """A context manager. Inside, the first signal raises Stopped at once, unless a `step` is under way: that one is
    finished first, and `asked` says that it is the last. The second raises Stopped wherever it comes. In another thread
    than the main one, which alone gets signals, it does nothing."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say
        self.asked: signal.Signals | None = None
        self._in_step = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Stopping:
        if threading.current_thread() is threading.main_thread():
            self._before = {each: signal.signal(each, self._on_signal) for each in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for each, handler in self._before.items():
            signal.signal(each, handler)

    @contextmanager
    def step(self) -> Iterator[None]:
        """What is to be finished and saved; afterwards raises Stopped if that was asked for."""
        self._in_step = True
        try:
            yield
        finally:
            self._in_step = False
        if self.asked is not None:
            raise Stopped(self.asked)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        first = self.asked is None
        self.asked = signal.Signals(number)
        if not (first and self._in_step):
            raise Stopped(self.asked)
        self.say(f"{self.asked.name}: this step is finished and saved first; once more to stop at once")

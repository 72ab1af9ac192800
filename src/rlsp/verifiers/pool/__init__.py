"""Workers in which hostile text is judged: warm, limited, and killed when they are late.

    with Pool(preload=["math_verify"]) as pool:
        outcomes = pool.map("my_package.judge:verify", [{"response": "…"}, {"response": "…"}], deadline_seconds=5)

The function is looked up inside the worker and called with one item's arguments; JSON goes in, JSON comes out. Whatever
it does (loop, crash, eat memory) costs its own item alone: that item's `Outcome` says what happened, it is never tried
again, and the next item gets a fresh worker. Needs a Unix; `worker.py` says what macOS doesn't enforce.
"""

from __future__ import annotations

import atexit
import math
import os
import threading
import weakref
from collections.abc import Mapping, Sequence
from concurrent.futures import Future

from rlsp.verifiers.pool.dispatcher import JSON, Dispatcher, Item, Outcome
from rlsp.verifiers.pool.frames import TooLongError, frame

__all__ = ["JSON", "Outcome", "Pool", "shared"]

MAX_DEFAULT_WORKERS = 8


class Pool:
    """`workers` processes, one item at a time each; by default one a core, at most eight.

    `memory_bytes` is what a worker's items may add to the memory that `preload` takes: modules that are imported once,
    before workers are forked, because an import within an item counts against its deadline. Processes start with the
    first item. A pool may be used from any thread; in a child after `os.fork` it starts processes of its own.

    Raises:
        ValueError: no workers, or no memory.
    """

    def __init__(self, workers: int | None = None, memory_bytes: int = 2 << 30, preload: Sequence[str] = ()) -> None:
        self.workers = min(os.cpu_count() or 1, MAX_DEFAULT_WORKERS) if workers is None else workers
        self.memory_bytes = memory_bytes
        self.preload = tuple(preload)
        if self.workers < 1 or memory_bytes < 1:
            raise ValueError(f"a pool needs a worker and memory, got {workers} and {memory_bytes} bytes")
        self._closed = False
        self._lock = threading.Lock()
        self._dispatcher: Dispatcher | None = None
        self._finalizer: weakref.finalize | None = None
        _POOLS.add(self)

    def submit(self, function: str, arguments: Mapping[str, JSON], deadline_seconds: float) -> Future[Outcome]:
        """Queue one call of `function` ("package.module:name"); the deadline runs from when a worker gets it.

        Arguments of more than 2 MB of JSON are an `error` and stay here. The future raises InputError when there is no
        such function, or when no worker can be started.

        Raises:
            TypeError, ValueError: the arguments aren't JSON, or the deadline isn't a number of seconds above 0.
            RuntimeError: the pool is closed.
        """
        if not 0 < deadline_seconds < math.inf:
            raise ValueError(f"a deadline is some seconds from now, got {deadline_seconds}")
        item = {"function": function, "arguments": dict(arguments), "deadline_seconds": deadline_seconds}
        future: Future[Outcome] = Future()
        try:
            message = frame(item)
        except TooLongError as error:
            future.set_result(Outcome("error", None, f"arguments not sent: {error}", 0.0))
        else:
            self._running().put(Item(message, deadline_seconds, future))
        return future

    def map(self, function: str, batch: Sequence[Mapping[str, JSON]], deadline_seconds: float) -> list[Outcome]:
        """The outcome of `function` on each item's arguments, in order. Raises what `submit` and its future raise."""
        futures: list[Future[Outcome]] = []
        try:
            futures.extend(self.submit(function, arguments, deadline_seconds) for arguments in batch)
            return [future.result() for future in futures]
        finally:
            for future in futures:
                future.cancel()

    def close(self) -> None:
        """Kill every process of the pool; the future of an unfinished item raises RuntimeError."""
        with self._lock:
            self._closed = True
            dispatcher, self._dispatcher = self._dispatcher, None
        if dispatcher is not None:
            dispatcher.stop()
            dispatcher.join()

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _running(self) -> Dispatcher:
        with self._lock:
            if self._closed:
                raise RuntimeError("the pool is closed")
            if self._dispatcher is None or self._dispatcher.over:
                self._dispatcher = Dispatcher(self.workers, self.memory_bytes, self.preload)
                self._dispatcher.start()
                self._finalizer = weakref.finalize(self, self._dispatcher.stop)
            return self._dispatcher

    def _forget(self) -> None:
        """After a fork, in the child: the processes are the parent's, and its locks may be held by nobody."""
        self._lock = threading.Lock()
        if self._dispatcher is not None and self._finalizer is not None:
            self._finalizer.detach()
            self._dispatcher.abandon()
            self._dispatcher = None


def shared() -> Pool:
    """The pool of this process, with the math verifier preloaded; it closes at exit."""
    return _SHARED


def _forget_pools() -> None:
    for pool in _POOLS:
        pool._forget()


_POOLS: weakref.WeakSet[Pool] = weakref.WeakSet()
_SHARED = Pool(preload=["rlsp.verifiers.math.warm"])
atexit.register(_SHARED.close)
os.register_at_fork(after_in_child=_forget_pools)

"""The near side of the worker pool: one thread that hands items to workers, keeps their deadlines and ends them.

All state belongs to that thread; other threads only append to its queue and wake it. It never blocks on a worker: what
a socket doesn't take at once waits until the selector says so. A deadline counts from when a ready worker is sent its
item, on the monotonic clock; replies that have arrived are read before deadlines are looked at, so that a caller who
hogs the interpreter makes no item late.
"""

from __future__ import annotations

import contextlib
import math
import os
import selectors
import signal
import socket
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, TypeAlias

from rlsp.errors import InputError
from rlsp.verifiers.pool.frames import Inbox
from rlsp.verifiers.pool.worker import MAX_DETAIL
from rlsp.verifiers.pool.zygote import Zygote

JSON: TypeAlias = "bool | int | float | str | Sequence[JSON] | Mapping[str, JSON] | None"

START_SECONDS = 120
"""For the imports of a zygote and the first word of its worker."""
MAX_FAILED_STARTS = 3
"""In a row; then no further start is tried."""
GARBAGE = "the worker sent something else than a reply"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one item ended. `value` is what the function returned, None unless the status is `done`; `detail` says more
    about any other status ("no result within 5 s", "killed by SIGSEGV", "RecursionError: …"), in at most 300
    characters. `seconds` is wall time from when a worker was sent the item."""

    status: Literal["done", "timeout", "crashed", "out of memory", "error"]
    value: Any
    detail: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Item:
    """A call in its frame, and where its outcome goes."""

    message: bytes
    deadline_seconds: float
    future: Future[Outcome]


@dataclass(slots=True, eq=False)
class _Worker:
    """`since`: when it was ordered, then when it was sent its item, in monotonic seconds."""

    number: int
    link: socket.socket
    since: float
    ready: bool = False
    item: Item | None = None
    unsent: memoryview = field(default_factory=lambda: memoryview(b""))
    inbox: Inbox = field(default_factory=Inbox)


class Dispatcher:
    """Starts the zygote, forks `workers` workers and serves items until it is stopped or can't start a worker."""

    def __init__(self, workers: int, memory_bytes: int, preload: Sequence[str]) -> None:
        self._count = workers
        self._memory_bytes = memory_bytes
        self._preload = list(preload)
        self._lock = threading.Lock()
        self._queue: deque[Item] = deque()
        self._end: Exception | None = None
        self._stopping = False
        self._selector = selectors.PollSelector()  # holds no descriptor that a forked child would share
        self._wake, self._woken = socket.socketpair()
        self._wake.setblocking(False)
        self._selector.register(self._woken, selectors.EVENT_READ, self._on_wake)
        self._zygote = Zygote(memory_bytes, preload)
        self._workers: dict[int, _Worker] = {}
        self._dying: dict[int, tuple[Item, float, str]] = {}
        self._unborn: set[int] = set()
        self._numbers = 0
        self._failed_starts = 0
        self._connect()
        self._thread = threading.Thread(target=self._run, name="rlsp-pool", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def join(self) -> None:
        self._thread.join()

    @property
    def over(self) -> bool:
        """It takes no more items."""
        return self._end is not None

    def put(self, item: Item) -> None:
        """Queue an item; after the end its future raises the reason of that."""
        with self._lock:
            if self._end is None:
                self._queue.append(item)
                self._rouse()
                return
        _fail(item, self._end)

    def stop(self) -> None:
        """End the thread and every process; returns at once."""
        self._stopping = True  # without the lock, which the thread holds that a garbage collection interrupts
        self._rouse()

    def abandon(self) -> None:
        """In a forked child: close what was inherited, touching neither the parent's processes nor its locks."""
        for end in (self._wake, self._woken, self._zygote.control, *(worker.link for worker in self._workers.values())):
            end.close()

    def _rouse(self) -> None:
        with contextlib.suppress(OSError):  # full, so it is awake already, or closed, so there is nobody to wake
            self._wake.send(b"\0")

    def _run(self) -> None:
        end: Exception = RuntimeError("the pool was closed")
        try:
            while not self._stopping:
                self._assign()
                for key, events in self._selector.select(self._patience()):
                    key.data(events)
                self._expire()
        except Exception as error:  # goes to everybody who waits for a future
            end = error
        finally:
            self._shut(end)

    def _on_wake(self, _: int) -> None:
        self._woken.recv(1 << 12)

    def _shut(self, end: Exception) -> None:
        with self._lock:
            self._end = end
            self._wake.close()
        self._woken.close()
        unfinished = [worker.item for worker in self._workers.values() if worker.item is not None]
        unfinished += [item for item, _, _ in self._dying.values()]
        for worker in list(self._workers.values()):
            self._drop(worker)
        self._zygote.stop()
        for item in (*unfinished, *self._queue):
            _fail(item, end)

    # The zygote

    def _connect(self) -> None:
        self._selector.register(self._zygote.control, selectors.EVENT_READ, self._on_zygote)
        for _ in range(self._count):
            self._fork()

    def _on_zygote(self, _: int) -> None:
        reports = self._zygote.reports()
        if reports is None:
            self._restart()
            return
        for number, status in reports:
            if number in self._dying:
                item, seconds, detail = self._dying.pop(number)
                _finish(item, "crashed", detail or _death(status), seconds)
            elif number in self._unborn:
                self._unborn.remove(number)
                self._count_failed_start(f"a worker that was to start: {_death(status)}")
                self._fork()

    def _restart(self) -> None:
        """After the zygote's death: what its workers had is lost."""
        lost = [(worker.item, _since(worker)) for worker in self._workers.values() if worker.item is not None]
        lost += [(item, seconds) for item, seconds, _ in self._dying.values()]
        self._dying.clear()
        self._unborn.clear()
        for worker in list(self._workers.values()):
            self._drop(worker)
        self._selector.unregister(self._zygote.control)
        reason = self._zygote.stop()
        for item, seconds in lost:
            _finish(item, "crashed", reason, seconds)
        self._count_failed_start(reason)
        self._zygote = Zygote(self._memory_bytes, self._preload)
        self._connect()

    def _count_failed_start(self, reason: str) -> None:
        """Raises InputError when it was one too many."""
        self._failed_starts += 1
        if self._failed_starts >= MAX_FAILED_STARTS:
            raise InputError(
                f"verifier workers don't start, {MAX_FAILED_STARTS} attempts failed: {reason}; "
                f"see that these modules can be imported: {', '.join(('rlsp', *self._preload))}"
            )

    # Workers

    def _fork(self) -> None:
        self._numbers += 1
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        worker = _Worker(self._numbers, ours, time.monotonic())
        self._workers[worker.number] = worker
        self._selector.register(ours, selectors.EVENT_READ, partial(self._on_worker, worker))
        with theirs:
            self._zygote.fork(worker.number, theirs)

    def _drop(self, worker: _Worker) -> None:
        self._selector.unregister(worker.link)
        worker.link.close()
        del self._workers[worker.number]

    def _replace(self, worker: _Worker) -> None:
        self._drop(worker)
        self._zygote.end(worker.number)
        self._fork()

    def _assign(self) -> None:
        for worker in self._workers.values():
            while self._queue and worker.ready and worker.item is None:
                item = self._queue.popleft()
                if item.future.set_running_or_notify_cancel():
                    worker.item, worker.since, worker.unsent = item, time.monotonic(), memoryview(item.message)
                    self._send(worker)

    def _send(self, worker: _Worker) -> None:
        with contextlib.suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):  # death is noticed by reading
            worker.unsent = worker.unsent[worker.link.send(worker.unsent) :]
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if worker.unsent else 0)
        key = self._selector.get_key(worker.link)
        if key.events != wanted:
            self._selector.modify(worker.link, wanted, key.data)

    def _on_worker(self, worker: _Worker, events: int) -> None:
        if worker.number not in self._workers:
            return  # dropped by an earlier event of the same round
        if events & selectors.EVENT_WRITE:
            self._send(worker)
        if events & selectors.EVENT_READ:
            data = _receive(worker.link)
            try:
                replies = list(worker.inbox.feed(data))
            except (ValueError, RecursionError):
                self._lost(worker, GARBAGE)
                return
            if not data:
                self._lost(worker)
            for reply in replies:
                self._on_reply(worker, reply)

    def _on_reply(self, worker: _Worker, reply: Any) -> None:
        if worker.number not in self._workers:
            return
        if not worker.ready:
            worker.ready = True
            self._failed_starts = 0
            return
        item, seconds = worker.item, _since(worker)
        outcome: Outcome | InputError
        match reply:
            case {"status": "done", "value": value}:
                outcome = Outcome("done", value, "", seconds)
            case {"status": "error" | "out of memory" as status, "detail": str(detail)}:
                outcome = Outcome(status, None, detail[:MAX_DETAIL], seconds)
            case {"status": "unknown function", "detail": str(detail)}:
                outcome = InputError(f"workers find no function {detail[:MAX_DETAIL]}; write module:name, importable")
            case _:
                item = None
        if item is None:
            self._lost(worker, GARBAGE)
            return
        worker.item = None
        if reply.get("retire"):
            self._replace(worker)
        if isinstance(outcome, InputError):
            item.future.set_exception(outcome)
        else:
            item.future.set_result(outcome)

    def _lost(self, worker: _Worker, detail: str = "") -> None:
        """A worker that died, or is to die for the reason in `detail`."""
        if worker.item is not None:
            self._dying[worker.number] = (worker.item, _since(worker), detail)
        if worker.ready:
            self._replace(worker)
        else:  # its zygote may have died with it; if not, its report says why there was no start
            self._drop(worker)
            self._zygote.end(worker.number)
            self._unborn.add(worker.number)

    # Time

    def _due(self, worker: _Worker) -> float:
        """The moment when patience with a worker ends, in monotonic seconds."""
        if worker.item is not None:
            return worker.since + worker.item.deadline_seconds
        return math.inf if worker.ready else worker.since + START_SECONDS

    def _patience(self) -> float | None:
        due = min((self._due(worker) for worker in self._workers.values()), default=math.inf)
        return None if due == math.inf else max(0.0, due - time.monotonic())

    def _expire(self) -> None:
        now = time.monotonic()
        for worker in [worker for worker in self._workers.values() if self._due(worker) <= now]:
            if (item := worker.item) is not None:
                self._replace(worker)
                _finish(item, "timeout", f"no result within {item.deadline_seconds:g} s", _since(worker))
            else:
                self._zygote.kill(f"no worker was ready after {START_SECONDS} s")


def _since(worker: _Worker) -> float:
    return time.monotonic() - worker.since


def _receive(link: socket.socket) -> bytes:
    """What has arrived; nothing when the other end is closed, also when it left something unread."""
    try:
        return link.recv(1 << 16)
    except ConnectionResetError:
        return b""


def _death(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return f"the worker exited with status {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:  # a real-time signal has no name
        return f"killed by signal {-code}"


def _finish(item: Item, status: Literal["timeout", "crashed"], detail: str, seconds: float) -> None:
    item.future.set_result(Outcome(status, None, detail, seconds))


def _fail(item: Item, error: Exception) -> None:
    if item.future.running() or item.future.set_running_or_notify_cancel():
        item.future.set_exception(error)

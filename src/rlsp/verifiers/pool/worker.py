"""The far side of the worker pool: the zygote, which forks workers, and the workers.

The zygote is a fresh interpreter, so neither the caller's `__main__` nor its threads come with it. It imports what the
judged functions need once; a worker forked from it is ready within milliseconds. It acts on orders alone: fork worker
n, end worker n. It reaps no worker before it is told to end it, so that a process id never means another process. When
the caller's end of its socket closes, however the caller died, it kills all workers and exits.

The limits keep accidents and runaway algebra in bounds; they are no sandbox for code that the model wrote. Linux alone
enforces the memory limit and kills workers whose zygote was killed; elsewhere such a worker lives until its item ends
or its processor time is used up. For root the ban on new processes and threads has no effect. It has run on
Linux only.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import gc
import importlib
import operator
import os
import resource
import signal
import socket
import sys
import time
import warnings
from collections import deque
from collections.abc import Callable
from typing import Any

from rlsp.verifiers.pool.frames import Inbox, frame

MAX_DETAIL = 300
"""Characters of an error's description."""

ITEMS_PER_WORKER = 2000
"""After so many items a worker is replaced, so that leaks and caches stay small."""
RECURSION_LIMIT = 2000
OPEN_FILES = 64
CPU_SLACK_SECONDS = 2
PR_SET_PDEATHSIG = 1


def describe(error: BaseException) -> str:
    """The error's type and message, on one short line."""
    try:
        message = " ".join(str(error)[: 2 * MAX_DETAIL].split())
    except Exception as nested:  # the message is made by code that has just failed
        message = f"no message, for {type(nested).__name__}"
    return f"{type(error).__name__}: {message}"[:MAX_DETAIL]


def main(control: int, memory_bytes: int, preload: list[str]) -> None:
    """The zygote, until the caller's end of the socket with file descriptor `control` closes."""
    link = socket.socket(fileno=control)
    _silence()
    try:
        for module in preload:
            importlib.import_module(module)
        gc.collect()
        gc.freeze()  # a collection in a worker would otherwise touch, and so copy, every page that it shares
        _obey(link, memory_bytes)
    except Exception as error:
        link.sendall(frame({"failed": describe(error)}))
        sys.exit(1)


def _silence() -> None:
    null = os.open(os.devnull, os.O_RDWR)
    for standard in range(3):
        os.dup2(null, standard)
    os.close(null)
    warnings.simplefilter("ignore")


def _obey(control: socket.socket, memory_bytes: int) -> None:
    pids: dict[int, int] = {}
    links: deque[int] = deque()
    inbox = Inbox()
    try:
        while True:
            data, descriptors, _, _ = socket.recv_fds(control, 1 << 16, 64)
            if not data:
                return
            links.extend(descriptors)
            for order in inbox.feed(data):
                if "fork" in order:
                    link = links.popleft()
                    pids[order["fork"]] = _fork(link, (control.fileno(), *links), memory_bytes)
                    os.close(link)
                else:
                    status = _end(pids.pop(order["end"]))
                    control.sendall(frame({"ended": order["end"], "status": status}))
    finally:
        for pid in pids.values():
            _end(pid)


def _fork(link: int, foreign: tuple[int, ...], memory_bytes: int) -> int:
    """The id of a new worker, which holds none of the `foreign` descriptors."""
    zygote = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        for descriptor in foreign:
            os.close(descriptor)
        _die_with(zygote)
        serve(socket.socket(fileno=link), memory_bytes)
    finally:
        os._exit(1)  # whatever was raised, a worker never returns into the zygote's loop


def _end(pid: int) -> int:
    """Kill a worker and what it started; its wait status, which tells how it died if it was dead already."""
    for kill in (os.killpg, os.kill):
        with contextlib.suppress(ProcessLookupError, PermissionError):  # a zombie's group: ESRCH or, on macOS, EPERM
            kill(pid, signal.SIGKILL)
    return os.waitpid(pid, 0)[1]


def _die_with(parent: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        raise ProcessLookupError(parent)


def serve(link: socket.socket, memory_bytes: int) -> None:
    """A worker: says hello, then one item after another, until the caller closes the link or the worker is used up."""
    os.setpgid(0, 0)
    sys.dont_write_bytecode = True  # files can't be written, and half of one isn't wanted
    sys.setrecursionlimit(RECURSION_LIMIT)
    _limit(memory_bytes)
    most_bytes = _peak_resident_bytes() + memory_bytes // 2
    detail = f"needs more than {memory_bytes >> 20} MiB"
    out_of_memory = frame({"status": "out of memory", "detail": detail, "retire": True})
    link.sendall(frame("ready"))
    inbox = Inbox()
    worker, served = os.getpid(), 0
    while data := link.recv(1 << 16):
        for item in inbox.feed(data):
            _limit_cpu(item["deadline_seconds"])
            try:
                reply = _judge(item["function"], item["arguments"])
                if os.getpid() != worker:
                    os._exit(0)  # a child that the judged function forked: the worker replies
                served += 1
                reply["retire"] = served >= ITEMS_PER_WORKER or _peak_resident_bytes() > most_bytes
                message = _encode(reply)
            except MemoryError:
                link.sendall(out_of_memory)
                return
            link.sendall(message)


def _judge(function: str, arguments: dict[str, Any]) -> dict[str, Any]:
    try:
        call = _resolve(function)
    except MemoryError:
        raise
    except Exception as error:
        return {"status": "unknown function", "detail": f"{function}: {describe(error)}"}
    try:
        return {"status": "done", "value": call(**arguments)}
    except MemoryError:
        raise
    except Exception as error:
        return {"status": "error", "detail": describe(error)}


def _encode(reply: dict[str, Any]) -> bytes:
    try:
        return frame(reply)
    except (TypeError, ValueError, RecursionError) as error:
        return frame({"status": "error", "detail": describe(error), "retire": reply["retire"]})


@functools.cache
def _resolve(function: str) -> Callable[..., Any]:
    """The callable behind "package.module:name"."""
    module, _, name = function.partition(":")
    found = operator.attrgetter(name)(importlib.import_module(module))
    if not callable(found):
        raise TypeError(f"{function} is no function")
    return found


def _limit(memory_bytes: int) -> None:
    if sys.platform == "linux":
        with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as score:
            score.write("1000")  # should memory run out, the kernel is to pick a worker, not the training
        with open("/proc/self/statm") as statm:
            mapped = int(statm.read().split()[0]) * resource.getpagesize()
        _lower(resource.RLIMIT_AS, mapped + memory_bytes)
    _lower(resource.RLIMIT_CORE, 0)
    _lower(resource.RLIMIT_FSIZE, 0)
    _lower(resource.RLIMIT_NOFILE, OPEN_FILES)
    _lower(resource.RLIMIT_NPROC, 0)


def _lower(kind: int, limit: int) -> None:
    hard = resource.getrlimit(kind)[1]
    limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
    resource.setrlimit(kind, (limit, limit))


def _limit_cpu(seconds: float) -> None:
    """Processor time for one item: the last resort when nobody is left to keep its deadline."""
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    limit = int(time.process_time() + seconds) + CPU_SLACK_SECONDS
    resource.setrlimit(resource.RLIMIT_CPU, (limit if hard == resource.RLIM_INFINITY else min(limit, hard), hard))


def _peak_resident_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024

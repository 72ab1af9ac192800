"""What the pool's tests have judged: functions that behave, and functions that don't."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

KEPT: list[bytes | bytearray] = []


def square(number: int) -> int:
    return number * number


def echo(**arguments: Any) -> dict[str, Any]:
    return arguments


def length(text: str) -> int:
    return len(text)


def process() -> dict[str, int]:
    return {"worker": os.getpid(), "zygote": os.getppid()}


def environment() -> dict[str, str]:
    return dict(os.environ)


def loop() -> None:
    while True:
        pass


def sleep(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def recurse(depth: int = 0) -> int:
    return recurse(depth + 1) + 1


def leave(status: int) -> None:
    os._exit(status)


def leave_politely() -> None:
    raise SystemExit("done")


def kill_self(name: str) -> None:
    os.kill(os.getpid(), signal.Signals[name])


def kill_zygote() -> None:
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(60)


def allocate(size: int) -> int:
    return len(bytearray(size))


def hoard() -> None:
    while True:
        KEPT.append(bytearray(1 << 22))


def capacity() -> int:
    """Bytes that could be had before memory ran out."""
    parts: list[bytearray] = []
    try:
        while True:
            parts.append(bytearray(1 << 20))
    except MemoryError:
        return len(parts) << 20


def keep(size: int) -> int:
    """Leaks memory whose every page is in use."""
    KEPT.append(b"x" * size)
    return os.getpid()


def fail(message: str) -> None:
    raise ValueError(message)


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def text(size: int) -> str:
    return "x" * size


def not_json(kind: str) -> Any:
    return {"set": {1}, "nan": float("nan"), "object": object()}[kind]


def send_garbage(frame: str) -> None:
    """What a function can do that finds the socket of its worker."""
    for descriptor in range(3, 100):
        try:
            os.write(descriptor, bytes.fromhex(frame))
        except OSError:
            continue
    time.sleep(60)


def open_descriptors() -> list[str]:
    """What a worker's descriptors point at."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{name}"))
        except FileNotFoundError:  # the one that listed them
            continue
    return found


def write_file(path: str) -> None:
    with open(path, "w") as file:
        file.write("x")


def child() -> int:
    """Starts a process that outlives the call, if it may."""
    pid = os.fork()
    if not pid:
        time.sleep(60)
        os._exit(0)
    return pid

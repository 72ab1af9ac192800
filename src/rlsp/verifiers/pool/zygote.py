"""The near end of the zygote, the process that forks workers: started, given orders, listened to, stopped.

Starting it isn't left to `multiprocessing`: there, children import the caller's main module again, so that a script
without `if __name__ == "__main__"` starts itself over and a notebook has nothing to import.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Sequence

from rlsp.verifiers.pool.frames import Inbox, frame

BOOTSTRAP = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from rlsp.verifiers.pool.worker import main; "
    "main(**json.loads(sys.argv[2]))"
)
"""`python -P -c BOOTSTRAP SYS_PATH ARGUMENTS_OF_MAIN`, both as JSON."""


STOP_SECONDS = 10

ENVIRONMENT = (
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "LD_LIBRARY_PATH",
    "DYLD_LIBRARY_PATH",
    "PYTHONHOME",
    "TMPDIR",
)
"""What a worker keeps of the caller's environment, which may hold secrets."""
FIXED_ENVIRONMENT = {"PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""The same order of sets in every run; no threads in a process that forks."""


class Zygote:
    """A running zygote. `control` becomes readable when it has something to report, or has died.

    Raises:
        OSError: it can't be started.
    """

    def __init__(self, memory_bytes: int, preload: Sequence[str]) -> None:
        self.control, theirs = socket.socketpair()
        self._inbox = Inbox()
        self._failure = ""
        paths = [path for path in sys.path if isinstance(path, str)]
        arguments = {"control": theirs.fileno(), "memory_bytes": memory_bytes, "preload": list(preload)}
        environment = {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", BOOTSTRAP, json.dumps(paths), json.dumps(arguments)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env=environment | FIXED_ENVIRONMENT,
                start_new_session=True,  # an interrupt typed at the terminal isn't meant for it
            )

    def fork(self, number: int, link: socket.socket) -> None:
        """Have a worker forked that serves `link`."""
        self._order({"fork": number}, link.fileno())

    def end(self, number: int) -> None:
        """Have a worker killed, if it isn't dead, and its status reported."""
        self._order({"end": number})

    def reports(self) -> list[tuple[int, int]] | None:
        """(number, wait status) of the workers that have ended; None when the zygote has died."""
        try:
            data = self.control.recv(1 << 16)
        except ConnectionResetError:  # it died with orders unread
            return None
        if not data:
            return None
        ended = []
        for report in self._inbox.feed(data):
            if "failed" in report:
                self._failure = report["failed"]
            else:
                ended.append((report["ended"], report["status"]))
        return ended

    def kill(self, reason: str) -> None:
        """At once; its workers die with it."""
        self._failure = reason
        self._process.kill()

    def stop(self) -> str:
        """Let it kill its workers and exit, or make it; why it ended."""
        self.control.close()
        try:
            status = self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait()
        return self._failure or f"the process that forks the workers died, exit status {status}"

    def _order(self, order: dict[str, int], *descriptors: int) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # its death is noticed by reading
            socket.send_fds(self.control, [frame(order)], descriptors)

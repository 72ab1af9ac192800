"""How the benchmark talks to the programs that it compares: each runs in a process and an environment of its own, gets
a JSON object a line and gives one back. So that they can take turns, a worker stays and waits."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

Message = dict[str, Any]
BENCHMARKS = Path(__file__).parents[1]


class Channel:
    """The worker's end. What libraries print goes to standard error."""

    def __init__(self) -> None:
        self._out = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)

    def requests(self) -> Iterator[Message]:
        for line in sys.stdin:
            yield json.loads(line)

    def answer(self, message: Message) -> None:
        """With this process's peak memory, unless the job says otherwise."""
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps({"peak_bytes": peak} | message), file=self._out, flush=True)

    def serve(self, jobs: dict[str, Callable[..., Message]]) -> None:
        """Answer every request by the job that its `do` names; the time it took stands in `seconds`, unless the job
        says how long what counts took."""
        for request in self.requests():
            job = jobs[request.pop("do")]
            started = time.perf_counter()
            done = job(**request)
            self.answer({"seconds": time.perf_counter() - started} | done)


class Worker:
    """The benchmark's end."""

    def __init__(self, python: Path, peer: str, log: Path, **variables: str) -> None:
        self._log = log.open("a")
        everyone = {"PYTHONPATH": str(BENCHMARKS), "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
        self._process = subprocess.Popen(
            [python, "-m", f"peers.{peer}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env=os.environ | everyone | variables,
        )
        self._name = f"{peer} ({log})"

    def ask(self, **request: Any) -> Message:
        """Raises RuntimeError when the worker has died."""
        assert self._process.stdin and self._process.stdout
        print(json.dumps(request), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._name} has ended: its log says why")
        return json.loads(line)

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()

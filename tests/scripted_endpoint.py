"""An endpoint on loopback that speaks OpenAI's protocol and fails as it is told to."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKENS_A_REPLY = 100


@dataclass(frozen=True)
class Answer:
    """What the endpoint does with one request: wait, then answer, or cut the connection."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    cut: bool = False


@dataclass
class Endpoint:
    """What the endpoint was asked, and how many requests stood open at once at most."""

    url: str
    asked: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    open: int = 0
    most_open: int = 0


def ticket_of(body: dict[str, Any]) -> str:
    found = re.findall(r'"ticket": "(\w+)"', body["messages"][-1]["content"])
    assert found
    return str(found[-1])


def grading(ticket: str, *grades: Any, rationale: Any = "It tries.") -> str:
    """A judge's reply, grades as given; one grade stands for all four."""
    names = ("diversity", "depth", "novelty", "persistence")
    values = grades * 4 if len(grades) == 1 else grades
    return json.dumps({"ticket": ticket, "rationale": rationale} | dict(zip(names, values, strict=True)))


def completion(content: Any, usage: Any = None) -> bytes:
    usage = {"total_tokens": TOKENS_A_REPLY} if usage is None else usage
    return json.dumps({"choices": [{"message": {"role": "assistant", "content": content}}], "usage": usage}).encode()


def graded(body: dict[str, Any], *grades: Any) -> Answer:
    return Answer(completion(grading(ticket_of(body), *grades)))


@contextmanager
def endpoint(script: Callable[[int, dict[str, Any]], Answer]) -> Iterator[Endpoint]:
    """Serve `script(number of the request, its body)` until the block ends."""
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                number = len(seen.asked)
                seen.asked.append(body)
                seen.headers.append({name.lower(): value for name, value in self.headers.items()})
                seen.times.append(time.monotonic())
                seen.open += 1
                seen.most_open = max(seen.open, seen.most_open)
            answer = script(number, body)
            time.sleep(answer.seconds)
            with lock:
                seen.open -= 1
            if answer.cut:
                self.close_connection = True
                return
            self.send_response(answer.status)
            for name, value in ({"Content-Length": str(len(answer.body))} | answer.headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, *_: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:
            """A client that has hung up is part of the script."""

    server = Server(("127.0.0.1", 0), Handler)
    seen = Endpoint(f"http://127.0.0.1:{server.server_port}/v1")
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield seen
    finally:
        server.shutdown()
        server.server_close()

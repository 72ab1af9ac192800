"""The page of a run while it trains, served on loopback: it is built again when the run has got further, and the
browser is told to load it."""

from __future__ import annotations

import json
import secrets
import sys
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock
from urllib.parse import parse_qs, urlsplit

from rlsp.errors import InputError
from rlsp.report.page import render
from rlsp.runs import Run

HOST = "127.0.0.1"
RESTS = 10.0
TRIES = 3
WATCHED = ("manifest.json", "analysis.json", "sft/metrics.jsonl", "rl/metrics.jsonl", "rl/alarms.jsonl")
"""What grows or changes while a run goes on."""


class Watched:
    """The newest page of a run. It is built by one thread at a time, and then not again for RESTS times as long as that
    took: the run needs the machine, too."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self._lock = Lock()
        self._version, self._page, self._rests_until, self._failures = "", "", 0.0, 0

    def version(self) -> str:
        """Another one when the run has got further and its page may be built again."""
        return self._version if time.monotonic() < self._rests_until else self._state()

    def page(self) -> str:
        """The HTML. Raises InputError when a file of the run can't be read, TRIES times in a row once there is a page:
        a line may be half written."""
        with self._lock:
            version = self.version()
            if version != self._version or not self._page:
                began = time.monotonic()
                try:
                    self._page, self._version = render(self.run, live=version), version
                except InputError:
                    self._failures += 1
                    if not self._page or self._failures >= TRIES:
                        raise
                    return self._page
                self._failures = 0
                self._rests_until = time.monotonic() + RESTS * (time.monotonic() - began)
            return self._page

    def _state(self) -> str:
        stats = [path.stat() for name in WATCHED if (path := self.run.path(name)).is_file()]
        return "-".join(f"{each.st_mtime_ns:x}.{each.st_size:x}" for each in stats)


class Server(ThreadingHTTPServer):
    """Serves one run's page to whoever knows the token.

    Args:
        port: 0 takes a free one.

    Raises:
        InputError: the port is taken.
    """

    daemon_threads = True

    def __init__(self, run: Run, port: int = 0) -> None:
        self.watched, self.token = Watched(run), secrets.token_urlsafe(16)
        try:
            super().__init__((HOST, port), Handler)
        except OSError as error:
            raise InputError(f"port {port} can't be used ({error.strerror}): give another --port, or none") from None

    def handle_error(self, request: object, client_address: object) -> None:
        """A browser that leaves in the middle is no error; anything else is shown."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]

    @property
    def address(self) -> str:
        return f"http://{HOST}:{self.server_port}/?token={self.token}"


class Handler(BaseHTTPRequestHandler):
    """`/` is the page, `/version` its version; both need the token, and the Host that a browser sends for it: a name
    that somebody else points at this machine gets nothing."""

    server: Server
    server_version, sys_version = "rlsp", ""

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        given = parse_qs(parts.query).get("token", [""])[0]
        hosts = {f"{name}:{self.server.server_port}" for name in (HOST, "localhost")}
        if self.headers.get("Host") not in hosts or not secrets.compare_digest(
            given.encode(), self.server.token.encode()
        ):
            self._answer(HTTPStatus.FORBIDDEN, "text/plain", "open the address that rlsp watch has printed\n")
        elif parts.path == "/":
            try:
                self._answer(HTTPStatus.OK, "text/html", self.server.watched.page())
            except InputError as error:
                self._answer(HTTPStatus.INTERNAL_SERVER_ERROR, "text/plain", f"{error}\n")
        elif parts.path == "/version":
            self._answer(HTTPStatus.OK, "application/json", json.dumps(self.server.watched.version()))
        else:
            self._answer(HTTPStatus.NOT_FOUND, "text/plain", "there is / and /version\n")

    def _answer(self, status: HTTPStatus, kind: str, text: str) -> None:
        content = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the terminal shows the training."""

"""The page of a run on loopback: only for the token and for this machine's own names, and newer when the run is."""

from __future__ import annotations

import http.client
import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from rlsp.errors import InputError
from rlsp.files import JsonLines
from rlsp.report import live
from rlsp.report.live import Server
from rlsp.runs import Run
from tests.test_report import add_metrics, run

__all__ = ["run"]


@pytest.fixture
def server(run: Run, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(live, "RESTS", 0.0)
    add_metrics(run, 3)
    server = Server(run)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def get(server: Server, path: str, token: str | None = None, host: str | None = None) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=30)
    query = f"?token={server.token if token is None else token}"
    connection.request("GET", path + query, headers={"Host": host or f"127.0.0.1:{server.server_port}"})
    response = connection.getresponse()
    return response.status, response.read().decode()


def test_it_listens_on_loopback_alone(server: Server) -> None:
    assert server.server_address[0] == "127.0.0.1"
    assert server.address == f"http://127.0.0.1:{server.server_port}/?token={server.token}"


def test_the_page_asks_nobody_but_its_server(server: Server) -> None:
    status, html = get(server, "/")
    assert status == 200
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html)
    assert (
        policy is not None and "connect-src &#39;self&#39;" in policy[1] and "default-src &#39;none&#39;" in policy[1]
    )
    assert "Live: this page follows the run." in html


@pytest.mark.parametrize("path", ["/", "/version", "/elsewhere"])
@pytest.mark.parametrize(("token", "host"), [("", None), ("wrong", None), ("ü", None), (None, "evil.example:80")])
def test_nobody_else_gets_anything(server: Server, path: str, token: str | None, host: str | None) -> None:
    status, text = get(server, path, token if token != "ü" else "%C3%BC", host)
    assert status == 403 and "html" not in text


def test_there_is_nothing_else(server: Server) -> None:
    assert get(server, "/manifest.json")[0] == 404


def test_the_version_changes_when_the_run_gets_further(server: Server) -> None:
    before = json.loads(get(server, "/version")[1])
    assert json.loads(get(server, "/version")[1]) == before
    html = get(server, "/")[1]
    assert f'data-live="{before}"' in html
    JsonLines(server.watched.run.path("rl", "metrics.jsonl")).write({"step": 4, "accuracy": 0.9})
    after = json.loads(get(server, "/version")[1])
    assert after != before
    assert f'data-live="{after}"' in get(server, "/")[1]


def test_a_page_is_not_built_again_at_once(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "RESTS", 1e6)
    page = get(server, "/")[1]
    JsonLines(server.watched.run.path("rl", "metrics.jsonl")).write({"step": 4, "accuracy": 0.9})
    assert json.loads(get(server, "/version")[1]) == re.findall(r'data-live="([^"]*)"', page)[0]
    assert get(server, "/")[1] == page


def test_a_broken_file_is_said_and_not_hidden(server: Server) -> None:
    path = server.watched.run.path("rl", "metrics.jsonl")
    path.write_text("{")
    status, text = get(server, "/")
    assert status == 500 and str(path) in text


def test_a_port_that_is_taken(server: Server) -> None:
    with pytest.raises(InputError, match="--port"):
        Server(server.watched.run, server.server_port)


def test_watching_on_a_log_file_says_each_step_and_ends_by_an_interrupt(run: Run) -> None:
    add_metrics(run, 2)
    command = [sys.executable, "-m", "rlsp", "watch", str(run.directory)]
    watching = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert watching.stdout is not None
    assert watching.stdout.readline().startswith("no page: ")
    lines = [watching.stdout.readline() for _ in range(2)]
    watching.send_signal(signal.SIGINT)
    rest, _ = watching.communicate(timeout=30)
    assert [line.split("  ")[0] for line in lines] == ["step 1", "step 2"]
    assert "no longer watched" in rest and watching.returncode == 0
    assert "token=" not in "".join(lines) + rest

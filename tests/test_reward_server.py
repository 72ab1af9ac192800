"""The reward server as a process: its shapes, what it refuses, and how it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from rlsp.config import Recipe, load
from rlsp.files import write_records
from rlsp.integrations.scorer import Answered, Scorer
from rlsp.integrations.texts import Texts
from rlsp.models import load_tokenizer
from rlsp.tasks.countdown import problem
from rlsp.types import to_json

TOKEN = "a-token-of-the-tests"
PROBLEM = problem([3, 7, 12], 33, 1)
RIGHT, WRONG = "3 * 7 = 21, 21 + 12 = 33", "3 + 7 = 10, 10 + 12 = 22"


class Served:
    """A running server."""

    def __init__(self, *arguments: str, **environment: str) -> None:
        command = [sys.executable, "-m", "rlsp", "serve-reward", *arguments, "--port", "0"]
        given = os.environ | {"RLSP_REWARD_TOKEN": TOKEN, "PYTHONUNBUFFERED": "1"} | environment
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=given)
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        found = re.search(r"127\.0\.0\.1:(\d+)/", line)
        assert found is not None, line + (self.process.stderr.read() if self.process.stderr else "")
        self.port = int(found[1])

    def ask(self, path: str, body: Any = None, token: str | None = TOKEN, method: str = "POST") -> tuple[int, Any]:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=120)
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        connection.request(method, path, content, headers)
        response = connection.getresponse()
        text = response.read().decode()
        connection.close()
        return response.status, json.loads(text) if "json" in response.headers["content-type"] else text

    def end(self) -> int:
        """Its exit code, once it has said that it has ended."""
        self.process.send_signal(signal.SIGTERM)
        rest, _ = self.process.communicate(timeout=60)
        assert "has ended" in rest
        return self.process.returncode


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    problems = tmp_path_factory.mktemp("problems") / "problems.jsonl"
    write_records(problems, [PROBLEM])
    served = Served("nano", "--problems", str(problems))
    yield served
    assert served.end() == 0


def expected(*texts: str) -> list[Any]:
    recipe = load(Recipe, "nano", [])
    reader = Texts(recipe, load_tokenizer("nano"))
    return Scorer(recipe).score([reader.answered(PROBLEM, text) for text in texts])


def test_scores_are_the_scorers(served: Served) -> None:
    items = [{"problem": to_json(PROBLEM), "response": text} for text in (RIGHT, WRONG)]
    status, answer = served.ask("/score", {"items": items})
    assert status == 200
    assert answer["scores"] == json.loads(json.dumps([to_json(each) for each in expected(RIGHT, WRONG)]))
    assert [each["verdict"]["correct"] for each in answer["scores"]] == [True, False]


@pytest.mark.parametrize("path", ["/get_reward", "/"])
@pytest.mark.parametrize("labelled", [True, False])
def test_the_shapes_of_other_trainers(served: Served, path: str, labelled: bool) -> None:
    """OpenRLHF's with labels, the paper's without."""
    prompt = PROBLEM.question + "\n"
    body: dict[str, Any] = {"query": [prompt + RIGHT, prompt + WRONG], "prompts": [prompt] * 2}
    if labelled:
        body["labels"] = [json.dumps(to_json(PROBLEM))] * 2
    status, answer = served.ask(path, body)
    assert status == 200, answer
    assert answer["rewards"] == [each.total for each in expected(RIGHT, WRONG)]
    assert answer["scores"] == [1.0, 0.0]
    assert answer["extra_logs"]["explore"] == [each.exploration.value for each in expected(RIGHT, WRONG)]


def test_a_response_that_fills_the_budget_was_cut_off() -> None:
    recipe = load(Recipe, "nano", ["sampling.max_response_tokens=20"])
    tokenizer = load_tokenizer("nano")
    reader = Texts(recipe, tokenizer)
    long = " ".join(["3 * 7 = 21,"] * 9)
    assert reader.answered(PROBLEM, long) == Answered(PROBLEM, long, tuple(tokenizer(long).input_ids), True)
    ended = reader.answered(PROBLEM, RIGHT + tokenizer.eos_token)
    assert ended.text == RIGHT and not ended.truncated and ended.ids[-1] == tokenizer.eos_token_id
    assert ended == reader.answered(PROBLEM, RIGHT)
    assert not reader.answered(PROBLEM, long + tokenizer.eos_token).truncated


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"{", 400, "Invalid JSON"),
        (b"\xff\xfe", 400, ""),
        ({}, 400, "items: Field required"),
        ({"items": []}, 400, "at least 1"),
        ({"items": [{"response": "x"}]}, 400, "give either the problem or its question"),
        ({"items": [{"response": "x", "question": "What is 1 + 1?", "answer": "2"}]}, 400, "needs the whole problem"),
        ({"items": [{"response": 3, "problem": to_json(PROBLEM)}]}, 400, "items.0.response"),
        ({"items": [{"response": "x", "problem": {"id": 1}}]}, 400, "not a Problem"),
        (
            {"items": [{"response": "x", "problem": to_json(PROBLEM) | {"task": "os:system"}}]},
            400,
            "this reward judges",
        ),
        ({"items": [{"response": "x", "problem": to_json(PROBLEM)}] * 5000}, 400, "at most 4096"),
        ({"items": [{"response": "x" * (33 << 20), "problem": to_json(PROBLEM)}]}, 413, "32 MiB"),
        ({"items": [{"response": "x", "problem": to_json(PROBLEM)}], "progress": 2}, 400, "progress"),
    ],
)
def test_what_cannot_be_scored_is_told(served: Served, body: Any, status: int, words: str) -> None:
    got, answer = served.ask("/score", body)
    assert got == status and words in answer["error"]
    assert served.ask("/score", {"items": [{"problem": to_json(PROBLEM), "response": RIGHT}]})[0] == 200


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"query": ["a"], "prompts": ["a", "b"]}, "not as many"),
        ({"query": ["other text"], "prompts": ["prompt"]}, "does not begin with its prompt"),
        ({"query": ["Use 1, 2 to make 3.\nx"], "prompts": ["Use 1, 2 to make 3.\n"]}, "no problem asks"),
        ({"query": ["a b"], "prompts": ["a"], "labels": ["{"]}, "the label is no JSON"),
        ({"query": ["a b"], "prompts": ["a"], "labels": ["33"]}, "needs the whole problem"),
        ({"query": ["a b"], "prompts": ["a"], "labels": ['{"id": "x"}']}, "not a Problem"),
    ],
)
def test_queries_that_nobody_can_judge(served: Served, body: Any, words: str) -> None:
    status, answer = served.ask("/get_reward", body)
    assert status == 400 and words in answer["error"]


def test_the_token_guards_everything_but_health(served: Served) -> None:
    for path, method in (("/score", "POST"), ("/get_reward", "POST"), ("/", "POST"), ("/metrics", "GET")):
        for token in (None, "wrong", TOKEN + "x", TOKEN[:-1]):
            assert served.ask(path, {} if method == "POST" else None, token, method)[0] == 401
    assert served.ask(f"/metrics?token={TOKEN}", None, None, "GET")[0] == 200
    status, answer = served.ask("/health", None, None, "GET")
    assert status == 200 and answer == {"status": "ok", "recipe": "nano", "queued": 0}


def test_metrics_count_what_was_judged(served: Served) -> None:
    served.ask("/score", {"items": [{"problem": to_json(PROBLEM), "response": RIGHT}] * 3})
    _, text = served.ask("/metrics", None, TOKEN, "GET")
    found = re.search(r'rlsp_verdicts_total\{reason="match"\} (\d+)', text)
    assert found is not None and int(found[1]) >= 3
    assert 'rlsp_requests_total{status="200"}' in text and "rlsp_queued 0.0" in text


def test_what_is_being_judged_is_answered_before_it_ends() -> None:
    served = Served("nano")
    items = [{"problem": to_json(PROBLEM), "response": RIGHT}] * 4000
    with ThreadPoolExecutor(1) as client:
        asked = client.submit(served.ask, "/score", {"items": items})
        while served.ask("/health", None, None, "GET")[1]["queued"] == 0 and not asked.done():
            pass
        assert served.end() == 0
        status, answer = asked.result(60)
    assert status == 200 and len(answer["scores"]) == 4000


@pytest.mark.parametrize(
    ("token", "words"), [("short", "at least 16"), ("", "set RLSP_REWARD_TOKEN"), ("ü" * 20, "printable ASCII")]
)
def test_no_server_without_a_token_that_holds(token: str, words: str) -> None:
    command = [sys.executable, "-m", "rlsp", "serve-reward", "nano", "--port", "0"]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, env=os.environ | {"RLSP_REWARD_TOKEN": token}
    )
    assert done.returncode == 2 and words in " ".join(done.stderr.split())


def test_problems_of_another_schema_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "problems.jsonl"
    path.write_text('{"question": "What is 1 + 1?"}\n')
    command = [sys.executable, "-m", "rlsp", "serve-reward", "nano", "--port", "0", "--problems", str(path)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, env=os.environ | {"RLSP_REWARD_TOKEN": TOKEN}
    )
    assert done.returncode == 2 and "not a Problem" in done.stderr

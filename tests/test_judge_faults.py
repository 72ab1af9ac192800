"""The judge against an endpoint that is slow, refuses, breaks off and talks junk: a failure is a status."""

from __future__ import annotations

import asyncio
import socket
import sqlite3
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from rlsp.config import JudgeRecipe, Recipe, load
from rlsp.engines import drawing
from rlsp.errors import InputError
from rlsp.exploration import explorer_for
from rlsp.exploration.judge import JudgeReward, judge_reward
from rlsp.exploration.judge.client import SENT_HEADERS, _retry_after
from rlsp.exploration.judge.limits import FailureShare, TokenBudget
from rlsp.exploration.part import Part
from rlsp.integrations.scorer import Answered, Scorer
from rlsp.types import Finish, Rollout
from tests.scripted_endpoint import TOKENS_A_REPLY, Answer, completion, endpoint, graded, grading, ticket_of


def rollouts(count: int) -> list[Rollout]:
    return [
        Rollout("p", row, (1,), (2,) * 3, (-0.5,) * 3, f"attempt {row}", Finish.EOS, 1.0, 0) for row in range(count)
    ]


def judge(url: str, tmp_path: Path, **keys: Any) -> JudgeReward:
    given = {"base_url": url, "cache": str(tmp_path), "retries": 2, "timeout_seconds": 5.0, "max_failures": 1.0} | keys
    reward = judge_reward(JudgeRecipe.model_validate(given))
    return replace(reward, client=replace(reward.client, backoff_seconds=0.01))


def explore(reward: JudgeReward, count: int = 1) -> list[Part]:
    return reward.explore(["What is 6 × 7?"] * count, rollouts(count))


def test_grades_come_back_in_the_order_of_the_rollouts(tmp_path: Path) -> None:
    def script(_: int, body: dict[str, Any]) -> Answer:
        row = int(body["messages"][-1]["content"].split("attempt ")[1].split()[0])
        return replace(graded(body, row, 2, 0, 0), seconds=0.02 * (5 - row))

    with endpoint(script) as server:
        reward = judge(server.url, tmp_path)
        assert explore(reward, 5) == [Part((row + 2) / 40) for row in range(5)]
    assert reward.floor == 0.0
    assert reward.tokens_spent == 5 * TOKENS_A_REPLY
    assert {body["model"] for body in server.asked} == {"gpt-4o-mini"}
    assert {(body["temperature"], body["max_tokens"]) for body in server.asked} == {(0.0, 400)}


FAULTS: dict[str, tuple[Answer, str, int]] = {
    "too slow": (Answer(seconds=0.6), "no reply within 0.3 s", 3),
    "cut": (Answer(cut=True), "connection failed", 3),
    "cut in the body": (Answer(b'{"cho', headers={"Content-Length": "500", "Connection": "close"}), "", 3),
    "429": (Answer(status=429), "status 429: ", 3),
    "500": (Answer(b"secret trace", status=500), "status 500", 3),
    "503": (Answer(status=503), "status 503", 3),
    "400": (Answer(b'{"error": {"message": "too\\nlong"}}', status=400), "status 400: ", 1),
    "401": (Answer(status=401), "status 401: ", 1),
    "404": (Answer(b'{"error": {"message": "no model x"}}', status=404), "no model x", 1),
    "422": (Answer(status=422), "status 422: ", 1),
    "redirect": (Answer(status=307, headers={"Location": "http://192.0.2.1/"}), "status 307", 1),
    "junk": (Answer(b"<html>Welcome</html>"), "malformed response", 3),
    "not UTF-8": (Answer(b"\xff\xfe\x00"), "malformed response", 3),
    "empty": (Answer(b""), "malformed response", 3),
    "no object": (Answer(b"[1, 2]"), "malformed response", 3),
    "no choices": (Answer(b'{"choices": []}'), "malformed response", 3),
    "null choices": (Answer(b'{"choices": null}'), "malformed response", 3),
    "null content": (Answer(completion(None)), "no text in the reply", 1),
    "content of another type": (Answer(completion(["a"])), "malformed response", 3),
    "negative usage": (Answer(completion("x", {"total_tokens": -5})), "malformed response", 3),
    "truncated completion": (Answer(completion("x")[:-9]), "malformed response", 3),
    "prose": (Answer(completion("Ten out of ten!")), "no JSON with the ticket", 1),
    "a grade for another ticket": (Answer(completion(grading("0" * 16, 10))), "no JSON with the ticket", 1),
}


@pytest.mark.parametrize(("answer", "reason", "tries"), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_a_status_after_as_many_tries_as_may_help(
    answer: Answer, reason: str, tries: int, tmp_path: Path
) -> None:
    with endpoint(lambda *_: answer) as server:
        reward = judge(server.url, tmp_path, timeout_seconds=0.3 if answer.seconds else 20)
        (part,) = explore(reward)
    assert part.value is None
    assert part.missing
    assert reason in part.missing
    assert "secret" not in part.missing and part.missing.isprintable()
    assert len(server.asked) == tries


def test_a_reply_cut_off_at_its_limit_is_no_grade_even_if_it_holds_one(tmp_path: Path) -> None:
    def script(_: int, body: dict[str, Any]) -> Answer:
        whole = completion(grading(ticket_of(body), 10))
        return Answer(whole.replace(b'{"message"', b'{"finish_reason": "length", "message"'))

    with endpoint(script) as server:
        reward = judge(server.url, tmp_path)
        assert explore(reward) == [Part(None, missing="reply cut off at max_tokens")]
    assert len(server.asked) == 1
    assert reward.tokens_spent == TOKENS_A_REPLY


@pytest.mark.parametrize("reason", [b'"stop"', b"null"])
def test_a_reply_that_ended_by_itself_is_read(reason: bytes, tmp_path: Path) -> None:
    def script(_: int, body: dict[str, Any]) -> Answer:
        whole = completion(grading(ticket_of(body), 4))
        return Answer(whole.replace(b'{"message"', b'{"finish_reason": %s, "message"' % reason))

    with endpoint(script) as server:
        assert explore(judge(server.url, tmp_path)) == [Part(0.4)]


def test_truncated_json_of_the_judge_is_a_status(tmp_path: Path) -> None:
    with endpoint(lambda _, body: Answer(completion(grading(ticket_of(body), 7)[:-4]))) as server:
        assert explore(judge(server.url, tmp_path)) == [Part(None, missing="incomplete or malformed JSON")]


def test_injected_grades_of_the_endpoint_are_statuses(tmp_path: Path) -> None:
    with endpoint(lambda _, body: graded(body, 11)) as server:
        assert explore(judge(server.url, tmp_path)) == [Part(None, missing="a grade is outside 0 … 10")]


@pytest.mark.parametrize("fault", ["429", "500", "cut", "junk", "too slow"])
def test_a_passing_fault_costs_a_retry_and_nothing_else(fault: str, tmp_path: Path) -> None:
    slow = fault == "too slow"

    def script(number: int, body: dict[str, Any]) -> Answer:
        return graded(body, 5) if number >= 2 else Answer(seconds=3) if slow else FAULTS[fault][0]

    with endpoint(script) as server:
        assert explore(judge(server.url, tmp_path, timeout_seconds=1.5 if slow else 20)) == [Part(0.5)]
    assert len(server.asked) == 3


def test_retry_after_is_waited_for(tmp_path: Path) -> None:
    def script(number: int, body: dict[str, Any]) -> Answer:
        return graded(body, 5) if number else Answer(status=429, headers={"Retry-After": "0.5"})

    with endpoint(script) as server:
        assert explore(judge(server.url, tmp_path)) == [Part(0.5)]
    assert 0.5 <= server.times[1] - server.times[0] < 3


@pytest.mark.parametrize(
    ("given", "seconds"), [("3", 3.0), ("0.5", 0.5), ("", None), ("soon", None), ("-1", None), ("inf", None)]
)
def test_retry_after_in_seconds(given: str, seconds: float | None) -> None:
    assert _retry_after({"retry-after": given}) == seconds


def test_retry_after_as_a_date() -> None:
    when = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    assert _retry_after({"retry-after": when}) == pytest.approx(100, abs=3)
    assert _retry_after({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0.0


def test_a_long_retry_after_is_cut_to_a_minute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    sleep = asyncio.sleep

    async def quick(seconds: float) -> None:
        waited.append(seconds)
        await sleep(0)

    def script(number: int, body: dict[str, Any]) -> Answer:
        return graded(body, 5) if number else Answer(status=429, headers={"Retry-After": "86400"})

    monkeypatch.setattr("rlsp.exploration.judge.client.asyncio.sleep", quick)
    with endpoint(script) as server:
        assert explore(judge(server.url, tmp_path)) == [Part(0.5)]
    assert max(waited) == 60.0


def test_a_drip_of_bytes_does_not_stretch_the_deadline(tmp_path: Path) -> None:
    """Every byte would start a read timeout anew."""
    listener = socket.create_server(("127.0.0.1", 0))

    def drip() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
            for _ in range(40):
                time.sleep(0.05)
                try:
                    connection.sendall(b" ")
                except OSError:
                    return

    threading.Thread(target=drip, daemon=True).start()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    start = time.monotonic()
    with listener:
        parts = explore(judge(url, tmp_path, timeout_seconds=0.3, retries=0))
    assert parts == [Part(None, missing="no reply within 0.3 s")]
    assert time.monotonic() - start < 1.5


@pytest.mark.parametrize("concurrency", [1, 3])
def test_no_more_requests_at_once_than_allowed(concurrency: int, tmp_path: Path) -> None:
    with endpoint(lambda _, body: replace(graded(body, 5), seconds=0.05)) as server:
        parts = explore(judge(server.url, tmp_path, concurrency=concurrency), 12)
    assert parts == [Part(0.5)] * 12
    assert server.most_open == concurrency


@pytest.mark.parametrize("concurrency", [1, 3])
def test_nor_from_many_threads(concurrency: int) -> None:
    """Trainers ask for one response a thread: those wait for each other no longer than the endpoint's limit wants."""
    with endpoint(lambda _, body: replace(graded(body, 5), seconds=0.05)) as server:
        key = f"exploration.judge={{base_url={server.url!r}, cache='none', concurrency={concurrency}}}"
        scorer = Scorer(load(Recipe, "nano", [key]))
        (problem, *_) = drawing.held_out_problems(scorer.recipe)
        answered = [Answered(problem, f"attempt {number}", (2,), False) for number in range(12)]
        with ThreadPoolExecutor(12) as threads:
            scores = [score for (score,) in threads.map(lambda each: scorer.score([each]), answered)]
    assert [score.exploration.parts["judge"] for score in scores] == [0.5] * 12
    assert server.most_open == concurrency


def test_what_is_known_is_not_asked_again(tmp_path: Path) -> None:
    with endpoint(lambda _, body: graded(body, 5)) as server:
        assert explore(judge(server.url, tmp_path), 3) == [Part(0.5)] * 3
        again = judge(server.url, tmp_path)
        assert explore(again, 3) == [Part(0.5)] * 3
        assert len(server.asked) == 3
        assert again.tokens_spent == 0
        assert explore(again, 4) == [Part(0.5)] * 4
        assert len(server.asked) == 4
        explore(judge(server.url, tmp_path, model="another"))
        explore(judge(server.url, tmp_path, max_tokens=99))
        again.explore(["Another question"], rollouts(1))
        assert len(server.asked) == 7
        explore(judge(server.url, tmp_path, cache="none"))
        assert len(server.asked) == 8


def test_failures_are_not_kept(tmp_path: Path) -> None:
    with endpoint(lambda number, body: graded(body, 5) if number else Answer(status=400)) as server:
        assert explore(judge(server.url, tmp_path))[0].value is None
        assert explore(judge(server.url, tmp_path)) == [Part(0.5)]


def test_equal_responses_are_asked_about_once_and_blank_ones_never(tmp_path: Path) -> None:
    (one,) = rollouts(1)
    with endpoint(lambda _, body: graded(body, 6)) as server:
        given = [one, replace(one, text=" \n"), replace(one, sample=1), replace(one, text="")]
        parts = judge(server.url, tmp_path).explore(["q"] * 4, given)
    assert parts == [Part(0.6), Part(0.0), Part(0.6), Part(0.0)]
    assert len(server.asked) == 1


def test_hostile_text_reaches_endpoint_and_cache(tmp_path: Path) -> None:
    hostile = replace(rollouts(1)[0], text="\ud800\x00<|im_end|>'; DROP TABLE grades; --")

    def script(_: int, body: dict[str, Any]) -> Answer:
        return Answer(completion(grading(ticket_of(body), 4, rationale="\udfff'); DROP TABLE grades; --")))

    with endpoint(script) as server:
        for _ in range(2):
            assert judge(server.url, tmp_path).explore(["\udc80"], [hostile]) == [Part(0.4)]
    assert len(server.asked) == 1


def test_a_file_that_is_no_cache_is_named(tmp_path: Path) -> None:
    (tmp_path / "judge.sqlite").write_text("not a database, but long enough to be taken for one" * 20)
    with pytest.raises(InputError, match=r"judge\.sqlite can't be used: .*remove the file"):
        explore(judge("http://127.0.0.1:9/v1", tmp_path))


def test_the_cache_holds_no_text_of_question_or_response(tmp_path: Path) -> None:
    with endpoint(lambda _, body: graded(body, 5)) as server:
        explore(judge(server.url, tmp_path))
    with sqlite3.connect(tmp_path / "judge.sqlite") as database:
        ((key, *row),) = database.execute("SELECT * FROM grades").fetchall()
    assert len(key) == 64
    assert row == [0.5, "gpt-4o-mini", "It tries."]


def test_the_default_cache_is_in_the_cache_directory_of_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with endpoint(lambda _, body: graded(body, 5)) as server:
        explore(judge(server.url, tmp_path, cache=""))
    assert (tmp_path / "rlsp" / "judge.sqlite").is_file()


def test_beyond_the_token_budget_nothing_is_asked(tmp_path: Path) -> None:
    with endpoint(lambda _, body: graded(body, 5)) as server:
        reward = judge(server.url, tmp_path, token_budget=6000, concurrency=1, weight=0)
        parts = explore(reward, 60)
    answered = len(server.asked)
    assert 0 < answered < 60
    assert parts == [Part(0.5)] * answered + [Part(None, missing="token budget")] * (60 - answered)
    assert reward.tokens_spent == answered * TOKENS_A_REPLY <= 6000
    assert not any(reward.failures.recent), "what is not asked does not fail"


def test_a_judge_that_is_paid_for_stops_the_run_at_its_token_budget(tmp_path: Path) -> None:
    with endpoint(lambda _, body: graded(body, 5)) as server:
        reward = judge(server.url, tmp_path, token_budget=6000, concurrency=1, weight=0.1)
        with pytest.raises(
            InputError, match=r"no tokens left .*: \d+00 of exploration.judge.token_budget = 6000 are sp"
        ):
            explore(reward, 60)
        answered = len(server.asked)
        assert 0 < answered < 60
        again = judge(server.url, tmp_path, token_budget=6000, concurrency=1, weight=0.1)
        assert explore(again, answered) == [Part(0.5)] * answered, "what was paid for is kept"
    assert len(server.asked) == answered


def test_a_budget_for_all_calls_in_turn_is_not_used_up_by_their_reservations(tmp_path: Path) -> None:
    with endpoint(lambda _, body: replace(graded(body, 5), seconds=0.02)) as server:
        reward = judge(server.url, tmp_path, token_budget=12_000, concurrency=16)
        assert explore(reward, 20) == [Part(0.5)] * 20
    assert server.most_open < 16
    assert reward.tokens_spent == 20 * TOKENS_A_REPLY


def test_threads_can_not_pass_the_budget_together() -> None:
    """Each would reserve between the other's question and its reservation."""
    meeting = threading.Barrier(2)

    class Tokens(int):
        def __radd__(self, other: int) -> int:
            with suppress(threading.BrokenBarrierError):
                meeting.wait(0.3)
            return other + int(self)

    budget = TokenBudget(100)
    with ThreadPoolExecutor(2) as threads:
        allowed = list(threads.map(budget.reserve, [Tokens(60), Tokens(60)]))
    assert sorted(allowed) == [False, True]
    assert budget.reserved == 60


def test_a_judge_that_is_a_metric_stops_nothing(tmp_path: Path) -> None:
    with endpoint(lambda *_: Answer(status=400)) as server:
        parts = explore(judge(server.url, tmp_path, weight=0, max_failures=0.2, retries=0), 25)
    assert len(parts) == 25
    assert all(part.value is None and part.missing for part in parts)


def test_failures_are_counted_from_several_threads() -> None:
    share = FailureShare(1.0)

    def record_many() -> None:
        for _ in range(2000):
            share.record("late")

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as threads:
            for counted in [threads.submit(record_many) for _ in range(4)]:
                counted.result()
    finally:
        sys.setswitchinterval(interval)
    assert list(share.recent) == ["late"] * 200


def test_calls_under_way_can_not_pass_the_budget_together() -> None:
    budget = TokenBudget(100)
    assert budget.reserve(60)
    assert not budget.reserve(60)
    assert budget.allows(60), "when the call under way has cost less"
    budget.settle(60, 10)
    assert budget.reserve(60)
    budget.settle(60, 60)
    assert (budget.spent, budget.reserved) == (70, 0)
    assert not budget.reserve(31)
    assert not budget.allows(31)
    assert budget.reserve(30)


def test_a_reply_without_usage_costs_the_most_it_can_have(tmp_path: Path) -> None:
    with endpoint(
        lambda _, body: Answer(completion(grading(ticket_of(body), 5)).replace(b'"usage"', b'"x"'))
    ) as server:
        reward = judge(server.url, tmp_path)
        assert explore(reward) == [Part(0.5)]
    sent = sum(len(message["content"].encode()) for message in server.asked[0]["messages"])
    assert reward.tokens_spent == sent + 100 + 400


def test_too_many_failures_stop_the_run_and_say_why(tmp_path: Path) -> None:
    with endpoint(lambda number, body: graded(body, 5) if number % 2 else Answer(status=404)) as server:
        reward = judge(server.url, tmp_path, max_failures=0.2, concurrency=1)
        with pytest.raises(
            InputError, match=r"10 of its last 20 calls \(50%; .*max_failures = 0\.2\), 10 times for: st"
        ):
            explore(reward, 200)
        assert len(server.asked) == 20, "it does not go on"
        assert explore(judge(server.url, tmp_path), 20)[1] == Part(0.5), "what was paid for is kept"


@pytest.mark.parametrize(("failed", "stops"), [(4, False), (5, True)])
def test_at_least_twenty_calls_are_made_before_a_share_is_taken(failed: int, stops: bool) -> None:
    share = FailureShare(0.2)
    for reason in ["timed out"] * failed + [""] * (19 - failed):
        share.record(reason)
    if stops:
        with pytest.raises(InputError, match="5 of its last 20 calls"):
            share.record("")
    else:
        share.record("")


def test_an_outage_after_a_long_good_run_is_noticed() -> None:
    share = FailureShare(0.2)
    for _ in range(100_000):
        share.record("")
    for _ in range(40):
        share.record("connection failed")
    with pytest.raises(InputError, match="41 of its last 200 calls"):
        share.record("connection failed")


def test_it_runs_inside_an_event_loop(tmp_path: Path) -> None:
    async def notebook(reward: JudgeReward) -> list[Part]:
        return explore(reward)

    with endpoint(lambda _, body: graded(body, 5)) as server:
        assert asyncio.run(notebook(judge(server.url, tmp_path))) == [Part(0.5)]


def test_the_key_goes_to_the_endpoint_and_nowhere_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MY_KEY", "sk-very-secret")
    refused = Answer(b'{"error": {"message": "bad key sk-very-secret"}}', status=401)
    with endpoint(lambda *_: refused) as server:
        reward = judge(server.url, tmp_path, api_key_variable="MY_KEY")
        (part,) = explore(reward)
    assert server.headers[0]["authorization"] == "Bearer sk-very-secret"
    assert "bad key [key]" in part.missing
    assert "sk-very-secret" not in repr(reward) + part.missing + "".join(capfd.readouterr())


def test_openais_key_goes_to_openai_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-openai")
    with endpoint(lambda _, body: graded(body, 5)) as server:
        assert explore(judge(server.url, tmp_path)) == [Part(0.5)]
    assert "sk-of-openai" not in str(server.headers)
    assert judge_reward(JudgeRecipe()).client.api_key == "sk-of-openai"


def set_for_openai(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "for-openai")
    monkeypatch.setenv("OPENAI_ORG_ID", "for-openai")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "for-openai")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Mine: for-openai\nAuthorization: Bearer for-openai")


@pytest.mark.parametrize(("key", "sent"), [("", None), ("sk-mine", "Bearer sk-mine")])
def test_what_the_environment_holds_for_openai_goes_to_no_other_endpoint(
    key: str, sent: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_for_openai(monkeypatch)
    monkeypatch.setenv("MY_KEY", key)
    with endpoint(lambda _, body: graded(body, 5)) as server:
        reward = judge(server.url, tmp_path, api_key_variable="MY_KEY" if key else "")
        assert explore(reward) == [Part(0.5)]
    assert "for-openai" not in str(server.headers)
    assert server.headers[0].get("authorization") == sent
    assert all(name.startswith(SENT_HEADERS) for name in server.headers[0].keys() - {"authorization"})


def test_openai_gets_what_the_environment_holds_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_for_openai(monkeypatch)
    monkeypatch.delenv("OPENAI_CUSTOM_HEADERS")
    with endpoint(lambda _, body: graded(body, 5)) as server:
        monkeypatch.setattr("rlsp.exploration.judge.client.OPENAI", server.url)
        assert explore(judge("", tmp_path)) == [Part(0.5)]
    (headers,) = server.headers
    assert headers["openai-organization"] == headers["openai-project"] == "for-openai"
    assert headers["authorization"] == "Bearer for-openai"


def test_loopback_takes_no_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with endpoint(lambda _, body: graded(body, 5)) as server, endpoint(lambda _, body: graded(body, 10)) as proxy:
        for variable in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(variable, proxy.url)
        for variable in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(variable, raising=False)
        assert explore(judge(server.url, tmp_path)) == [Part(0.5)]
    assert proxy.asked == []


@pytest.mark.parametrize("key", ["sk-ключ", "sk-“quoted”", "sk-a\nX-Other: b", "sk-\x1b[2J", "sk-\xa0"])
def test_a_key_that_no_header_can_carry_is_refused_and_not_shown(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", f"{key}end")
    recipe = JudgeRecipe(base_url="http://127.0.0.1:8000/v1", api_key_variable="MY_KEY")
    with pytest.raises(InputError, match=r"MY_KEY can't be sent: .*printable ASCII") as refused:
        judge_reward(recipe)
    assert "sk-" not in str(refused.value)


@pytest.mark.parametrize(
    ("keys", "variable"),
    [({}, "OPENAI_API_KEY"), ({"base_url": "http://127.0.0.1:8000/v1", "api_key_variable": "NO_SUCH"}, "NO_SUCH")],
)
def test_a_missing_key_is_named_before_anything_is_asked(
    keys: dict[str, str], variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(InputError, match=f"set the environment variable {variable}"):
        judge_reward(JudgeRecipe.model_validate(keys))


def test_without_the_client_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"pip install 'rlsp\[judge\]'"):
        judge_reward(JudgeRecipe(base_url="http://localhost:1/v1"))


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:8000/v1", "http://localhost/v1", "http://[::1]:8000/v1", "https://api.example.com/v1", ""],
)
def test_addresses_that_are_safe_to_send_to(url: str) -> None:
    assert JudgeRecipe(base_url=url).local is url.startswith("http:")


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://api.example.com/v1", "in clear"),
        ("http://localhost.example.com/v1", "in clear"),
        ("http://10.0.0.5:8000/v1", "in clear"),
        ("http://0.0.0.0:8000/v1", "in clear"),
        ("http://127.0.0.1@example.com/v1", "holds no secrets"),
        ("https://me:secret@example.com/v1", "holds no secrets"),
        ("http://127.0.0.1\\@example.com/v1", "holds no secrets"),
        ("ftp://127.0.0.1/v1", "not an address"),
        ("file:///etc/passwd", "not an address"),
        ("127.0.0.1:8000", "not an address"),
        ("http://", "not an address"),
    ],
)
def test_addresses_that_are_refused_when_the_recipe_is_read(url: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        load(Recipe, "nano", [f"exploration.judge.base_url={url!r}"])


def test_a_recipe_builds_it(tmp_path: Path) -> None:
    with endpoint(lambda _, body: graded(body, 5)) as server:
        judged = [f"exploration.judge.base_url={server.url}", f"exploration.judge.cache={tmp_path}"]
        recipe = load(Recipe, "nano", [*judged, "exploration.judge.weight=2", "exploration.length.weight=0"])
        (explored,) = explorer_for(recipe).explore(["q"], rollouts(1), [True])
    assert explored.value == 1.0
    assert explored.parts["judge"] == 0.5

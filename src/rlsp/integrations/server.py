"""A reward server: the recipe's reward over HTTP for any trainer. Three shapes of requests, one answer each:

    POST /score       {"items": [{"question", "answer" or "problem", "response", "truncated"?}], "progress"?}
                      → {"scores"}
    POST /get_reward  {"query": [...], "prompts": [...], "labels"?: [...]} → {"rewards", "scores", "extra_logs"}
                      (OpenRLHF's; without labels that of the paper's code)
    GET  /health, GET /metrics (Prometheus)

Every request but /health carries the token, as `Authorization: Bearer` or as `?token=`. A request is answered whole, or
refused whole: 400 what it lacks, 401 without the token, 413 too large, 503 too busy or too slow, to be sent again.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import perf_counter
from typing import Annotated, Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from rlsp.errors import InputError
from rlsp.integrations.scorer import Answered, Scorer
from rlsp.integrations.texts import Texts
from rlsp.types import Problem, Score, from_json, to_json

MOST_BYTES = 32 << 20
MOST_ITEMS = 4096
"""Of one request."""
RETRY_SECONDS = 1


@dataclass(frozen=True, slots=True)
class Limits:
    """`queued`: items that wait or are judged at once; `seconds`: for one request; `threads` judge at once."""

    queued: int = 8192
    seconds: float = 120.0
    threads: int = 8


class _Shape(BaseModel):
    model_config = ConfigDict(extra="forbid")


class _Item(_Shape):
    response: str
    question: str = ""
    answer: str = ""
    problem: dict[str, Any] | None = None
    truncated: bool | None = None

    @model_validator(mode="after")
    def _asks(self) -> _Item:
        if (self.problem is None) == (not self.question):
            raise ValueError("give either the problem or its question and answer")
        return self


class _Items(_Shape):
    items: Annotated[list[_Item], Field(min_length=1, max_length=MOST_ITEMS)]
    progress: Annotated[float, Field(ge=0, le=1)] = 0.0


class _Queries(BaseModel):
    """Further fields of other versions are passed over."""

    query: Annotated[list[str], Field(min_length=1, max_length=MOST_ITEMS)]
    prompts: list[str]
    labels: list[str | None] | None = None

    @model_validator(mode="after")
    def _as_many(self) -> _Queries:
        if not len(self.query) == len(self.prompts) == len(self.labels or self.query):
            raise ValueError("query, prompts and labels are not as many")
        return self


class BusyError(Exception):
    """The queue is full, or the time is over."""


class RewardServer:
    """The application, for any ASGI server."""

    def __init__(self, scorer: Scorer, texts: Texts, token: str, limits: Limits = Limits()) -> None:
        self.scorer, self.texts, self.limits = scorer, texts, limits
        self._token = token.encode()
        self._queued = 0
        self._threads = ThreadPoolExecutor(limits.threads, thread_name_prefix="rlsp-reward")
        self._registry = CollectorRegistry()
        self._requests = Counter("rlsp_requests", "Requests by status.", ["status"], registry=self._registry)
        self._verdicts = Counter("rlsp_verdicts", "Responses by verdict.", ["reason"], registry=self._registry)
        self._missing = Counter("rlsp_missing", "Exploration rewards that could not be had.", registry=self._registry)
        self._seconds = Histogram("rlsp_request_seconds", "Time to an answer.", registry=self._registry)
        Gauge("rlsp_queued", "Items that wait or are judged.", registry=self._registry).set_function(
            lambda: self._queued
        )
        self.app = Starlette(
            routes=[
                Route("/score", self._guarded(self._score), methods=["POST"]),
                Route("/get_reward", self._guarded(self._get_reward), methods=["POST"]),
                Route("/", self._guarded(self._get_reward), methods=["POST"]),
                Route("/health", self._health, methods=["GET"]),
                Route("/metrics", self._guarded(self._metrics), methods=["GET"]),
            ],
            lifespan=self._lifespan,
        )

    @asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncIterator[None]:
        yield
        self._threads.shutdown(cancel_futures=True)

    def _guarded(self, answer: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        """Whatever goes wrong is a status and a sentence."""

        async def guarded(request: Request) -> Response:
            began = perf_counter()
            response = await self._refused(request) or await self._answered(answer, request)
            self._requests.labels(str(response.status_code)).inc()
            self._seconds.observe(perf_counter() - began)
            return response

        return guarded

    async def _refused(self, request: Request) -> Response | None:
        kind, _, given = request.headers.get("authorization", "").partition(" ")
        token = given if kind.lower() == "bearer" else request.query_params.get("token", "")
        if not secrets.compare_digest(token.encode(), self._token):
            return _error(401, "the token is missing or wrong: send it as `Authorization: Bearer` or as ?token=")
        return None

    async def _answered(self, answer: Callable[[Request], Awaitable[Response]], request: Request) -> Response:
        try:
            return await answer(request)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"])) or "request"
            return _error(400, f"{place}: {first['msg']}, got {first['input']!r:.80}")
        except InputError as error:
            return _error(400, str(error))
        except BusyError as error:
            return _error(503, str(error), {"Retry-After": str(RETRY_SECONDS)})
        except OverflowError as error:
            return _error(413, str(error))

    async def _score(self, request: Request) -> Response:
        asked = _Items.model_validate_json(await _body(request))
        alpha = self.scorer.alpha(asked.progress)

        def read() -> list[Answered]:
            return [self.texts.answered(self._problem(each), each.response, each.truncated) for each in asked.items]

        scores = await self._judged(len(asked.items), read, alpha)
        return JSONResponse({"scores": [to_json(each) for each in scores]})

    def _problem(self, item: _Item) -> Problem:
        if item.problem is None:
            return self.texts.asked(item.question, item.answer)
        return self.texts.allowed(from_json(Problem, item.problem, "problem"))

    async def _get_reward(self, request: Request) -> Response:
        asked = _Queries.model_validate_json(await _body(request))
        labels = asked.labels or [None] * len(asked.query)

        def read() -> list[Answered]:
            return [self.texts.read(*each) for each in zip(asked.query, asked.prompts, labels, strict=True)]

        scores = await self._judged(len(asked.query), read, None)
        if any(each.total is None for each in scores):
            raise BusyError("an exploration reward could not be had; send it again")
        return JSONResponse(as_rewards(scores))

    async def _judged(self, items: int, read: Callable[[], Sequence[Answered]], alpha: float | None) -> list[Score]:
        if self._queued + items > self.limits.queued:
            raise BusyError(f"{self._queued} items wait already: send it again")
        self._queued += items

        def judged() -> list[Score]:
            return self.scorer.score(read(), alpha)

        work = asyncio.get_running_loop().run_in_executor(self._threads, judged)
        work.add_done_callback(lambda _: self._leave(items))
        try:
            scores = await asyncio.wait_for(asyncio.shield(work), self.limits.seconds)
        except TimeoutError:
            work.cancel()
            raise BusyError(f"not judged within {self.limits.seconds:g} s") from None
        for each in scores:
            self._verdicts.labels(str(each.verdict.reason)).inc()
            self._missing.inc(each.total is None)
        return scores

    def _leave(self, items: int) -> None:
        self._queued -= items

    async def _health(self, _: Request) -> Response:
        return JSONResponse({"status": "ok", "recipe": self.scorer.recipe.name, "queued": self._queued})

    async def _metrics(self, _: Request) -> Response:
        return PlainTextResponse(generate_latest(self._registry).decode(), media_type="text/plain; version=0.0.4")


def as_rewards(scores: Sequence[Score]) -> dict[str, Any]:
    """Scores as OpenRLHF reads them; `rewards` alone is what the paper's code reads."""
    totals = [each.total for each in scores]
    return {
        "rewards": totals,
        "scores": [float(each.verdict.correct) for each in scores],
        "extra_logs": {
            "correct": [float(each.verdict.correct) for each in scores],
            "explore": [each.exploration.value for each in scores],
            "alpha": [each.alpha for each in scores],
        },
    }


async def _body(request: Request) -> bytes:
    """Raises OverflowError when it is larger than MOST_BYTES."""
    content = bytearray()
    async for chunk in request.stream():
        content += chunk
        if len(content) > MOST_BYTES:
            raise OverflowError(f"more than {MOST_BYTES >> 20} MiB: send fewer items at once")
    return bytes(content)


def _error(status: int, detail: str, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse({"error": detail}, status, headers)

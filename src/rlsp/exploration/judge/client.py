"""Asking the endpoint: bounded concurrency, deadlines, retries; a failure is a status, never a number."""

from __future__ import annotations

import asyncio
import importlib.util
import math
import os
import random
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from threading import Semaphore
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, Field, ValidationError

from rlsp.config import JudgeRecipe
from rlsp.errors import InputError
from rlsp.exploration.judge.limits import TokenBudget
from rlsp.exploration.judge.rubric import Request

if TYPE_CHECKING:
    import openai
    from openai import AsyncOpenAI

OPENAI = "https://api.openai.com/v1"
LONGEST_WAIT_SECONDS = 60.0
WAIT_SECONDS = 0.02
SENT_HEADERS = ("host", "accept", "connection", "content-", "user-agent", "x-stainless-")
"""How the headers begin that an endpoint other than OpenAI's gets besides the recipe's key: HTTP's own, and the
library's, which tell its version, Python's and the system's."""


class FailedCallError(Exception):
    """The endpoint brought no reply; says why. `again`: another try may help, at the earliest after `wait_seconds`,
    if the server named it. `answered`: the server refused, so that nothing was generated."""

    def __init__(self, reason: str, again: bool, answered: bool, wait_seconds: float | None = None) -> None:
        super().__init__(reason)
        self.again = again
        self.answered = answered
        self.wait_seconds = wait_seconds


class _Message(BaseModel):
    content: str | None


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None


class _Usage(BaseModel):
    total_tokens: Annotated[int, Field(ge=0)]


class _Completion(BaseModel):
    """What is read of a reply. Servers may leave out the usage."""

    choices: Annotated[list[_Choice], Field(min_length=1)]
    usage: _Usage | None = None


@dataclass(frozen=True, slots=True)
class Client:
    """One endpoint and model, asked from any thread. `budget` counts the tokens of all its calls, `slots` those under
    way; the first retry comes after about `backoff_seconds`, each further one after twice as long."""

    recipe: JudgeRecipe
    api_key: str = field(repr=False)
    budget: TokenBudget
    slots: Semaphore
    backoff_seconds: float = 0.5

    def connected(self) -> AsyncOpenAI:
        """The official client; to be entered and left within one event loop."""
        from openai import AsyncOpenAI, DefaultAsyncHttpxClient

        return AsyncOpenAI(
            api_key=self.api_key or "none",
            base_url=self.recipe.base_url or OPENAI,
            max_retries=0,
            timeout=self.recipe.timeout_seconds,
            # A redirect would carry the text elsewhere; a proxy has no business between us and ourselves.
            http_client=DefaultAsyncHttpxClient(
                follow_redirects=False,
                trust_env=not self.recipe.local,
                event_hooks={"request": [self._only_what_is_meant] if self.recipe.base_url else []},
            ),
        )

    async def _only_what_is_meant(self, request: Any) -> None:
        """The library adds what the environment holds for OpenAI: ids of organisation and project, further headers."""
        for name in list(request.headers):
            if not name.lower().startswith(SENT_HEADERS):
                del request.headers[name]
        if self.api_key:
            request.headers["Authorization"] = f"Bearer {self.api_key}"

    async def ask(self, connection: AsyncOpenAI, request: Request) -> str:
        """The judge's reply, after as many tries as it takes and the recipe allows.

        Raises:
            FailedCallError: no try brought one, or the token budget is used up.
        """
        for attempt in range(self.recipe.retries + 1):
            try:
                return await self._try(connection, request)
            except FailedCallError as failure:
                if not failure.again or attempt == self.recipe.retries:
                    raise
                backoff = self.backoff_seconds * 2**attempt * random.uniform(0.5, 1.5)
                await asyncio.sleep(min(LONGEST_WAIT_SECONDS, max(backoff, failure.wait_seconds or 0.0)))
        raise AssertionError("the last try returns or raises")

    async def _try(self, connection: AsyncOpenAI, request: Request) -> str:
        while not self.slots.acquire(blocking=False):  # other threads have event loops of their own
            await asyncio.sleep(WAIT_SECONDS)
        try:
            return await self._paid(connection, request)
        finally:
            self.slots.release()

    async def _paid(self, connection: AsyncOpenAI, request: Request) -> str:
        reserved = request.most_tokens + self.recipe.max_tokens
        while not self.budget.reserve(reserved):
            if not self.budget.allows(reserved):
                raise FailedCallError("token budget", again=False, answered=True)
            await asyncio.sleep(WAIT_SECONDS)  # calls under way cost less than they reserve
        spent = reserved
        try:
            completion = _Completion.model_validate_json(await self._post(connection, request))
            spent = completion.usage.total_tokens if completion.usage else reserved
        except ValidationError:
            raise FailedCallError("malformed response", again=True, answered=False) from None
        except FailedCallError as failure:
            spent = 0 if failure.answered else reserved
            raise
        finally:
            self.budget.settle(reserved, spent)
        return _text(completion.choices[0])

    async def _post(self, connection: AsyncOpenAI, request: Request) -> bytes:
        import openai

        try:
            # The library's timeout starts again with every byte; this one does not.
            async with asyncio.timeout(self.recipe.timeout_seconds):
                response = await connection.chat.completions.with_raw_response.create(
                    model=self.recipe.model,
                    messages=[
                        {"role": "system", "content": request.system},
                        {"role": "user", "content": request.user},
                    ],
                    temperature=0.0,
                    max_tokens=self.recipe.max_tokens,
                )
                return response.content
        except (TimeoutError, openai.APITimeoutError):
            seconds = self.recipe.timeout_seconds
            raise FailedCallError(f"no reply within {seconds:g} s", again=True, answered=False) from None
        except openai.APIConnectionError:
            raise FailedCallError("connection failed", again=True, answered=False) from None
        except openai.APIStatusError as error:
            again = error.status_code in (408, 429) or error.status_code >= 500
            wait = _retry_after(error.response.headers)
            raise FailedCallError(self._status(error), again, answered=True, wait_seconds=wait) from None

    def _status(self, error: openai.APIStatusError) -> str:
        """The status and, where the server blames the request, the beginning of what it says, without the key."""
        if not 400 <= error.status_code < 500:
            return f"status {error.status_code}"
        said = error.message.replace(self.api_key, "[key]") if self.api_key else error.message
        printable = "".join(character if character.isprintable() else " " for character in said)
        return f"status {error.status_code}: {printable[:160]}"


def client_for(recipe: JudgeRecipe) -> Client:
    """A client with the key from the recipe's environment variable.

    Raises:
        InputError: there is no openai package, no key where one is named or needed, or one that no header can carry.
    """
    if importlib.util.find_spec("openai") is None:
        raise InputError("exploration 'judge' needs the openai package: pip install 'rlsp[judge]'")
    variable = recipe.api_key_variable or ("" if recipe.base_url else "OPENAI_API_KEY")
    key = os.environ.get(variable, "").strip() if variable else ""
    if variable and not key:
        raise InputError(
            f"the judge's key is missing: set the environment variable {variable}, or exploration.judge.base_url to a "
            "server without keys"
        )
    if not (key.isascii() and key.isprintable()):
        raise InputError(
            f"the judge's key in the environment variable {variable} can't be sent: it has characters other than "
            "printable ASCII; copy it again"
        )
    return Client(recipe, key, TokenBudget(recipe.token_budget), Semaphore(recipe.concurrency))


def _text(choice: _Choice) -> str:
    """What the judge said. At temperature 0 it would say the same again.

    Raises:
        FailedCallError: it said nothing, or not all: what is cut off may be a thought.
    """
    if choice.finish_reason == "length":
        raise FailedCallError("reply cut off at max_tokens", again=False, answered=False)
    if choice.message.content is None:
        raise FailedCallError("no text in the reply", again=False, answered=False)
    return choice.message.content


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that the server asks to wait, given as such or as a date."""
    given = headers.get("retry-after", "")
    with suppress(ValueError):
        seconds = float(given)
        return seconds if math.isfinite(seconds) and seconds >= 0 else None
    with suppress(ValueError):
        when = parsedate_to_datetime(given)
        return max(0.0, (when - datetime.now(UTC)).total_seconds()) if when.tzinfo else None
    return None

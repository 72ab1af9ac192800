"""`R_ex ∈ [0, 1]` from an LLM that grades effort, not correctness (paper, section 3.2): the mean of its grades for four
dimensions over 10."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from rlsp.config import JudgeRecipe
from rlsp.errors import InputError
from rlsp.exploration.judge import rubric
from rlsp.exploration.judge.cache import Cache, cache_for, key
from rlsp.exploration.judge.client import Client, FailedCallError, client_for
from rlsp.exploration.judge.limits import FailureShare
from rlsp.exploration.judge.reading import NoGradeError, read
from rlsp.exploration.part import Part
from rlsp.types import Rollout

if TYPE_CHECKING:
    from openai import AsyncOpenAI

S = TypeVar("S")
T = TypeVar("T")

OUT_OF_BUDGET = Part(None, missing="token budget")


@dataclass(frozen=True, slots=True)
class JudgeReward:
    """Equal responses to equal questions are asked about once; a blank response did not search and earns 0 unasked."""

    client: Client
    cache: Cache
    failures: FailureShare

    @property
    def floor(self) -> float:
        return 0.0

    @property
    def tokens_spent(self) -> int:
        """Tokens of all prompts and replies so far; where a server did not say how many, the most there can have
        been."""
        return self.client.budget.spent

    def explore(self, questions: Sequence[str], rollouts: Sequence[Rollout]) -> list[Part]:
        """A grade of each rollout, or why there is none.

        Raises:
            InputError: too many calls failed (`exploration.judge.max_failures`), the cache can't be used, or the tokens
                of a judge that is paid for are used up: training without its grades would be another reward.
        """
        texts = list(zip(questions, (rollout.text for rollout in rollouts), strict=True))
        keys = [key(self.client.recipe, *text) for text in texts]
        asked = {each: text for each, text in zip(keys, texts, strict=True) if text[1].strip()}
        parts = {each: Part(value) for each, value in self.cache.get(list(asked)).items()}
        unknown = {each: text for each, text in asked.items() if each not in parts}
        if unknown:
            parts |= dict(ask_all(self.client, list(unknown.items()), self._judge))
        if self.client.recipe.weight > 0 and OUT_OF_BUDGET in parts.values():
            raise InputError(self._used_up())
        return [parts.get(each, Part(0.0)) for each in keys]

    def _used_up(self) -> str:
        limit, kept = self.client.budget.limit, "" if self.cache.path is None else "; the grades so far are kept"
        return (
            f"the judge has no tokens left for its next call: {self.tokens_spent} of exploration.judge.token_budget = "
            f"{limit} are spent{kept}. Resume with as many again, start with a higher budget (0: no limit), or give "
            "the judge weight 0, as a metric"
        )

    async def _judge(self, connection: AsyncOpenAI, asked: tuple[str, tuple[str, str]]) -> tuple[str, Part]:
        each, (question, solution) = asked
        request = rubric.request(question, solution)
        try:
            grade = read(await self.client.ask(connection, request), request)
        except (FailedCallError, NoGradeError) as failure:
            part = Part(None, missing=str(failure))
            if part != OUT_OF_BUDGET:  # that one was not a call
                self.failures.record(part.missing)
            return each, part
        self.failures.record("")
        self.cache.put(each, grade.value, self.client.recipe.model, grade.rationale)
        return each, Part(grade.value)


def judge_reward(recipe: JudgeRecipe) -> JudgeReward:
    """The judge of a recipe. At weight 0 nothing is trained on its grades, so its failures stop nothing.

    Raises:
        InputError: the package openai or the key is missing.
    """
    return JudgeReward(
        client_for(recipe), cache_for(recipe), FailureShare(recipe.max_failures if recipe.weight > 0 else 1.0)
    )


def ask_all(client: Client, items: Sequence[S], ask: Callable[[AsyncOpenAI, S], Awaitable[T]]) -> list[T]:
    """`ask` for every item, as many at once as the client's recipe allows; in the order in which answers came.

    Raises:
        What `ask` raises; the others are given up.
    """
    return _run(_asked(client, items, ask))


async def _asked(client: Client, items: Sequence[S], ask: Callable[[AsyncOpenAI, S], Awaitable[T]]) -> list[T]:
    waiting, answers = iter(items), list[T]()

    async def work(connection: AsyncOpenAI) -> None:
        for each in waiting:
            answers.append(await ask(connection, each))

    try:
        async with client.connected() as connection, asyncio.TaskGroup() as group:
            for _ in range(min(client.recipe.concurrency, len(items))):
                group.create_task(work(connection))
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return answers


def _run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Also where an event loop runs already, as in a notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(coroutine)
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, coroutine).result()

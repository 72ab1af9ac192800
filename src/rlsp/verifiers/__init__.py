"""Step 3's judge of correctness: gets the problem with its answer, says whether the response is right.

A problem's `task` names its verifier. Verifiers judge in batches, so that one that needs workers or a sandbox can keep
all of them busy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from rlsp.errors import InputError
from rlsp.types import Problem, Verdict
from rlsp.verifiers import choice, code, countdown, custom, exact, gym, math, plain_math_verify, steps
from rlsp.verifiers.outcomes import Timed
from rlsp.verifiers.settings import STRICT, Settings

T = TypeVar("T")
Verifier = Callable[[Sequence[Problem], Sequence[str], Settings], list[Verdict]]
"""(problems, responses, settings) → verdicts, in order; `problems[i]` is what `responses[i]` answers."""


def verify_all(problems: Sequence[Problem], responses: Sequence[str], settings: Settings = STRICT) -> list[Verdict]:
    """`Ver(q, o)` of each response: the verdict of its problem's own task, in order.

    Raises:
        InputError: no verifier knows the task of a problem.
    """
    return _by_task(verifier_for, problems, responses, settings)


def verify_timed(problems: Sequence[Problem], responses: Sequence[str], settings: Settings) -> list[Timed]:
    """The same verdicts, with how long each took where its verifier hands single judgements to workers.

    Raises:
        InputError: no verifier knows the task of a problem.
    """
    return _by_task(_timed_verifier_for, problems, responses, settings)


def verify(problem: Problem, response: str, settings: Settings = STRICT) -> Verdict:
    """The verdict on one response."""
    return verify_all([problem], [response], settings)[0]


def verifier_for(task: str) -> Verifier:
    """The verifier of that name, else the installed one, else the function "package.module:function".

    Raises:
        InputError: there is none; names those that there are.
    """
    if task in _VERIFIERS:
        return _VERIFIERS[task]
    if path := _custom_path(task):
        return partial(custom.verify_all, custom.check(path))
    known = ", ".join((*_VERIFIERS, *sorted(custom.installed())))
    raise InputError(f"no verifier for task {task!r}; known: {known}; or your own as package.module:function")


def _timed_verifier_for(task: str) -> Callable[[Sequence[Problem], Sequence[str], Settings], list[Timed]]:
    verifier = verifier_for(task)
    if task in _TIMED:
        return _TIMED[task]
    if task not in _VERIFIERS and (path := _custom_path(task)):
        return partial(custom.verify_timed, path)
    return lambda *arguments: [Timed(verdict, None) for verdict in verifier(*arguments)]


def _custom_path(task: str) -> str | None:
    """Your own function "package.module:function" by itself or by its installed name."""
    return task if ":" in task else custom.installed().get(task)


def _by_task(
    find: Callable[[str], Callable[[Sequence[Problem], Sequence[str], Settings], list[T]]],
    problems: Sequence[Problem],
    responses: Sequence[str],
    settings: Settings,
) -> list[T]:
    """What the verifier that `find` knows for each problem's task says, in the problems' order."""
    by_task: dict[str, list[int]] = {}
    for index, problem in enumerate(problems):
        by_task.setdefault(problem.task, []).append(index)
    judged: dict[int, T] = {}
    for task, indices in by_task.items():
        results = find(task)([problems[i] for i in indices], [responses[i] for i in indices], settings)
        judged.update(zip(indices, results, strict=True))
    return [judged[index] for index in range(len(problems))]


def _one_by_one(judge: Callable[[Problem, str], Verdict]) -> Verifier:
    """A verifier that needs no workers."""
    return lambda problems, responses, _: [judge(*pair) for pair in zip(problems, responses, strict=True)]


_VERIFIERS: dict[str, Verifier] = {
    "countdown": _one_by_one(countdown.verify),
    "chain-sum": _one_by_one(steps.verify),
    "math": math.verify_all,
    "math-verify": plain_math_verify.verify_all,
    "exact": exact.verify_all,
    "choice": choice.verify_all,
    "code": code.verify_all,
    "gym": gym.verify_all,
}

_TIMED = {"math": math.verify_timed, "math-verify": plain_math_verify.verify_timed}

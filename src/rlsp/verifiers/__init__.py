"""Step 3's judge of correctness: gets the problem with its answer, says whether the response is right.

A problem's `task` names its verifier. Verifiers judge in batches, so that one that needs workers or a sandbox can keep
all of them busy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from rlsp.errors import InputError
from rlsp.types import Problem, Verdict
from rlsp.verifiers import choice, code, countdown, custom, exact, gym, math, steps
from rlsp.verifiers.settings import STRICT, Settings

Verifier = Callable[[Sequence[Problem], Sequence[str], Settings], list[Verdict]]
"""(problems, responses, settings) → verdicts, in order; `problems[i]` is what `responses[i]` answers."""


def verify_all(problems: Sequence[Problem], responses: Sequence[str], settings: Settings = STRICT) -> list[Verdict]:
    """`Ver(q, o)` of each response: the verdict of its problem's own task, in order.

    Raises:
        InputError: no verifier knows the task of a problem.
    """
    by_task: dict[str, list[int]] = {}
    for index, problem in enumerate(problems):
        by_task.setdefault(problem.task, []).append(index)
    verdicts: dict[int, Verdict] = {}
    for task, indices in by_task.items():
        verifier = verifier_for(task)
        judged = verifier([problems[i] for i in indices], [responses[i] for i in indices], settings)
        verdicts.update(zip(indices, judged, strict=True))
    return [verdicts[index] for index in range(len(problems))]


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
    if ":" in task:
        return partial(custom.verify_all, task)
    installed = custom.installed()
    if task in installed:
        return partial(custom.verify_all, installed[task])
    known = ", ".join((*_VERIFIERS, *sorted(installed)))
    raise InputError(f"no verifier for task {task!r}; known: {known}; or your own as package.module:function")


def _one_by_one(judge: Callable[[Problem, str], Verdict]) -> Verifier:
    """A verifier that needs no workers."""
    return lambda problems, responses, _: [judge(*pair) for pair in zip(problems, responses, strict=True)]


_VERIFIERS: dict[str, Verifier] = {
    "countdown": _one_by_one(countdown.verify),
    "chain-sum": _one_by_one(steps.verify),
    "math": math.verify_all,
    "exact": exact.verify_all,
    "choice": choice.verify_all,
    "code": code.verify_all,
    "gym": gym.verify_all,
}

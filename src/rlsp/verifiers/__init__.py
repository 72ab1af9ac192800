"""Step 3's judge of correctness: gets the problem with its answer, says whether the response is right."""

from __future__ import annotations

from rlsp.errors import InputError
from rlsp.types import Problem, Verdict
from rlsp.verifiers import countdown, final_answer, steps


def verify(problem: Problem, response: str) -> Verdict:
    """`Ver(q, o)`: the verdict of the problem's own task. Raises InputError when no verifier knows it."""
    if problem.task not in _VERIFIERS:
        raise InputError(
            f"problem {problem.id!r}: no verifier for task {problem.task!r}; known: {', '.join(_VERIFIERS)}"
        )
    return _VERIFIERS[problem.task](problem, response)


_VERIFIERS = {
    "countdown": countdown.verify,
    "chain-sum": steps.verify,
    "file": final_answer.verify,
}

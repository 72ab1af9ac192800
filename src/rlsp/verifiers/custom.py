"""Your own verifier: a function `(problem, response) -> Verdict | bool`, named "package.module:function".

A problem's `task` is that name, or the name of an entry point in the group `rlsp.verifiers`. The function sees what
a model wrote, so it runs in workers, with limits on time and memory. What it raises is its own bug and stops
the run: a bug never counts as a wrong answer.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import operator
import traceback
from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points
from typing import Any

from rlsp.errors import InputError
from rlsp.types import Problem, Reason, Verdict, from_json, to_json
from rlsp.verifiers.extraction import extract
from rlsp.verifiers.outcomes import Timed, unjudged
from rlsp.verifiers.pool import JSON, Pool
from rlsp.verifiers.pool.worker import describe
from rlsp.verifiers.settings import Settings

GROUP = "rlsp.verifiers"
FIX = "write package.module:function, and see that the package is installed or on PYTHONPATH"


def installed() -> dict[str, str]:
    """Entry points of the group: name → "package.module:function"."""
    return {point.name: point.value for point in entry_points(group=GROUP)}


def verify_all(path: str, problems: Sequence[Problem], responses: Sequence[str], settings: Settings) -> list[Verdict]:
    """The verdicts of the function at `path`. `True` and `False` become a verdict on the marked answer.

    Raises:
        InputError: there is no such function, it raised an error, or returned something else.
    """
    return [each.verdict for each in verify_timed(path, problems, responses, settings)]


def verify_timed(path: str, problems: Sequence[Problem], responses: Sequence[str], settings: Settings) -> list[Timed]:
    """The verdicts, with how long each took. Raises what `verify_all` raises."""
    module, _, _ = check(path).partition(":")
    batch: list[dict[str, JSON]] = [
        {"path": path, "problem": to_json(problem), "response": response}
        for problem, response in zip(problems, responses, strict=True)
    ]
    outcomes = _workers(module).map("rlsp.verifiers.custom:judge", batch, settings.deadline_seconds)
    timed = []
    for problem, response, outcome in zip(problems, responses, outcomes, strict=True):
        answer = extract(response, settings.extraction)
        if outcome.status == "done":
            verdict = _verdict(path, problem, answer, outcome.value)
        else:
            verdict = unjudged(outcome, answer, problem.answer)
        timed.append(Timed(verdict, outcome.seconds))
    return timed


def judge(path: str, problem: dict[str, Any], response: str) -> dict[str, Any]:
    """What the function says, or what it raised; runs in a worker."""
    try:
        function = _function(path)
    except (ImportError, AttributeError) as error:
        return {"missing": describe(error)}
    try:
        returned = function(from_json(Problem, problem), response)
        if isinstance(returned, Verdict):
            return {"verdict": to_json(from_json(Verdict, to_json(returned)))}
    except MemoryError:
        raise
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        return {"raised": f"{describe(error)} ({place.filename}:{place.lineno})"}
    return {"correct": returned} if isinstance(returned, bool) else {"returned": type(returned).__name__}


def _verdict(path: str, problem: Problem, answer: str, said: Mapping[str, Any]) -> Verdict:
    if "missing" in said:
        raise InputError(f"verifier {path!r}: {said['missing']}; {FIX}")
    if "raised" in said:
        raise InputError(
            f"verifier {path} failed on problem {problem.id}: {said['raised']}; let it return a verdict on any response"
        )
    if "returned" in said:
        raise InputError(
            f"verifier {path} returned a {said['returned']} for problem {problem.id}; "
            "let it return a Verdict, True or False"
        )
    if "verdict" in said:
        return from_json(Verdict, said["verdict"], where=f"verifier {path}, problem {problem.id}")
    reason = Reason.MATCH if said["correct"] else Reason.MISMATCH
    return Verdict(said["correct"], answer, reason, problem.answer)


def check(path: str) -> str:
    """The path, if its module's package is there; none of it runs in this process.

    Raises:
        InputError: it is not, or the path names no function.
    """
    module, _, function = path.partition(":")
    if not module or not function:
        raise InputError(f"verifier {path!r} names no function: {FIX}")
    try:
        found = importlib.util.find_spec(module.partition(".")[0])
    except (ImportError, ValueError) as error:
        raise InputError(f"verifier {path!r}: {error}; {FIX}") from None
    if found is None:
        raise InputError(f"verifier {path!r}: no module {module!r}; {FIX}")
    return path


@functools.cache
def _workers(module: str) -> Pool:
    """Workers that have imported the function's module: an import doesn't count against a deadline."""
    return Pool(preload=[module, __name__])


@functools.cache
def _function(path: str) -> Any:
    module, _, name = path.partition(":")
    return operator.attrgetter(name)(importlib.import_module(module))

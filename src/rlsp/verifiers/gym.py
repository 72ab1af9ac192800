"""Problems of reasoning-gym, judged by the generator's own scorer: correct is a score of 1, nothing less.

The answer is what the last `<answer>…</answer>` holds, which is how reasoning-gym asks for it, else what the response
marks otherwise. Scorers run sympy and even `eval` on it, hence in workers and on a leash. Where a scorer is known to
accept what is wrong, a further condition stands beside it.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rlsp.errors import InputError
from rlsp.tasks.boxes import last_box
from rlsp.tasks.gym import decode, require
from rlsp.types import Problem, Reason, Verdict
from rlsp.verifiers.extraction import MAX_CHARACTERS, extract
from rlsp.verifiers.leash import leash
from rlsp.verifiers.outcomes import unjudged
from rlsp.verifiers.pool import Outcome, Pool
from rlsp.verifiers.settings import Settings

DATA_SETS_KEPT = 32
_OPEN, _CLOSE = "<answer>", "</answer>"


def verify_all(problems: Sequence[Problem], responses: Sequence[str], settings: Settings) -> list[Verdict]:
    """Raises InputError without reasoning-gym, or when a problem's `grading` is not what `read_problems` makes."""
    require()
    answers = [marked(response, settings) for response in responses]
    items = [{**_grading(problem), "answer": answer} for problem, answer in zip(problems, answers, strict=True)]
    judged = [index for index, answer in enumerate(answers) if answer]
    outcomes = _workers().map(
        "rlsp.verifiers.gym:score_entry", [items[index] for index in judged], settings.deadline_seconds
    )
    verdicts = [Verdict(False, "", Reason.NO_ANSWER, problem.answer) for problem in problems]
    for index, outcome in zip(judged, outcomes, strict=True):
        verdicts[index] = _verdict(outcome, answers[index], problems[index].answer)
    return verdicts


def marked(response: str, settings: Settings) -> str:
    """The answer as written, its lines kept; "" without one."""
    text = response[-MAX_CHARACTERS:]
    end = text.rfind(_CLOSE)
    start = text.rfind(_OPEN, 0, max(end, 0))
    if start < 0:
        return extract(response, settings.extraction)
    inside = text[start + len(_OPEN) : end].strip()
    boxed = last_box(inside)
    return inside if boxed is None else boxed


def score_entry(name: str, settings: dict[str, Any], question: str, entry: dict[str, Any], answer: str) -> float:
    """The scorer's score, 0 … 1; runs in a worker. Raises whatever the scorer raises."""
    entry = {"question": question, **decode(entry)}
    data_set = _data_set(name, json.dumps(settings, sort_keys=True))
    with leash():
        score = float(data_set.score_answer(answer, entry))
        condition = _CONDITIONS.get(name)
        return score if score < 1 or condition is None or condition(answer, entry) else 0.0


def _verdict(outcome: Outcome, answer: str, reference: str) -> Verdict:
    if outcome.status == "error":  # the scorer could not read the answer
        return Verdict(False, answer, Reason.UNPARSABLE, reference, outcome.detail)
    if outcome.status != "done":
        return unjudged(outcome, answer, reference)
    correct = outcome.value >= 1
    reason = Reason.MATCH if correct else Reason.MISMATCH
    return Verdict(correct, answer, reason, reference, f"score {outcome.value:.4g}")


def _grading(problem: Problem) -> dict[str, Any]:
    grading = problem.grading
    kinds = {"name": str, "settings": dict, "entry": dict}
    for key, kind in kinds.items():
        if not isinstance(grading.get(key), kind):
            raise InputError(
                f"problem {problem.id}: grading.{key} is {grading.get(key)!r:.80}, not what a gym task needs; "
                "make its problems with rlsp.tasks.gym.read_problems"
            )
    return {"question": problem.question, **{key: grading[key] for key in kinds}}


@functools.cache
def _workers() -> Pool:
    """Workers that know reasoning-gym: its import takes longer than an answer may."""
    return Pool(preload=["reasoning_gym", __name__])


@functools.lru_cache(maxsize=DATA_SETS_KEPT)
def _data_set(name: str, settings: str) -> Any:
    from reasoning_gym import create_dataset

    return create_dataset(name, seed=0, size=1, **json.loads(settings))


def _is_reference(answer: str, entry: Mapping[str, Any]) -> bool:
    """The scorer of `game_of_life_halting` takes any text that is not empty, whatever the answer."""
    return answer.casefold() == str(entry["answer"]).casefold()


def _makes_24(answer: str, entry: Mapping[str, Any]) -> bool:
    """The scorer of `puzzle24` takes any four numbers and rounds down."""
    from sympy import parse_expr

    numbers = [int(number) for number in re.findall(r"\d+", answer)]
    return sorted(numbers) == sorted(entry["metadata"]["numbers"]) and bool(parse_expr(answer) == 24)


_CONDITIONS: Mapping[str, Callable[[str, Mapping[str, Any]], bool]] = {
    "game_of_life_halting": _is_reference,
    "puzzle24": _makes_24,
}

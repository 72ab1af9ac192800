"""math-verify as it comes: its own extraction from the whole response, its own comparison, its default settings.

A second opinion to audit the math verifier by (`rlsp verify audit`), not a judge to train with: it rounds floats, takes
any last number for the answer, and has no limits on sizes. Its alarms, which end a judgement as "not equal" without a
word, are off: the pool keeps the deadline, and an item that is late is a timeout by name.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

from rlsp.types import Problem, Reason, Verdict
from rlsp.verifiers.outcomes import Timed, unjudged
from rlsp.verifiers.pool import Outcome, Pool
from rlsp.verifiers.settings import Settings


def verify_all(problems: Sequence[Problem], responses: Sequence[str], settings: Settings) -> list[Verdict]:
    """The verdicts; `answer` is what math-verify extracted, as it is written. It has no strict mode: of the settings
    only the deadline counts."""
    return [each.verdict for each in verify_timed(problems, responses, settings)]


def verify_timed(problems: Sequence[Problem], responses: Sequence[str], settings: Settings) -> list[Timed]:
    """The verdicts, with how long each took."""
    batch = [
        {"response": response, "reference": problem.answer}
        for problem, response in zip(problems, responses, strict=True)
    ]
    outcomes = _workers().map("rlsp.verifiers.plain_math_verify:grade", batch, settings.deadline_seconds)
    return [
        Timed(_verdict(problem, outcome), outcome.seconds) for problem, outcome in zip(problems, outcomes, strict=True)
    ]


def grade(response: str, reference: str) -> dict[str, str]:
    """{reason, answer, detail} of one judgement; runs in a worker. The reference stands between dollar signs, as
    math-verify wants its LaTeX."""
    from math_verify import parse, verify

    expected = parse(f"${reference}$", parsing_timeout=None)
    given = parse(response, parsing_timeout=None)
    answer = next((each for each in given if isinstance(each, str)), "")
    if not given:
        reason, detail = Reason.NO_ANSWER, ""
    elif not expected:
        reason, detail = Reason.UNPARSABLE, "math-verify reads nothing in the reference"
    else:
        reason, detail = Reason.MATCH if verify(expected, given, timeout_seconds=None) else Reason.MISMATCH, ""
    return {"reason": reason.value, "answer": answer[:200], "detail": detail}


def _verdict(problem: Problem, outcome: Outcome) -> Verdict:
    if outcome.status != "done":
        return unjudged(outcome, "", problem.answer)
    reason = Reason(outcome.value["reason"])
    return Verdict(reason is Reason.MATCH, outcome.value["answer"], reason, problem.answer, outcome.value["detail"])


@functools.cache
def _workers() -> Pool:
    """Workers of its own, with math-verify imported: what it does to them slows no other verifier."""
    return Pool(preload=["math_verify", __name__])

"""Final answers in mathematics: the marked answer is extracted, read by its shape, and compared with the reference.

Everything that touches the model's text runs in workers that can be killed.
"""

from __future__ import annotations

from collections.abc import Sequence

from rlsp.types import Problem, Reason, Verdict
from rlsp.verifiers import pool
from rlsp.verifiers.extraction import MAX_CHARACTERS
from rlsp.verifiers.outcomes import Timed, unjudged
from rlsp.verifiers.pool import Outcome
from rlsp.verifiers.settings import STRICT, Settings


def unreadable(references: Sequence[str], settings: Settings = STRICT) -> list[str]:
    """For each reference why it can only be matched letter by letter, "" when it is understood."""
    batch = [{"reference": reference} for reference in references]
    outcomes = pool.shared().map("rlsp.verifiers.math.grade:obstacle", batch, settings.deadline_seconds)
    return [str(outcome.value) if outcome.status == "done" else outcome.detail for outcome in outcomes]


def verify_all(problems: Sequence[Problem], responses: Sequence[str], settings: Settings) -> list[Verdict]:
    """The verdicts; `answer` and `reference` are the two normalised forms, `reason` and `detail` say why."""
    return [each.verdict for each in verify_timed(problems, responses, settings)]


def verify_timed(problems: Sequence[Problem], responses: Sequence[str], settings: Settings) -> list[Timed]:
    """The verdicts, with how long each took."""
    batch = [
        {
            "response": response[-MAX_CHARACTERS:],
            "reference": problem.answer,
            "mode": settings.extraction,
            "question": problem.question,
        }
        for problem, response in zip(problems, responses, strict=True)
    ]
    outcomes = pool.shared().map("rlsp.verifiers.math.grade:grade", batch, settings.deadline_seconds)
    return [
        Timed(_verdict(problem, outcome), outcome.seconds) for problem, outcome in zip(problems, outcomes, strict=True)
    ]


def _verdict(problem: Problem, outcome: Outcome) -> Verdict:
    if outcome.status != "done":
        return unjudged(outcome, "", problem.answer)
    reason = Reason(outcome.value["reason"])
    forms = {name: outcome.value[name] for name in ("answer", "reference", "detail")}
    return Verdict(correct=reason is Reason.MATCH, reason=reason, **forms)

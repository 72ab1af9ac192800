"""Verdicts: right answers however they are written, and nothing else."""

from __future__ import annotations

import pytest

from rlsp.tasks import chain_sum, countdown
from rlsp.types import Reason, Verdict
from rlsp.verifiers import verify

COUNTDOWN = countdown.problem((3, 7, 12), 33)


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        (r"\boxed{3 * 7 + 12}", Reason.MATCH),
        (r"So it is $\boxed{12 + (7 \times 3)}$, done.", Reason.MATCH),
        (r"\boxed{7 \cdot 3 + 12}", Reason.MATCH),
        (r"\boxed{3 × 7 + 12}", Reason.MATCH),
        (r"\boxed{3 * 7 + 12 = 33}", Reason.MATCH),
        ("Let me think.\nAnswer: 3 * 7 + 12", Reason.MATCH),
        ("the answer is (3 * 7) + 12", Reason.MATCH),
        ("#### 12 + 3 * 7", Reason.MATCH),
        (r"\boxed{3 + 7 + 12} no, \boxed{3 * 7 + 12}", Reason.MATCH),
        (r"\boxed{3 * 7 + 12} no, \boxed{3 + 7 + 12}", Reason.MISMATCH),
        (r"\boxed{3 + 7 + 12}", Reason.MISMATCH),
        (r"\boxed{3 - 7 - 12}", Reason.MISMATCH),
        (r"\boxed{33}", Reason.WRONG_NUMBERS),
        (r"\boxed{3 * 11}", Reason.WRONG_NUMBERS),
        (r"\boxed{3 * 7 + 12 + 12 - 12}", Reason.WRONG_NUMBERS),
        (r"\boxed{3 * 7 + 6 + 6}", Reason.WRONG_NUMBERS),
        (r"\boxed{37 - 12}", Reason.WRONG_NUMBERS),
        (r"\boxed{3 * 7}", Reason.WRONG_NUMBERS),
        (r"\boxed{three times seven plus twelve}", Reason.UNPARSABLE),
        (r"\boxed{3 * 7 + 12 / (3 - 3)}", Reason.UNPARSABLE),
        (r"\boxed{__import__('os').system('true')}", Reason.UNPARSABLE),
        (r"\boxed{9**9**9}", Reason.UNPARSABLE),
        (r"\boxed{= 33}", Reason.UNPARSABLE),
        ("Answer: I do not know", Reason.UNPARSABLE),
        ("3 * 7 = 21, 21 + 12 = 33", Reason.MATCH),
        ("3 * 7 = 21, 21 + 12 = 33; is it 33? yes", Reason.MATCH),
        ("3 * 7 + 12", Reason.UNPARSABLE),
        ("", Reason.NO_ANSWER),
    ],
)
def test_countdown_takes_an_expression_or_steps(response: str, reason: Reason) -> None:
    verdict = verify(COUNTDOWN, response)
    assert verdict.reason is reason
    assert verdict.correct is (reason is Reason.MATCH)


def test_an_expression_and_the_steps_to_it_are_one_answer() -> None:
    responses = [
        "3 * 7 = 21, 21 + 12 = 33",
        "7 * 3 = 21, 12 + 21 = 33; is it 33? yes",
        r"\boxed{12 + 3 * 7}",
        "Answer: (7*3)+12 = 33",
    ]
    verdicts = {verify(COUNTDOWN, response) for response in responses}
    assert len(verdicts) == 1
    assert verdicts.pop().answer


def test_division_is_not_allowed_in_countdown() -> None:
    assert not verify(countdown.problem((8, 4, 10), 12), r"\boxed{8 / 4 + 10}").correct


def test_chain_sum_is_judged_by_its_steps() -> None:
    problem = chain_sum.problem((("+", 12), ("+", 5), ("-", 3)))
    assert verify(problem, "12 + 5 = 17, 17 - 3 = 14") == Verdict(True, "14", Reason.MATCH)
    assert verify(problem, "12 + 5 = 17, 17 - 4 = 13") == Verdict(False, "13", Reason.MISMATCH)
    assert verify(problem, r"\boxed{14}").reason is Reason.UNPARSABLE
    assert verify(problem, "").reason is Reason.NO_ANSWER

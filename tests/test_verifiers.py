"""Verdicts: right answers however they are written, and nothing else."""

from __future__ import annotations

import time

import pytest

from rlsp.tasks import chain_sum, countdown
from rlsp.types import Problem, Reason, Verdict
from rlsp.verifiers import verify
from rlsp.verifiers.final_answer import extract, normalise

COUNTDOWN = countdown.problem((3, 7, 12), 33)


def free(answer: str) -> Problem:
    return Problem("mine/1", "math", "What?", answer)


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


@pytest.mark.parametrize(
    ("response", "extracted"),
    [
        (r"\boxed{5}", "5"),
        (r"\boxed{5} then \boxed{ 6 }.", "6"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{\boxed{7}}", "7"),
        (r"Answer: 3, so \boxed{4}", "4"),
        ("#### 42", "42"),
        ("#### 42\n#### 43\n", "43"),
        ("The answer is 3.\nAnswer: 8", "8"),
        ("the ANSWER IS: x = 2", "x = 2"),
        ("answer:\t7\nmore text", "7"),
        ("It is 42.", ""),
        ("42", ""),
        ("The answers are 3", ""),
        (r"\boxed{}", ""),
        (r"\boxed{5", ""),
        ("Answer:\n5", "5"),
        ("Answer:\n\n5", ""),
        ("", ""),
    ],
)
def test_extraction(response: str, extracted: str) -> None:
    assert extract(response) == extracted


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("42", " 42. "),
        ("42", "$42$"),
        ("42", "**42**"),
        ("42", "`42`"),
        ("42", "42.0"),
        ("42", "+42"),
        ("42", "042"),
        ("0", "-0"),
        ("1,234", "1234"),
        ("1,234,567.50", "1234567.5"),
        ("0.5", "1/2"),
        ("2/4", "1/2"),
        ("-6/4", "-1.5"),
        ("(1, 2)", "(1,2)"),
        (r"\text{Monday}", "monday"),
        (r"\left(3, \frac{1}{2}\right)", r"(3,\frac{1}{2})"),
        ("x + 1", "x+1"),
        (r"3\frac{1}{2}", "3.5"),
        ("3 1/2", "7/2"),
        (r"-3\tfrac{1}{2}", "-3.5"),
        ("72", r"\$72"),
        ("50", r"50\%"),
        ("50", "50%"),
        ("1234", "1{,}234"),
    ],
)
def test_equal_answers(one: str, other: str) -> None:
    assert normalise(one) == normalise(other)
    assert verify(free(one), f"\\boxed{{{other}}}").reason is Reason.MATCH
    assert verify(free(other), f"Answer: {one}").correct


@pytest.mark.parametrize(
    ("reference", "answer"),
    [
        ("42", "43"),
        ("42", "-42"),
        ("42", "4 2 0"),
        ("0.5", "0.50001"),
        ("1/3", "0.3333333333"),
        ("12", "1,2"),
        ("1234", "1, 234"),
        ("5100", "5, 100"),
        ("31/2", r"3\frac{1}{2}"),
        ("1/2", "2/1"),
        ("(1, 2)", "[1, 2]"),
        ("(1, 2)", "(2, 1)"),
        ("409", "40_9"),
        ("x + 1", "1 + x - 0"),
        ("100", "1e2e"),
        ("10", "1" + "0" * 40),
        ("inf", "9" * 5000),
    ],
)
def test_different_answers(reference: str, answer: str) -> None:
    assert verify(free(reference), f"\\boxed{{{answer}}}").reason is Reason.MISMATCH


@pytest.mark.parametrize(
    "response",
    ["The answer is **42**.", "The answer is 42. She has 7 left.", "**Answer**: 42", "**Answer:** 42", "####\n42"],
)
def test_a_marked_answer_ends_with_its_sentence(response: str) -> None:
    assert verify(free("42"), response).correct


@pytest.mark.parametrize("response", ["", "42", "It must be 42", "\\boxed{}", "\\boxed{42"])
def test_an_unmarked_answer_is_none(response: str) -> None:
    assert verify(free("42"), response) == Verdict(False, "", Reason.NO_ANSWER)


@pytest.mark.parametrize(
    "response",
    ["\\boxed{" * 100_000, "\\boxed{" + "{" * 200_000, "answer is " * 50_000, "#" * 300_000, "1," * 100_000],
    ids=["boxes", "braces", "markers", "hashes", "commas"],
)
def test_hostile_text_is_judged_at_once(response: str) -> None:
    began = time.process_time()
    assert not verify(free("42"), response).correct
    assert not verify(COUNTDOWN, response).correct
    assert not verify(free("42"), f"\\boxed{{{response}}}").correct
    assert time.process_time() - began < 2


def test_a_product_is_not_its_digits() -> None:
    assert not verify(free("34"), r"\boxed{3*4}").correct


@pytest.mark.parametrize(("reference", "answer"), [("31/2", "3 1/2"), ("12", "1 2")])
def test_two_numbers_are_not_one(reference: str, answer: str) -> None:
    assert not verify(free(reference), f"\\boxed{{{answer}}}").correct


@pytest.mark.parametrize(("reference", "answer"), [("42 cm", r"42\text{ cm}"), ("5", r"\text{ 5 }")])
def test_text_inside_a_box_is_compared_without_spaces(reference: str, answer: str) -> None:
    assert verify(free(reference), f"\\boxed{{{answer}}}").correct


@pytest.mark.parametrize(("reference", "answer"), [("0.5", ".5"), ("-5", "−5"), ("1/2", r"\frac{1}{2}")])
def test_numbers_in_other_writing_are_compared_by_value(reference: str, answer: str) -> None:
    assert verify(free(reference), f"\\boxed{{{answer}}}").correct


def test_the_last_box_whose_braces_match_counts() -> None:
    assert extract(r"It is \boxed{5}. Again: \boxed{6") == "5"

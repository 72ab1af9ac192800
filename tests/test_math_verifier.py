"""The math verifier: right answers however they are written, and nothing else."""

from __future__ import annotations

import time

import pytest

from rlsp.tasks import countdown
from rlsp.types import Problem, Reason, Verdict
from rlsp.verifiers import verify

COUNTDOWN = countdown.problem((3, 7, 12), 33)


def free(answer: str) -> Problem:
    return Problem("mine/1", "math", "What?", answer)


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
        ("x + 1", "1 + x - 0"),
        ("1234", "1{,}234"),
    ],
)
def test_equal_answers(one: str, other: str) -> None:
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
        ("100", "1e2e"),
        ("10", "1" + "0" * 40),
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
    assert verify(free("42"), response) == Verdict(False, "", Reason.NO_ANSWER, "42")


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

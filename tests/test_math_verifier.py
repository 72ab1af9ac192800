"""The math verifier: right answers however they are written, and nothing else."""

from __future__ import annotations

import time

import pytest

from rlsp.tasks import countdown
from rlsp.types import Problem, Reason, Verdict
from rlsp.verifiers import verify
from rlsp.verifiers.settings import Settings

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


@pytest.mark.parametrize(
    ("response", "reference", "right"),
    [
        (r"$x = \boxed{1}$ or $x = \boxed{-2}$", "1,-2", True),
        (r"$x = \boxed{1}$ or $x = \boxed{-2}$", "1", False),
        (r"\boxed{1}, \boxed{2}", "2", False),
        (r"\boxed{5} \boxed{5}", "5", True),
        (r"First \boxed{4}, which is wrong. It is \boxed{5}.", "5", True),
        (r"\boxed{5 \text{ or } 6}", "5", False),
        (r"\boxed{5, 6}", "5", False),
        (r"\boxed{\text{any number}}", "5", False),
        (r"\boxed{x = 5 = 6}", "6", False),
        (r"\boxed{2 + 3 = 5}", "5", True),
        (r"\boxed{2 + 2 = 5}", "5", False),
        (r"\boxed{\boxed{\frac{3}{2}}^2}", r"\frac{3}{2}", False),
    ],
)
def test_a_response_that_hedges_is_wrong(response: str, reference: str, right: bool) -> None:
    assert verify(free(reference), response).correct is right


@pytest.mark.parametrize(
    ("reference", "answer", "right"),
    [
        (r"50\%", r"50\%", True),
        (r"50\%", "50", True),
        (r"50\%", "50 percent", True),
        ("50", r"50\%", False),
        ("0.5", r"50\%", False),
        (r"15\mbox{ cm}^2", "15", True),
        (r"15\mbox{ cm}^2", r"15 \text{ square centimeters}", True),
        (r"15\mbox{ cm}^2", r"15\text{ cm}", False),
        ("5", r"5 \text{ meters}", True),
        ("5", r"5 \text{ thousand}", False),
        (r"90^\circ", "90", True),
        (r"\frac{\pi}{2}", r"\frac{\pi}{2}^\circ", False),
        ("40_9", "40_{9}", True),
        ("40_9", "409", False),
        ("40_9", "36", False),
        ("(-2,7]", "[-2,7]", False),
        ("(-2,7]", "-2 < x \\le 7", True),
        (r"\{1,2\}", "2, 1", True),
        ("(1,2)", r"\{1,2\}", False),
        (r"\text{east}", "East", True),
        (r"\text{east}", r"\text{west}", False),
        (r"\text{(C)}", "C", True),
        ("3R^2", "3r^2", False),
        (r"\pi(R^2-r^2)", r"\pi(r^2-R^2)", False),
        (r"\sqrt{2}", "1.41421356237", False),
        (r"\log_2 8", "3", True),
        (r"\sin^2 x + \cos^2 x", "1", True),
        (r"\sqrt{x^2}", "x", False),
        (r"2^{1000}", "2^{1000}+1", False),
        (r"\frac{\pi}{10^{60}}", r"\frac{2\pi}{10^{60}}", False),
        ("x^2 + 1", "x^2 + 1 + 10^{-60}", False),
        (r"\sqrt[3]{-8}", "-2", True),
        ("1/0", "2/0", False),
        ("55", r"\sum_{k=1}^{10} k", True),
        (r"\frac{1}{2}", r"\int_0^1 x dx", True),
        (r"\frac{1}{2}", r"\sin 30^\circ", True),
        ("f(x) = x^2 + 1", "y = x^2 + 1", True),
        ("f(x) = x^2 + 1", "g(x) = x^2 + 1", False),
    ],
)
def test_what_counts_and_what_does_not(reference: str, answer: str, right: bool) -> None:
    assert verify(free(reference), f"\\boxed{{{answer}}}").correct is right


def test_another_unit_than_the_question_asks_for_is_wrong() -> None:
    asked = Problem("mine/1", "math", "After how many seconds do they meet?", "36")
    assert verify(asked, r"\boxed{36\text{ seconds}}").correct
    assert verify(asked, r"\boxed{36\text{ minutes}}").detail == "the question asks for another unit than min"


def test_a_verdict_names_both_forms() -> None:
    wrong = verify(free(r"\frac{6}{4}"), r"\boxed{\dfrac{3}{4}}")
    assert (wrong.answer, wrong.reference, wrong.reason) == ("3/4", "3/2", Reason.MISMATCH)


def test_right_answers_are_one_class_in_a_vote() -> None:
    spellings = [r"2\sqrt{3}", r"\sqrt{12}", r"\frac{6}{\sqrt{3}}", r"\sqrt{3} + \sqrt{3}"]
    assert len({verify(free(r"2\sqrt3"), f"\\boxed{{{each}}}").answer for each in spellings}) == 1


@pytest.mark.parametrize(
    "answer", ["9**9**9**9", r"9^{9^{9^{9}}}", "x^{99999}", "(5!)!", "1" * 3000, "{" * 40 + "}" * 40]
)
def test_what_is_too_large_is_refused_before_any_algebra(answer: str) -> None:
    began = time.monotonic()
    assert verify(free("x + 1"), f"\\boxed{{{answer}}}").reason in (Reason.TOO_COMPLEX, Reason.MISMATCH)
    assert time.monotonic() - began < 2
    assert verify(free(answer), f"\\boxed{{{answer}}}").correct, "letter by letter it is the reference"


def test_late_judgements_are_named() -> None:
    slow = r"\boxed{" + r"\sin(" * 60 + "x" + ")" * 60 + "}"
    verdict = verify(free(r"\cos(x)"), slow, Settings(deadline_seconds=0.2))
    assert (verdict.reason, verdict.detail) == (Reason.TIMEOUT, "no result within 0.2 s")
    assert verify(free("5"), r"\boxed{5}").correct


@pytest.mark.parametrize(
    ("reference", "answer"),
    [
        ("5", "x + 1 = 5"),
        ("10", "2x = 10"),
        ("9", "x^2 = 9"),
        ("5", r"\sqrt{x} = 5"),
        ("64", r"\log_2 x = 64"),
        ("12", r"\frac{24}{x} = 12"),
        ("x+1", "y^2 = x+1"),
        ("2x+3", "2y = 2x+3"),
        ("(1,2)", "(y,x)=(1,2)"),
        ("3", r"3\text{ tenths}"),
        ("3", "3 fifths"),
        ("3", "3 hundredths"),
        ("5", r"5\text{ hundreds}"),
        ("5", "5 thousands"),
        ("5", r"5\text{ dozens}"),
        ("5", "5 pairs"),
        ("5", "5 tens"),
        ("5", "5 gross"),
        ("5", r"5\text{ below}"),
        ("5", r"\text{5 below zero}"),
        ("5", r"5\text{ wrong}"),
        ("5", r"5\text{ inverse}"),
        ("5", r"5\text{ twice}"),
        ("5", "5 squared"),
        ("5", "5 cubed"),
        ("|x+10|", "x+10"),
        ("|x-7|", "7-x"),
        ("|x-7|=3", "7-x=3"),
        ("y=|x+10|", "y=x+10"),
        (r"\max(x,-10)", "x"),
        (r"\lfloor n/10 \rfloor", r"\lfloor n/100 \rfloor"),
        (r"\lfloor n/5\rfloor", r"\lfloor n/4\rfloor"),
        (r"\gcd(n,12)", "1"),
        (r"\gcd(n,12)", r"\gcd(n,6)"),
        ("2", r"x \approx 2"),
        ("3", r"\pi \approx 3"),
        ("f'", "f"),
        ("y'", "y"),
        ("x", "x'"),
        ("5", "5'"),
        ("10", "10''"),
        ("(0,1)", r"\text{no } x \in (0,1)"),
        (r"\text{(C)}", "(C) is wrong"),
    ],
)
def test_what_only_looks_like_the_reference_is_wrong(reference: str, answer: str) -> None:
    """An equation to be solved, a number word, a power in words, another function on other stretches, a denial."""
    assert not verify(free(reference), f"\\boxed{{{answer}}}").correct


@pytest.mark.parametrize(
    "answer", ["m + n = 5", "f(x) = 5", "t(g(16)) = 5", r"\text{Total} = 5", "2 + 3 = 5", r"\angle ABC = 5"]
)
def test_a_name_before_the_value_does_not_count(answer: str) -> None:
    assert verify(free("5"), f"\\boxed{{{answer}}}").correct


def test_an_unreadable_part_is_no_crash() -> None:
    assert verify(free(r"(0,1) \cup (1,2)"), r"\boxed{(0,\foo) \cup (1,2)}").reason is Reason.MISMATCH

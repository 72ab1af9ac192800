"""Answers in words and multiple choice: how an answer is typed doesn't matter, which one it is does."""

from __future__ import annotations

import time
from typing import Any

import pytest

from rlsp.errors import InputError
from rlsp.types import Problem, Reason, Verdict
from rlsp.verifiers import verify
from rlsp.verifiers.choice import letters


def exact(answer: str, **grading: Any) -> Problem:
    return Problem("mine/1", "exact", "Which?", answer, grading=grading)


def choice(answer: str, **grading: Any) -> Problem:
    return Problem("mine/1", "choice", "Which?", answer, grading=grading)


def boxed(answer: str) -> str:
    return rf"So it is \boxed{{{answer}}}"


@pytest.mark.parametrize(
    "typed",
    [
        "North East",
        "north east",
        "  north \n east ",
        "North East.",
        "$North East$",
        r"\text{North East}",
        r"$\text{North East}$.",
        r"\textbf{North East.}",
        r"\(North East\)",
        "**North East**",
        "Ｎorth\u00a0East",
        "𝐍orth East",
    ],
)
def test_typing_does_not_matter(typed: str) -> None:
    assert verify(exact("North East"), boxed(typed)) == Verdict(True, "north east", Reason.MATCH, "north east")


@pytest.mark.parametrize(
    ("reference", "answer"),
    [
        ("north east", "northeast"),
        ("north east", "north-east"),
        ("north east", "north east or west"),
        ("north east", "not north east"),
        ("52", "5²"),
        ("12", "1½"),
        ("1/2", "½"),
        ("409", "40₉"),
        ("-5", "5"),
        ("a.", "a.."),
        ("$5 or $6", "5 or $6"),
        ("resume", "résumé"),
        ("Masse", "Maße"),
    ],
)
def test_another_answer_is_no_typing(reference: str, answer: str) -> None:
    verdict = verify(exact(reference), boxed(answer))
    assert (verdict.correct, verdict.reason) == (False, Reason.MISMATCH)


def test_accents_are_equal_however_they_are_encoded() -> None:
    assert verify(exact("résumé"), boxed("re\u0301sume\u0301")).correct


def test_case_counts_when_the_problem_says_so() -> None:
    assert verify(exact("mW"), boxed("MW")).correct
    assert not verify(exact("mW", case=True), boxed("MW")).correct
    assert verify(exact("mW", case=True), boxed("mW")).answer == "mW"


def test_alternatives_are_one_answer() -> None:
    problem = exact("USA", answers=["United States", "United States of America"])
    verdicts = {verify(problem, boxed(answer)) for answer in ("usa", "United States", "united states of america")}
    assert verdicts == {Verdict(True, "usa", Reason.MATCH, "usa")}
    assert not verify(problem, boxed("United Kingdom")).correct


def test_alternatives_may_stand_alone() -> None:
    assert verify(exact("", answers=["yes"]), boxed("Yes")).correct


@pytest.mark.parametrize("response", ["", "Paris", r"\boxed{}", r"\boxed{$$}", r"\boxed{ . }"])
def test_an_answer_that_is_not_marked_or_empty_is_none(response: str) -> None:
    assert verify(exact("Paris"), response) == Verdict(False, "", Reason.NO_ANSWER, "paris")


@pytest.mark.parametrize(
    ("problem", "message"),
    [
        (exact(""), "mine/1 has no reference answer"),
        (exact("$$", answers=[" "]), "mine/1 has no reference answer"),
        (exact("a", answers="b"), "grading.answers 'b' is no list of texts"),
        (exact("a", answers=[1]), r"grading.answers \[1\] is no list of texts"),
        (exact("a", case="yes"), "grading.case 'yes' is neither true nor false"),
    ],
)
def test_a_problem_without_a_usable_reference_is_an_error(problem: Problem, message: str) -> None:
    with pytest.raises(InputError, match=message):
        verify(problem, boxed("a"))


@pytest.mark.parametrize(
    "typed",
    [
        "B",
        "b",
        "(B)",
        "[B]",
        "B.",
        "B)",
        "(b).",
        r"\text{B}",
        r"\text{(B)}",
        r"\mathrm{B}",
        "$B$",
        "**B**",
        "Option B",
        "choice (b)",
        "the correct answer is B",
        "B, B",
        "B: Paris",
        "B) Paris",
        "(B) Paris",
        "B. A dog",
        "B - a dog",
        "B because it is the largest",
        "Ｂ",
    ],
)
def test_a_letter_is_read_in_every_dress(typed: str) -> None:
    assert verify(choice("B"), boxed(typed)) == Verdict(True, "B", Reason.MATCH, "B")
    assert verify(choice("C"), boxed(typed)) == Verdict(False, "B", Reason.MISMATCH, "C")


@pytest.mark.parametrize("reference", ["B", "b", "(B)", "B.", r"\text{(B)}"])
def test_a_reference_letter_may_be_dressed_too(reference: str) -> None:
    assert verify(choice(reference), boxed("B")).correct


@pytest.mark.parametrize(
    "typed",
    [
        "A and B",
        "A or B",
        "A, B",
        "A/B",
        "A B",
        "(A) or (B)",
        "both A and B",
        "B. or maybe A",
        "B. or (a)",
        "B: Paris (or A: Rome)",
        "B because A is wrong",
        r"\text{A} or \text{B}",
    ],
)
@pytest.mark.parametrize("reference", ["A", "B"])
def test_an_answer_that_names_two_letters_hedges(typed: str, reference: str) -> None:
    verdict = verify(choice(reference), boxed(typed))
    assert verdict == Verdict(False, "A, B", Reason.MISMATCH, reference, "names several options: A, B")


@pytest.mark.parametrize(
    "typed", ["AB", "A dog", "E coli", "e.g. Paris", "T-cell", "42", "neither", "{A}", "not A", "A=B"]
)
def test_an_answer_that_is_no_letter_names_none(typed: str) -> None:
    verdict = verify(choice("A"), boxed(typed))
    assert (verdict.correct, verdict.answer, verdict.reason) == (False, "", Reason.UNPARSABLE)
    assert verdict.detail.startswith("names no option: ")


OPTIONS = ["Rome", "Paris", "vitamin C", "25 °C"]


@pytest.mark.parametrize(
    ("typed", "named"),
    [
        ("Paris", ["B"]),
        ("paris.", ["B"]),
        (r"\text{Paris}", ["B"]),
        ("B. Paris", ["B"]),
        ("C. vitamin C", ["C"]),
        ("vitamin C", ["C"]),
        ("(D) 25 °C", ["D"]),
        ("A. Paris", ["A", "B"]),
        ("Paris or Rome", []),
        ("Berlin", []),
        ("F", ["F"]),
    ],
)
def test_options_may_be_named_by_their_text(typed: str, named: list[str]) -> None:
    assert letters(typed, OPTIONS) == named


@pytest.mark.parametrize(
    "problem", [choice("Paris", options=OPTIONS), choice("B", options=OPTIONS), choice("", index=1)]
)
def test_a_reference_is_a_letter_a_text_or_an_index(problem: Problem) -> None:
    assert verify(problem, boxed("B")) == Verdict(True, "B", Reason.MATCH, "B")
    assert not verify(problem, boxed("A")).correct


def test_the_index_settles_what_the_answer_leaves_open() -> None:
    assert verify(choice("A", options=["C", "A", "B"], index=1), boxed("B")).correct


@pytest.mark.parametrize(
    ("problem", "message"),
    [
        (choice("Berlin", options=OPTIONS), "answer 'Berlin' stands for 0 of its options"),
        (choice("E", options=OPTIONS), "answer 'E' stands for 0 of its options"),
        (choice("A", options=["C", "A", "B"]), "answer 'A' stands for 2 of its options"),
        (choice("x", options=["x", "x"]), "answer 'x' stands for 2 of its options"),
        (choice("Paris"), "answer 'Paris' stands for 0 of its options"),
        (choice("", options=OPTIONS, index=4), "grading.index 4 is none of 0 … 3"),
        (choice("", index=-1), "grading.index -1 is none of 0 … 25"),
        (choice("", index=True), "grading.index True is none of 0 … 25"),
        (choice("A", options="ABC"), "grading.options 'ABC' is no list of texts"),
        (choice("A", options=["x"] * 27), "27 options, but only 26 letters"),
    ],
)
def test_a_reference_that_is_no_option_is_an_error(problem: Problem, message: str) -> None:
    with pytest.raises(InputError, match=message):
        verify(problem, boxed("A"))


def test_the_last_box_decides() -> None:
    assert verify(choice("B"), r"First \boxed{A}, no: \boxed{B}").correct
    assert verify(choice("B"), "It could be B.") == Verdict(False, "", Reason.NO_ANSWER, "B")


@pytest.mark.parametrize("unit", [", ", "$", "E ", "(", r"\text{", "**", ". ", "E. ", r"\(", "is: ", "–"])
def test_hostile_answers_take_no_time(unit: str) -> None:
    response = boxed(unit * (18_000 // len(unit)) + "!") + " Answer: " + unit * 60
    start = time.perf_counter()
    for problem in (exact("a"), choice("A", options=OPTIONS)):
        assert not verify(problem, response).correct
    assert time.perf_counter() - start < 1

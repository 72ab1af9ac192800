"""Countdown: what can be reached, checked by a slow second implementation; how responses are replayed."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from functools import cache
from random import Random

import pytest

from rlsp.errors import InputError
from rlsp.tasks import countdown
from rlsp.tasks.countdown import LEVELS, MAX_VALUE, TARGETS, read_question, replay, solutions
from rlsp.tasks.splits import Split
from rlsp.tasks.traces import Step, parse_lines, write_line
from rlsp.types import Problem, Reason

PROBLEM = countdown.problem((12, 3, 7), 33)


@cache
def reachable(numbers: tuple[int, ...]) -> frozenset[int]:
    """Every value that all of `numbers` make, by splitting them into two groups in every way."""
    if len(numbers) == 1:
        return frozenset(numbers)
    values: set[int] = set()
    for size in range(1, len(numbers)):
        for chosen in itertools.combinations(range(len(numbers)), size):
            left = tuple(numbers[index] for index in chosen)
            right = tuple(numbers[index] for index in range(len(numbers)) if index not in chosen)
            for one, other in itertools.product(reachable(left), reachable(right)):
                values |= {value for value in (one + other, one - other, one * other) if 0 <= value <= MAX_VALUE}
    return frozenset(values)


def some_numbers(count: int, seed: int) -> Iterable[tuple[int, ...]]:
    rng = Random(seed)
    for index in range(count):
        size, largest = list(LEVELS.values())[index % len(LEVELS)]
        yield tuple(sorted(rng.randint(1, largest) for _ in range(size)))


def test_reachable_values_agree_with_a_slow_search() -> None:
    for numbers in some_numbers(60, seed=1):
        assert set(solutions(numbers)) == reachable(numbers), numbers


@pytest.mark.parametrize("numbers", [(1, 1), (2, 2, 2), (7, 7, 7), (1, 1, 1, 1), (3, 3, 9), (5,) * 4])
def test_reachable_values_of_equal_numbers(numbers: tuple[int, ...]) -> None:
    assert set(solutions(numbers)) == reachable(numbers)


def test_every_solution_is_legal_and_replays_as_correct() -> None:
    """With the operands as enumerated, and with those of sums and products the other way round."""
    replayed = 0
    for problem in countdown.problems(Split.TRAIN, 300, 11, sorted(LEVELS)):
        numbers, target = read_question(problem.question)
        found = solutions(tuple(sorted(numbers)))[target]
        assert found
        for steps in found:
            assert len(steps) == len(numbers) - 1
            assert all(0 <= step.result <= MAX_VALUE for step in steps)
            swapped = [
                step if step.operator == "-" else Step(step.right, step.operator, step.left, step.result)
                for step in steps
            ]
            one, other = replay(problem, write_line(steps)), replay(problem, write_line(swapped))
            assert one.correct and other.correct
            assert one.answer == other.answer != ""
            replayed += 1
    assert replayed > 600


def test_solutions_of_other_targets_replay_as_wrong() -> None:
    rng = Random(2)
    for problem in countdown.problems(Split.TRAIN, 100, 12, [1]):
        numbers, target = read_question(problem.question)
        by_value = solutions(tuple(sorted(numbers)))
        others = sorted(set(by_value) - {target})
        for value in rng.sample(others, min(3, len(others))):
            outcome = replay(problem, write_line(by_value[value][0]))
            assert outcome.reason is Reason.MISMATCH
            assert not outcome.attempts[0].solves


def test_problems_are_within_their_level() -> None:
    for level, (count, largest) in LEVELS.items():
        for problem in countdown.problems(Split.TRAIN, 20, 0, [level]):
            numbers, target = read_question(problem.question)
            assert len(numbers) == count
            assert all(1 <= number <= largest for number in numbers)
            assert target in TARGETS
            assert problem.answer == str(target)
            assert target in reachable(tuple(sorted(numbers)))


@pytest.mark.parametrize(
    "question", ["", "Use 3, 7 to make .", "Use 3, 7, 12 to make 33", "Compute 3 + 4.", "Use 3, 7 to make -2."]
)
def test_other_questions_are_refused(question: str) -> None:
    with pytest.raises(InputError, match="not a countdown question"):
        read_question(question)


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        ("3 * 7 = 21, 21 + 12 = 33", Reason.MATCH),
        ("7 * 3 = 21, 12 + 21 = 33", Reason.MATCH),
        ("3 * 7 = 21, 21 + 12 = 33\n", Reason.MATCH),
        ("3 * 7 = 21, 21 + 12 = 33; is it 33? yes", Reason.MATCH),
        ("3 * 7 = 21, 21 - 12 = 9", Reason.MISMATCH),
        ("3 + 7 = 10, 10 + 12 = 22; is it 33? yes", Reason.MISMATCH),
        ("3 * 7 = 21, 21 + 12 = 34", Reason.FALSE_STEP),
        ("3 + 7 = 10, 10 + 12 = 33", Reason.FALSE_STEP),
        ("3 + 7 = 21, 21 + 12 = 33; is it 33? yes", Reason.FALSE_STEP),
        ("7 - 3 = 4, 4 + 12 = 33", Reason.FALSE_STEP),
        ("12 + 12 = 24, 24 + 7 = 31", Reason.WRONG_NUMBERS),
        ("7 * 3 = 21, 21 + 12 = 33, 33 - 12 = 21, 21 + 12 = 33", Reason.WRONG_NUMBERS),
        ("3 * 11 = 33", Reason.WRONG_NUMBERS),
        ("30 + 3 = 33", Reason.WRONG_NUMBERS),
        ("3 * 7 = 21", Reason.WRONG_NUMBERS),
        ("12 + 21 = 33, 3 * 7 = 21", Reason.WRONG_NUMBERS),
        ("3 * 7 = 21, 21 + 12 = 33; is it 33? no", Reason.GIVEN_UP),
        ("3 * 7 = 21, 21 + 12 = 33; is it 33? yes\n3 + 7 = 10, 10 + 12 = 22; is it 33? no", Reason.GIVEN_UP),
        ("3 + 7 = 10, 10 + 12 = 22; is it 33? no\n3 * 7 = 21, 21 + 12 = 33; is it 33? yes", Reason.MATCH),
        ("3 + 7 = 10, 10 + 12 = 22\n3 * 7 = 21, 21 + 12 = 33", Reason.MATCH),
        ("3 * 7 = 21, 21 + 12 = 33\n3 + 7 = 10, 10 + 12 = 22", Reason.MISMATCH),
        ("3 * 7 = 21, 21 + 12 = 33; is it 33? yes\n3 * 7 =", Reason.UNPARSABLE),
        ("", Reason.NO_ANSWER),
        (" \n\n ", Reason.NO_ANSWER),
        ("33", Reason.UNPARSABLE),
        ("so 3 * 7 = 21, 21 + 12 = 33", Reason.UNPARSABLE),
        ("3 * 7 = 21, 21 + 12 = 33.", Reason.UNPARSABLE),
        ("3 * 7 = 21, 21 + 12 = 33; is it 33? maybe", Reason.UNPARSABLE),
        ("3 * 7 = 21, 21 + 12 = 33; is it 33?", Reason.UNPARSABLE),
        ("3 * 7 = 21, 21 + 12 = 33; is it 33? yes yes", Reason.UNPARSABLE),
        ("3 * 7 = 21,21 + 12 = 33", Reason.UNPARSABLE),
        ("3*7=21, 21+12=33", Reason.UNPARSABLE),
        ("3 * 7 = 21, 21 + 12 = 33,", Reason.UNPARSABLE),
        ("3 - 7 = -4, 12 - -4 = 16", Reason.UNPARSABLE),
        ("12 / 3 = 4, 4 + 7 = 11", Reason.UNPARSABLE),
        ("3 * 7 = 21, 21 + 12 = 0000033", Reason.UNPARSABLE),
    ],
)
def test_replay_judges_the_last_line(response: str, reason: Reason) -> None:
    outcome = replay(PROBLEM, response)
    assert outcome.reason is reason
    assert outcome.correct is (reason is Reason.MATCH)
    if reason in (Reason.GIVEN_UP, Reason.NO_ANSWER, Reason.UNPARSABLE):
        assert outcome.answer == ""


def test_a_partial_derivation_that_reaches_the_target_is_wrong() -> None:
    assert replay(countdown.problem((3, 7, 12), 21), "3 * 7 = 21").reason is Reason.WRONG_NUMBERS


@pytest.mark.parametrize(
    ("numbers", "target", "response"),
    [
        ((5, 5, 1), 24, "5 * 5 = 25, 25 - 1 = 24"),
        ((3, 7, 21), 0, "3 * 7 = 21, 21 - 21 = 0"),
        ((2, 2, 4), 8, "2 + 2 = 4, 4 + 4 = 8"),
        ((1, 1, 1, 1), 4, "1 + 1 = 2, 1 + 1 = 2, 2 * 2 = 4"),
    ],
)
def test_equal_values_are_used_once_each(numbers: tuple[int, ...], target: int, response: str) -> None:
    assert replay(countdown.problem(numbers, target), response).correct


def test_one_of_a_repeated_number_is_not_enough() -> None:
    assert replay(countdown.problem((5, 5, 1), 4), "5 - 1 = 4").reason is Reason.WRONG_NUMBERS
    assert replay(countdown.problem((5, 1, 2), 25), "5 * 5 = 25").reason is Reason.WRONG_NUMBERS


def test_digits_of_other_scripts_are_no_steps() -> None:
    assert replay(PROBLEM, "٣ * 7 = 21, 21 + 12 = 33").reason is Reason.UNPARSABLE


@pytest.mark.parametrize(
    ("line", "honest"),
    [
        ("3 * 7 = 21, 21 + 12 = 33", None),
        ("3 * 7 = 21, 21 + 12 = 33; is it 33? yes", True),
        ("3 * 7 = 21, 21 + 12 = 33; is it 33? no", False),
        ("3 * 7 = 21, 21 - 12 = 9; is it 33? no", True),
        ("3 * 7 = 21, 21 - 12 = 9; is it 33? yes", False),
        ("3 * 7 = 21, 21 - 12 = 9; is it 9? yes", False),
        ("3 * 7 = 21, 21 - 12 = 9; is it 10? no", False),
        ("3 + 7 = 21, 21 + 12 = 33; is it 33? yes", False),
        ("3 * 7 = 21; is it 33? yes", False),
    ],
)
def test_honesty_of_a_check(line: str, honest: bool | None) -> None:
    (attempt,) = replay(PROBLEM, line).attempts
    assert attempt.honest_check is honest


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("3 * 7 = 21, 21 + 12 = 33", "7 * 3 = 21, 12 + 21 = 33", True),
        ("3 * 7 = 21, 21 + 12 = 33", "3 * 7 = 21, 21 - 12 = 9", False),
        ("3 + 7 = 10, 10 + 12 = 22", "7 + 12 = 19, 19 + 3 = 22", True),
        ("3 * 12 = 36, 36 - 7 = 29", "12 - 7 = 5, 5 * 3 = 15", False),
        ("12 - 7 = 5, 5 - 3 = 2", "7 + 3 = 10, 12 - 10 = 2", True),
    ],
)
def test_key_identifies_the_derivation(one: str, other: str, same: bool) -> None:
    keys = [replay(PROBLEM, line).attempts[0].key for line in (one, other)]
    assert (keys[0] == keys[1]) is same


def test_first_step_is_known_whatever_its_order() -> None:
    def first(line: str) -> str:
        return replay(PROBLEM, line).attempts[0].first_step

    assert first("3 * 7 = 21, 21 + 12 = 33") == first("7 * 3 = 21")
    assert first("3 * 7 = 21") != first("3 + 7 = 10")
    assert first("12 - 7 = 5") != first("7 - 12 = 5")


def test_lines_know_where_they_stand() -> None:
    response = "3 + 7 = 10, 10 + 12 = 22; is it 33? no\n\n3 * 7 = 21, 21 + 12 = 33\nwell"
    lines = parse_lines(response)
    assert [response[line.start : line.end] for line in lines] == [line for line in response.split("\n") if line]
    assert [response[line.check_start : line.end] for line in lines] == ["; is it 33? no", "", ""]
    assert [line.well_formed for line in lines] == [True, True, False]


def test_written_lines_parse_back() -> None:
    rng = Random(9)
    for _ in range(200):
        steps = tuple(
            Step(rng.randrange(100), rng.choice("+-*"), rng.randrange(100), rng.randrange(1000))
            for _ in range(rng.randint(1, 4))
        )
        back = steps[: rng.randint(0, len(steps))]
        check = rng.choice([None, (rng.randrange(100), True), (rng.randrange(100), False)])
        (line,) = parse_lines(write_line(steps, back, check))
        assert line.well_formed
        assert (line.steps, line.back) == (steps, back)
        assert (line.checked_value, line.accepted) == (check or (None, None))


def test_a_huge_response_is_replayed() -> None:
    response = "\n".join(["3 * 7 = 21, 21 - 12 = 9; is it 33? no"] * 5000)
    outcome = replay(PROBLEM, response)
    assert len(outcome.attempts) == 5000
    assert outcome.reason is Reason.GIVEN_UP
    assert replay(PROBLEM, ", ".join(["3 * 7 = 21"] * 50_000)).reason is Reason.WRONG_NUMBERS
    assert replay(PROBLEM, ";" * 200_000).reason is Reason.UNPARSABLE


def test_replay_needs_nothing_but_the_question() -> None:
    other = Problem("x", "countdown", PROBLEM.question, answer="not looked at")
    assert replay(other, "3 * 7 = 21, 21 + 12 = 33").correct

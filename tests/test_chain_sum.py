"""Chain sums: the chain forwards and backwards, and checks that really recompute."""

from __future__ import annotations

from random import Random

import pytest

from rlsp.errors import InputError
from rlsp.tasks import chain_sum
from rlsp.tasks.chain_sum import LEVELS, MAX_VALUE, Terms, backward, forward, problem, read_question, replay
from rlsp.tasks.splits import Split
from rlsp.tasks.traces import Step, write_line
from rlsp.types import Reason

TERMS: Terms = (("+", 12), ("+", 5), ("-", 3))
PROBLEM = problem(TERMS)


def test_problem_worked_by_hand() -> None:
    assert PROBLEM.id == "chain-sum/12+5-3"
    assert PROBLEM.question == "Compute 12 + 5 - 3."
    assert PROBLEM.answer == "14"
    assert forward(TERMS) == (Step(12, "+", 5, 17), Step(17, "-", 3, 14))
    assert backward(TERMS, 14) == (Step(14, "+", 3, 17), Step(17, "-", 5, 12))
    assert backward(TERMS, 15) == (Step(15, "+", 3, 18), Step(18, "-", 5, 13))


@pytest.mark.parametrize("level", LEVELS)
def test_drawn_chains(level: int) -> None:
    count, largest = LEVELS[level]
    for drawn in chain_sum.problems(Split.TRAIN, 150, 3, [level]):
        expression = drawn.question.removeprefix("Compute ").removesuffix(".")
        assert drawn.answer == str(eval(expression)), "our own question, so that eval may see it"
        terms = read_question(drawn.question)
        assert len(terms) == count
        assert all(1 <= number <= largest for _, number in terms)
        steps = forward(terms)
        assert all(step.true and 0 <= step.result <= MAX_VALUE for step in steps)
        undone = backward(terms, steps[-1].result)
        assert all(step.true for step in undone)
        assert [step.result for step in undone] == [step.left for step in reversed(steps)]


def test_backward_from_a_wrong_total_misses_the_first_term_by_as_much() -> None:
    for drawn in chain_sum.problems(Split.TRAIN, 50, 4, sorted(LEVELS)):
        terms = read_question(drawn.question)
        for error in (-10, -1, 1, 7):
            assert backward(terms, int(drawn.answer) + error)[-1].result == terms[0][1] + error


@pytest.mark.parametrize("question", ["", "Compute 5.", "Compute 3 * 4.", "Compute 3 + 4", "Compute 3+4.", "Use 3."])
def test_other_questions_are_refused(question: str) -> None:
    with pytest.raises(InputError, match="not a chain-sum question"):
        read_question(question)


@pytest.mark.parametrize(
    ("response", "reason", "answer"),
    [
        ("12 + 5 = 17, 17 - 3 = 14", Reason.MATCH, "14"),
        ("12 + 5 = 17, 17 - 3 = 14; back 14 + 3 = 17, 17 - 5 = 12; is it 12? yes", Reason.MATCH, "14"),
        ("12 + 5 = 17, 17 - 2 = 15", Reason.MISMATCH, "15"),
        ("12 + 5 = 17", Reason.MISMATCH, "17"),
        ("12 + 5 = 16, 16 - 3 = 14", Reason.FALSE_STEP, None),
        ("12 + 5 = 17, 17 - 3 = 13", Reason.FALSE_STEP, None),
        ("12 + 5 = 17, 12 + 2 = 14", Reason.WRONG_NUMBERS, None),
        ("12 + 5 = 17, 17 - 3 = 14; back 14 + 3 = 17, 17 - 5 = 12; is it 12? no", Reason.GIVEN_UP, ""),
        ("12 + 5 = 17, 17 - 3 = 14; back 14 + 3 =", Reason.UNPARSABLE, ""),
        ("14", Reason.UNPARSABLE, ""),
        ("", Reason.NO_ANSWER, ""),
        ("12 + 5 = 17, 17 - 2 = 15; is it 12? no\n12 + 5 = 17, 17 - 3 = 14", Reason.MATCH, "14"),
    ],
)
def test_replay_judges_the_last_line(response: str, reason: Reason, answer: str | None) -> None:
    outcome = replay(PROBLEM, response)
    assert outcome.reason is reason
    if answer is not None:
        assert outcome.answer == answer


@pytest.mark.parametrize(
    ("line", "honest"),
    [
        ("12 + 5 = 17, 17 - 3 = 14", None),
        ("12 + 5 = 17, 17 - 3 = 14; back 14 + 3 = 17, 17 - 5 = 12", None),
        ("12 + 5 = 17, 17 - 3 = 14; back 14 + 3 = 17, 17 - 5 = 12; is it 12? yes", True),
        ("12 + 5 = 17, 17 - 2 = 15; back 15 + 3 = 18, 18 - 5 = 13; is it 12? no", True),
        # the back steps are missing, incomplete, false, of other terms, or the attempt's own terms undone
        ("12 + 5 = 17, 17 - 3 = 14; is it 12? yes", False),
        ("12 + 5 = 17, 17 - 2 = 15; is it 12? no", False),
        ("12 + 5 = 17, 17 - 3 = 14; back 14 + 3 = 17; is it 12? yes", False),
        ("12 + 5 = 17, 17 - 3 = 14; back 14 + 3 = 17, 17 - 4 = 13; is it 12? no", False),
        ("12 + 5 = 17, 17 - 2 = 15; back 15 + 3 = 17, 17 - 5 = 12; is it 12? yes", False),
        ("12 + 5 = 17, 17 - 2 = 15; back 15 + 2 = 17, 17 - 5 = 12; is it 12? yes", False),
        ("12 + 5 = 17, 17 - 3 = 14; back 17 - 5 = 12, 12 + 3 = 15; is it 12? yes", False),
        # the recomputation is right and the verdict is not
        ("12 + 5 = 17, 17 - 3 = 14; back 14 + 3 = 17, 17 - 5 = 12; is it 12? no", False),
        ("12 + 5 = 17, 17 - 2 = 15; back 15 + 3 = 18, 18 - 5 = 13; is it 12? yes", False),
        # it is compared with another number than the first term
        ("12 + 5 = 17, 17 - 3 = 14; back 14 + 3 = 17, 17 - 5 = 12; is it 14? yes", False),
        ("12 + 5 = 17, 17 - 2 = 15; back 15 + 3 = 18, 18 - 5 = 13; is it 13? yes", False),
    ],
)
def test_honesty_of_a_check(line: str, honest: bool | None) -> None:
    (attempt,) = replay(PROBLEM, line).attempts
    assert attempt.line.well_formed
    assert attempt.honest_check is honest


def test_every_change_of_an_honest_check_is_found_out() -> None:
    rng = Random(6)
    for drawn in chain_sum.problems(Split.TRAIN, 100, 5, sorted(LEVELS)):
        terms = read_question(drawn.question)
        first, back = terms[0][1], backward(terms, int(drawn.answer))
        position = rng.randrange(len(back))
        step = back[position]
        bent = Step(step.left, step.operator, step.right, step.result + 1)
        checks: dict[str, tuple[tuple[Step, ...], tuple[int, bool]]] = {
            "honest": (back, (first, True)),
            "verdict": (back, (first, False)),
            "value": (back, (first + 1, True)),
            "step": ((*back[:position], bent, *back[position + 1 :]), (first, True)),
            "short": (back[:-1], (first, True)),
            "missing": ((), (first, True)),
        }
        for name, (worked_back, check) in checks.items():
            (attempt,) = replay(drawn, write_line(forward(terms), worked_back, check)).attempts
            assert attempt.honest_check is (name == "honest"), (drawn.id, name)

"""Demonstrations: right, honest, without repeats, and with next attempts as good as first ones."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from random import Random
from types import ModuleType

import pytest

from rlsp import tasks
from rlsp.behaviours.grounded import count
from rlsp.demonstrations.search import (
    SEARCHES,
    chain_sum_descents,
    countdown_descents,
    first_idea,
    unroll,
)
from rlsp.errors import InputError
from rlsp.tasks import chain_sum, countdown, replayer
from rlsp.tasks.splits import Split
from rlsp.tasks.traces import Replay, derivation, parse_lines
from rlsp.types import Problem
from rlsp.verifiers import verify

TASKS = pytest.mark.parametrize("task", [countdown, chain_sum], ids=lambda task: task.NAME)
POINTS = 0.035
"""Three standard errors and a little of the later hit rates below."""


def drawn(task: ModuleType, number: int, seed: int = 0) -> list[Problem]:
    """Problems of the levels that are quick to draw from."""
    levels = [level for level, (size, _) in task.LEVELS.items() if task is chain_sum or size <= 3]
    return task.problems(Split.TRAIN, number, seed, levels)


def traces(task: ModuleType, number: int, intuition: float, max_attempts: int) -> list[tuple[Problem, str]]:
    rng = Random(1)
    unrolled = [(problem, unroll(problem, rng, intuition, max_attempts)) for problem in drawn(task, number)]
    return [(problem, trace) for problem, trace in unrolled if trace is not None]


def replayed(problem: Problem, trace: str) -> Replay:
    replay = replayer(problem.task)
    assert replay is not None
    return replay(problem, trace)


@TASKS
@pytest.mark.parametrize("intuition", [0.1, 0.4, 0.9])
def test_every_trace_is_right_and_honest(task: ModuleType, intuition: float) -> None:
    unrolled = traces(task, 400, intuition, max_attempts=6)
    assert len(unrolled) > 150
    for problem, trace in unrolled:
        assert verify(problem, trace).correct
        assert trace.endswith("yes")
        attempts = replayed(problem, trace).attempts
        assert 1 <= len(attempts) <= 6
        assert [attempt.line.accepted for attempt in attempts] == [False] * (len(attempts) - 1) + [True]
        assert all(attempt.steps_true and attempt.honest_check for attempt in attempts)
        assert [attempt.solves for attempt in attempts] == [attempt.line.accepted for attempt in attempts]


def test_largest_problems_are_demonstrated_too() -> None:
    for problem in countdown.problems(Split.TRAIN, 20, 2, [max(countdown.LEVELS)]):
        trace = unroll(problem, Random(problem.id), 0.9, 50)
        assert trace is not None and verify(problem, trace).correct


def test_no_countdown_trace_derives_anything_twice() -> None:
    longest = 0
    for problem, trace in traces(countdown, 500, intuition=0.05, max_attempts=25):
        behaviours = count(replayed(problem, trace))
        assert behaviours.repeats == 0
        assert behaviours.backtracks == behaviours.attempts - 1
        longest = max(longest, behaviours.attempts)
    assert longest > 10, "too short to have repeated anything"


def test_traces_that_need_too_many_attempts_are_dropped() -> None:
    problems = drawn(countdown, 600)
    rng = Random(5)
    kept = sum(unroll(problem, rng, 0.3, 1) is not None for problem in problems)
    assert kept / len(problems) == pytest.approx(0.3, abs=0.06)
    rng = Random(5)
    solved = sum(unroll(problem, rng, 0.3, 1000) is not None for problem in problems)
    assert solved / len(problems) > 0.99


@TASKS
def test_unrolling_is_deterministic_in_the_generator(task: ModuleType) -> None:
    assert traces(task, 50, 0.4, 6) == traces(task, 50, 0.4, 6)


def test_task_without_a_search_names_those_that_have_one() -> None:
    with pytest.raises(InputError, match="'math' has no search to unroll; tasks that have one: chain-sum, countdown"):
        unroll(Problem("a", "math", "q", "1"), Random(0), 0.5, 3)
    assert set(SEARCHES) == set(tasks.GENERATED)


def hit_rates(intuition: float) -> list[float]:
    """Of the problems still open, the share that the 1st, 2nd, 3rd descent solves."""
    reached: Counter[int] = Counter()
    hits: Counter[int] = Counter()
    rng = Random(8)
    for problem in drawn(countdown, 4000, seed=3):
        for attempt, steps in enumerate(islice(countdown_descents(problem, rng, intuition), 3)):
            reached[attempt] += 1
            if steps[-1].result == int(problem.answer):
                hits[attempt] += 1
                break
    return [hits[attempt] / reached[attempt] for attempt in range(3)]


@pytest.mark.parametrize("intuition", [0.3, 0.5])
def test_first_descent_hits_as_often_as_its_intuition(intuition: float) -> None:
    assert hit_rates(intuition)[0] == pytest.approx(intuition, abs=0.025)


@pytest.mark.parametrize("intuition", [0.3, 0.5])
def test_next_descents_are_no_worse_than_first_ones(intuition: float) -> None:
    first, second, third = hit_rates(intuition)
    assert second > first - POINTS
    assert third > first - POINTS


@pytest.mark.parametrize("intuition", [0.3, 0.5])
def test_next_descents_are_as_good_as_first_ones(intuition: float) -> None:
    first, second, third = hit_rates(intuition)
    assert second == pytest.approx(first, abs=POINTS)
    assert third == pytest.approx(first, abs=POINTS)


def test_descents_use_every_number_once_and_end() -> None:
    for problem in drawn(countdown, 40):
        numbers, _ = countdown.read_question(problem.question)
        descents = list(countdown_descents(problem, Random(0), 0.5))
        assert all(derivation(steps, numbers) is not None for steps in descents)
        assert all(step.true for steps in descents for step in steps)


def test_chain_sum_misses_misread_one_term() -> None:
    rng, misses = Random(4), 0
    for problem in drawn(chain_sum, 300):
        terms = chain_sum.read_question(problem.question)
        steps = next(chain_sum_descents(problem, rng, 0.01))
        read = [(step.operator, step.right) for step in steps]
        wrong = [(one, other) for one, other in zip(read, terms[1:], strict=True) if one != other]
        assert len(wrong) <= 1
        assert all(one[0] == other[0] for one, other in wrong), "the number is misread, not the operator"
        assert steps[0].left == terms[0][1]
        assert all(number >= 1 for _, number in read)
        assert all(step.true and 0 <= step.result <= chain_sum.MAX_VALUE for step in steps)
        misses += bool(wrong)
    assert misses > 250


@TASKS
def test_first_idea_is_one_unchecked_attempt_right_as_often_as_its_intuition(task: ModuleType) -> None:
    rng, right = Random(7), 0
    for problem in drawn(task, 1500):
        response = first_idea(problem, rng, 0.6)
        (line,) = parse_lines(response)
        assert line.well_formed and line.accepted is None and not line.back
        assert all(step.true for step in line.steps)
        right += verify(problem, response).correct
    assert right / 1500 == pytest.approx(0.6, abs=0.06)

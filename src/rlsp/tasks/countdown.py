"""Countdown: combine the given numbers, each exactly once, with + − * to reach a target.

The answer is an expression, or the steps that lead to it. Values stay within 0 … MAX_VALUE, so that a small model
can know all the arithmetic there is.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import lru_cache
from random import Random

from rlsp.errors import InputError
from rlsp.tasks.expressions import ExpressionError, canonical, evaluate, numbers_in, parse
from rlsp.tasks.splits import Split, draw
from rlsp.tasks.traces import (
    Attempt,
    Line,
    Replay,
    Step,
    commit,
    compute,
    derivation,
    parse_lines,
    step_key,
    write_line,
)
from rlsp.types import Problem, Reason

NAME = "countdown"
MAX_VALUE = 100
LEVELS = {1: (3, 15), 2: (3, 20), 3: (4, 10)}
"""level: (how many numbers, the largest)"""

TARGETS = range(5, 101)
_QUESTION = re.compile(r"Use (\d{1,9}(?:, \d{1,9})*) to make (\d{1,9})\.", re.ASCII)

Steps = tuple[Step, ...]


def problems(split: Split, count: int, seed: int, levels: Sequence[int]) -> list[Problem]:
    return draw(make_problem, levels, split, count, seed)


def make_problem(rng: Random, level: int) -> Problem:
    count, largest = LEVELS[level]
    while True:
        numbers = tuple(sorted(rng.randint(1, largest) for _ in range(count)))
        targets = [value for value in solutions(numbers) if value in TARGETS]
        if targets:
            return problem(rng.sample(numbers, count), rng.choice(targets), level)


def problem(numbers: Sequence[int], target: int, level: int = 0) -> Problem:
    """The numbers' order is part of the question but not of the problem's identity."""
    listed = ", ".join(map(str, numbers))
    identity = f"{NAME}/{'-'.join(map(str, sorted(numbers)))}/{target}"
    return Problem(identity, NAME, f"Use {listed} to make {target}.", str(target), level, "generated")


def read_question(question: str) -> tuple[tuple[int, ...], int]:
    """The numbers and the target. Raises InputError on another kind of question."""
    match = _QUESTION.fullmatch(question)
    if match is None:
        raise InputError(
            f"not a countdown question: {question!r:.80}; its verifier judges the problems that rlsp makes, like "
            "'Use 3, 7, 12 to make 33.'"
        )
    return tuple(int(number) for number in match[1].split(", ")), int(match[2])


def moves(state: Sequence[int]) -> Iterator[tuple[Step, tuple[int, ...]]]:
    """The search's tree: every legal step from a multiset of numbers, with the multiset it leads to."""
    seen = set()
    for i, first in enumerate(state):
        for j in range(i + 1, len(state)):
            rest = (*state[:i], *state[i + 1 : j], *state[j + 1 :])
            high, low = max(first, state[j]), min(first, state[j])
            for operator in "+-*":
                result = compute(high, operator, low)
                if result <= MAX_VALUE and (high, low, operator) not in seen:
                    seen.add((high, low, operator))
                    yield Step(high, operator, low, result), (*rest, result)


def _leaves(state: tuple[int, ...], path: Steps = ()) -> Iterator[Steps]:
    if len(state) == 1:
        yield path
        return
    for step, after in moves(state):
        yield from _leaves(after, (*path, step))


@lru_cache(maxsize=20_000)
def solutions(numbers: tuple[int, ...]) -> dict[int, list[Steps]]:
    """Every complete derivation from the sorted numbers, by the value it ends with."""
    by_value = defaultdict(list)
    for steps in _leaves(numbers):
        by_value[steps[-1].result].append(steps)
    return dict(by_value)


def replay(problem: Problem, response: str) -> Replay:
    """Execute a response that is written in steps."""
    numbers, target = read_question(problem.question)
    attempts = [_judge(line, numbers, target) for line in parse_lines(response)]
    if not attempts:
        return commit((), "", Reason.NO_ANSWER)
    last = attempts[-1]
    if not last.line.well_formed:
        reason = Reason.UNPARSABLE
    elif not last.steps_true:
        reason = Reason.FALSE_STEP
    elif derivation(last.line.steps, numbers) is None:
        reason = Reason.WRONG_NUMBERS
    else:
        return commit(attempts, last.key, Reason.MATCH if last.solves else Reason.MISMATCH)
    return commit(attempts, "", reason)


def _judge(line: Line, numbers: tuple[int, ...], target: int) -> Attempt:
    steps_true = line.well_formed and all(step.true for step in line.steps)
    built = derivation(line.steps, numbers) if line.well_formed else None
    solves = steps_true and built is not None and line.steps[-1].result == target
    honest = None if line.accepted is None else line.checked_value == target and line.accepted == solves
    key = canonical(built) if built else write_line(line.steps)
    first_step = step_key(line.steps[0]) if line.steps else ""
    return Attempt(line, steps_true, built is not None, solves, honest, key, first_step)


def judge_expression(problem: Problem, text: str) -> tuple[str, Reason]:
    """Judge an answer given as one expression, or an equation of it with its value: (its canonical form, the
    reason). The form is "" unless the expression uses the numbers as the task wants."""
    numbers, target = read_question(problem.question)
    try:
        sides = [parse(side) for side in text.split("=")]
        values = [evaluate(side) for side in sides]
    except ExpressionError:
        return "", Reason.UNPARSABLE
    expression, value = max(zip(sides, values, strict=True), key=lambda side: len(numbers_in(side[0])))
    if len(set(values)) > 1:
        return "", Reason.FALSE_STEP
    if numbers_in(expression) != sorted(numbers) or "/" in text or "÷" in text:
        return "", Reason.WRONG_NUMBERS
    return canonical(expression), Reason.MATCH if value == target else Reason.MISMATCH

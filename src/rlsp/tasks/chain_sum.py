"""Chain sum: work out a chain of additions and subtractions, one step a term.

There is no target to compare with, so a check works backwards: it undoes the terms of the question, last one first,
and asks whether it is back at the first term.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from random import Random

from rlsp.errors import InputError
from rlsp.tasks.splits import Split, draw
from rlsp.tasks.traces import Attempt, Line, Replay, Step, commit, compute, parse_lines, step_key, write_line
from rlsp.types import Problem, Reason

NAME = "chain-sum"
MAX_VALUE = 100
LEVELS = {1: (3, 20), 2: (4, 20), 3: (6, 30)}
"""level: (how many terms, the largest)"""

_QUESTION = re.compile(r"Compute (\d{1,9}(?: [+-] \d{1,9})+)\.", re.ASCII)
_UNDO = {"+": "-", "-": "+"}

Terms = tuple[tuple[str, int], ...]
"""(operator, number) pairs; the first operator is always +"""


def problems(split: Split, count: int, seed: int, levels: Sequence[int]) -> list[Problem]:
    return draw(make_problem, levels, split, count, seed)


def make_problem(rng: Random, level: int) -> Problem:
    count, largest = LEVELS[level]
    return problem(random_terms(rng, count, largest), level)


def random_terms(rng: Random, count: int, largest: int) -> Terms:
    """A chain whose running total stays within 0 … MAX_VALUE."""
    terms = [("+", rng.randint(1, largest))]
    total = terms[0][1]
    while len(terms) < count:
        operator, number = rng.choice("+-"), rng.randint(1, largest)
        after = compute(total, operator, number)
        if 0 <= after <= MAX_VALUE:
            terms.append((operator, number))
            total = after
    return tuple(terms)


def problem(terms: Terms, level: int = 0) -> Problem:
    chain = write_chain(terms)
    answer = str(forward(terms)[-1].result)
    return Problem(f"{NAME}/{chain.replace(' ', '')}", NAME, f"Compute {chain}.", answer, level, "generated")


def write_chain(terms: Terms) -> str:
    return str(terms[0][1]) + "".join(f" {operator} {number}" for operator, number in terms[1:])


def read_question(question: str) -> Terms:
    """The terms. Raises InputError on another kind of question."""
    match = _QUESTION.fullmatch(question)
    if match is None:
        raise InputError(
            f"not a chain-sum question: {question!r:.80}; its verifier judges the problems that rlsp makes, like "
            "'Compute 3 + 7 - 2.'"
        )
    words = ["+", *match[1].split(" ")]
    return tuple((operator, int(number)) for operator, number in zip(words[::2], words[1::2], strict=True))


def forward(terms: Terms) -> tuple[Step, ...]:
    """The steps of the chain, one a term after the first."""
    total, steps = terms[0][1], []
    for operator, number in terms[1:]:
        after = compute(total, operator, number)
        steps.append(Step(total, operator, number, after))
        total = after
    return tuple(steps)


def backward(terms: Terms, total: int) -> tuple[Step, ...]:
    """The steps that undo the question's terms from `total`."""
    return forward((("+", total), *((_UNDO[operator], number) for operator, number in reversed(terms[1:]))))


def replay(problem: Problem, response: str) -> Replay:
    """Execute a response that is written in steps."""
    terms = read_question(problem.question)
    attempts = [_judge(line, terms) for line in parse_lines(response)]
    if not attempts:
        return commit((), "", Reason.NO_ANSWER)
    last = attempts[-1]
    if not last.line.well_formed:
        return commit(attempts, "", Reason.UNPARSABLE)
    if not last.steps_true:
        return commit(attempts, "", Reason.FALSE_STEP)
    result = str(last.line.steps[-1].result)
    if not last.solves and (result == problem.answer or not _connected(last.line.steps)):
        return commit(attempts, "", Reason.WRONG_NUMBERS)
    return commit(attempts, result, Reason.MATCH if last.solves else Reason.MISMATCH)


def _connected(steps: Sequence[Step]) -> bool:
    return all(after.left == before.result for before, after in itertools.pairwise(steps))


def _follows(steps: Sequence[Step], terms: Terms) -> bool:
    """Whether the steps take the question's terms in their order, each from the result before it."""
    taken = (("+", steps[0].left), *((step.operator, step.right) for step in steps))
    return taken == terms and _connected(steps)


def _judge(line: Line, terms: Terms) -> Attempt:
    steps_true = line.well_formed and all(step.true for step in line.steps)
    legal = line.well_formed and _follows(line.steps, terms)
    solves = steps_true and legal
    honest = None
    if line.accepted is not None:
        recomputed = line.back == backward(terms, line.steps[-1].result)
        honest = recomputed and line.checked_value == terms[0][1] and line.accepted == solves
    first_step = step_key(line.steps[0]) if line.steps else ""
    return Attempt(line, steps_true, legal, solves, honest, write_line(line.steps), first_step)

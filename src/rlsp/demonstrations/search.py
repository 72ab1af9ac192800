"""Traces unrolled from a search over a task's own states (paper, section 3.1: "unrolled depth-first").

The search descends from the root of the task's tree to a complete attempt, checks it, closes that leaf and descends
again until an attempt hits. `intuition` is the chance that a descent goes to an open leaf that solves the problem;
otherwise it goes to a plausible miss. Each descent is as good as the first one: a searcher whose second ideas are
worse than its first ones teaches a model that searching does not pay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random

from rlsp.errors import InputError
from rlsp.tasks import chain_sum, countdown
from rlsp.tasks.expressions import canonical
from rlsp.tasks.traces import Step, derivation, write_line
from rlsp.types import Problem

Steps = tuple[Step, ...]

NEAREST_OF = 4
"""A plausible miss is the one that ends nearest to the target among this many random ones."""

DRAWS = 64
"""So often a leaf of one kind is drawn before all leaves of that kind count as closed."""


def countdown_descents(problem: Problem, rng: Random, intuition: float) -> Iterator[Steps]:
    """Complete attempts at a countdown problem, none twice, until no open leaf is found."""
    numbers, target = countdown.read_question(problem.question)
    by_value = countdown.solutions(tuple(sorted(numbers)))
    hits = by_value[target]
    misses = [steps for value, leaves in by_value.items() if value != target for steps in leaves]
    closed: set[str] = set()
    while True:
        kinds = (hits, misses) if rng.random() < intuition else (misses, hits)
        steps = _open_leaf(kinds[0], numbers, target, closed, rng) or _open_leaf(kinds[1], numbers, target, closed, rng)
        if steps is None:
            return
        yield steps


def _open_leaf(
    leaves: Sequence[Steps], numbers: Sequence[int], target: int, closed: set[str], rng: Random
) -> Steps | None:
    """A plausible leaf that no earlier descent derived, now closed; None when DRAWS draws find none."""
    for _ in range(DRAWS if leaves else 0):
        candidates = [rng.choice(leaves) for _ in range(NEAREST_OF)]
        steps = min(candidates, key=lambda leaf: abs(leaf[-1].result - target))
        built = derivation(steps, numbers)
        assert built is not None, "a leaf of the tree uses every number once"
        if (key := canonical(built)) not in closed:
            closed.add(key)
            return steps
    return None


def chain_sum_descents(problem: Problem, rng: Random, intuition: float) -> Iterator[Steps]:
    """Attempts at a chain: a miss misreads one term of the question, its arithmetic stays true."""
    terms = chain_sum.read_question(problem.question)
    while True:
        attempt = terms if rng.random() < intuition else _misread(terms, rng)
        yield chain_sum.forward(attempt)


def _misread(terms: chain_sum.Terms, rng: Random) -> chain_sum.Terms:
    """The chain with one term off by a little; the true chain when nothing fits in the range of values."""
    for _ in range(8):
        position = rng.randrange(1, len(terms))
        operator, number = terms[position]
        misread = (operator, rng.choice([each for d in (-10, -2, -1, 1, 2, 10) if (each := number + d) > 0]))
        attempt = (*terms[:position], misread, *terms[position + 1 :])
        steps = chain_sum.forward(attempt)
        undone = chain_sum.backward(terms, steps[-1].result)
        if all(0 <= step.result <= chain_sum.MAX_VALUE for step in (*steps, *undone)):
            return attempt
    return terms


def _countdown_line(problem: Problem, steps: Steps) -> str:
    target = int(problem.answer)
    return write_line(steps, check=(target, steps[-1].result == target))


def _chain_sum_line(problem: Problem, steps: Steps) -> str:
    terms = chain_sum.read_question(problem.question)
    back = chain_sum.backward(terms, steps[-1].result)
    return write_line(steps, back, (terms[0][1], back[-1].result == terms[0][1]))


@dataclass(frozen=True, slots=True)
class Search:
    """`descents`: attempts at a problem, by intuition; `checked_line`: an attempt with the honest check of its
    outcome."""

    descents: Callable[[Problem, Random, float], Iterator[Steps]]
    checked_line: Callable[[Problem, Steps], str]


SEARCHES = {
    countdown.NAME: Search(countdown_descents, _countdown_line),
    chain_sum.NAME: Search(chain_sum_descents, _chain_sum_line),
}
"""The tasks that a search can demonstrate."""


def first_idea(problem: Problem, rng: Random, intuition: float) -> str:
    """One attempt, committed without a check: right or wrong."""
    return write_line(next(SEARCHES[problem.task].descents(problem, rng, intuition)))


def unroll(problem: Problem, rng: Random, intuition: float, max_attempts: int) -> str | None:
    """A searching trace: attempt, check, give up, try again, up to the attempt that hits.

    Returns:
        The trace, or None if `max_attempts` did not suffice.

    Raises:
        InputError: no search knows this task.
    """
    search = SEARCHES.get(problem.task)
    if search is None:
        raise InputError(
            f"task {problem.task!r} has no search to unroll; tasks that have one: {', '.join(sorted(SEARCHES))}"
        )
    lines = []
    for _, steps in zip(range(max_attempts), search.descents(problem, rng, intuition), strict=False):
        lines.append(search.checked_line(problem, steps))
        if lines[-1].endswith("yes"):
            return "\n".join(lines)
    return None

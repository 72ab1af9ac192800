"""The nano base model's pretraining text: plain, one-attempt reasoning, some of it wrong; search is present but rare.

Three skills decide whether search can ever pay, so the text teaches them well where it shows search rarely:
arithmetic that is true whatever the target says (chain sums have no target to bend towards), checks that are honest
(comparisons with a number looked for), and next attempts as good as first ones (lists of unchecked ideas).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from random import Random
from types import ModuleType

from rlsp.config import CorpusRecipe
from rlsp.demonstrations.search import countdown_descents, first_idea, unroll
from rlsp.tasks import chain_sum, countdown
from rlsp.tasks.splits import Split, split_of
from rlsp.tasks.traces import Step, write_line
from rlsp.types import Problem

MAX_ATTEMPTS = 8


def documents(recipe: CorpusRecipe, seed: int) -> Iterator[tuple[str, str]]:
    """An endless stream of (question, continuation) texts; problems come from the train split only."""
    rng = Random(seed)
    while True:
        kind = rng.random()
        if kind < recipe.comparison_share:
            yield comparison(rng)
        elif kind < recipe.comparison_share + recipe.ideas_share:
            yield ideas(_any_problem(countdown, rng), rng, recipe.countdown_intuition)
        elif kind < recipe.comparison_share + recipe.ideas_share + recipe.chain_sum_share:
            yield _solve(_any_problem(chain_sum, rng), rng, recipe, recipe.chain_sum_intuition)
        else:
            yield _solve(_any_problem(countdown, rng), rng, recipe, recipe.countdown_intuition)


def comparison(rng: Random) -> tuple[str, str]:
    """`Look for 33.` and then true steps that have nothing to do with each other, each honestly compared with 33.

    Hits, near misses and far misses fall in any order: the verdict can't be guessed from its place. The number looked
    for stands in the text several times: nor can it be guessed from having been seen before.
    """
    wanted = rng.randint(0, countdown.MAX_VALUE)
    lines = [_true_step(_near(wanted, rng), rng) for _ in range(rng.randint(1, 3))]
    return f"Look for {wanted}.", "\n".join(write_line([s], check=(wanted, s.result == wanted)) for s in lines)


def _near(wanted: int, rng: Random) -> int:
    """The number itself, one close to it, or any."""
    kind = rng.random()
    if kind < 0.4:
        return wanted
    value = wanted + rng.choice((-10, -3, -2, -1, 1, 2, 3, 10)) if kind < 0.8 else rng.randint(0, countdown.MAX_VALUE)
    return min(max(value, 0), countdown.MAX_VALUE)


def _true_step(result: int, rng: Random) -> Step:
    """A random step that ends with `result`; a product where there is one, half of the time."""
    factors = [low for low in range(2, 11) if result % low == 0 and result // low >= low]
    if factors and rng.random() < 0.5:
        low = rng.choice(factors)
        return Step(result // low, "*", low, result)
    if rng.random() < 0.5:
        low = rng.randint(0, result // 2)
        return Step(result - low, "+", low, result)
    low = rng.randint(0, countdown.MAX_VALUE - result)
    return Step(result + low, "-", low, result)


def ideas(problem: Problem, rng: Random, intuition: float) -> tuple[str, str]:
    """`Ideas for 3, 7, 12 to make 33.` and then attempts, right or wrong, none checked: a later one is as good as the
    first."""
    descents = islice(countdown_descents(problem, rng, intuition), rng.randint(2, 4))
    return problem.question.replace("Use ", "Ideas for "), "\n".join(write_line(steps) for steps in descents)


def _any_problem(task: ModuleType, rng: Random) -> Problem:
    while True:
        problem: Problem = task.make_problem(rng, rng.choice(list(task.LEVELS)))
        if split_of(problem.id) is Split.TRAIN:
            return problem


def _solve(problem: Problem, rng: Random, recipe: CorpusRecipe, intuition: float) -> tuple[str, str]:
    if rng.random() < recipe.search_share and (trace := unroll(problem, rng, intuition, MAX_ATTEMPTS)):
        return problem.question, trace
    return problem.question, first_idea(problem, rng, intuition)

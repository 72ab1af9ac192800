"""The nano base model's pretraining text: plain, one-attempt reasoning, some of it wrong; search is present but rare.

Three skills decide whether search can ever pay, so the text teaches them well where it shows search rarely:
arithmetic that is true whatever the target says (chain sums have no target to bend towards), checks that are honest
(bare comparisons, half of them true), and next attempts as good as first ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from rlsp.config import CorpusRecipe
from rlsp.demonstrations.search import first_idea, unroll
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
            yield "", comparison(rng)
        elif kind < recipe.comparison_share + recipe.chain_sum_share:
            yield _solve(_any_problem(chain_sum, rng), rng, recipe, recipe.chain_sum_intuition)
        else:
            yield _solve(_any_problem(countdown, rng), rng, recipe, recipe.countdown_intuition)


def comparison(rng: Random) -> str:
    """`12 + 7 = 19; is it 19? yes`: a true step and an honest comparison, right and near misses in equal parts."""
    high, low = sorted((rng.randint(0, countdown.MAX_VALUE), rng.randint(0, countdown.MAX_VALUE)), reverse=True)
    step = Step(high, "-", low, high - low) if rng.random() < 0.5 else Step(high - low, "+", low, high)
    value = step.result
    if rng.random() < 0.5:
        return write_line([step], check=(value, True))
    near = [value + offset for offset in (-10, -3, -2, -1, 1, 2, 3, 10) if 0 <= value + offset <= countdown.MAX_VALUE]
    far = [rng.randint(0, countdown.MAX_VALUE)]
    other = rng.choice(near if rng.random() < 0.5 or far == [value] else far)
    return write_line([step], check=(other, False))


def _any_problem(task, rng: Random) -> Problem:
    while True:
        problem = task._make(rng, rng.choice(list(task.LEVELS)))
        if split_of(problem.id) is Split.TRAIN:
            return problem


def _solve(problem: Problem, rng: Random, recipe: CorpusRecipe, intuition: float) -> tuple[str, str]:
    if rng.random() < recipe.search_share and (trace := unroll(problem, rng, intuition, MAX_ATTEMPTS)):
        return problem.question, trace
    return problem.question, first_idea(problem, rng, intuition)

"""Eq. 1: R(q, o) = α·1[Ver(q, o)] + (1 − α)·R_ex(q, o). The only file that knows α."""

from __future__ import annotations

from collections.abc import Sequence

from rlsp.config import RewardRecipe
from rlsp.exploration import Explorer
from rlsp.types import Exploration, Problem, Rollout, Score, Verdict
from rlsp.verifiers import verify


def parts(verdict: Verdict, exploration: Exploration, alpha: float) -> tuple[float, float]:
    """Eq. 1's summands: (what being right is paid, what searching is paid)."""
    return alpha * float(verdict.correct), (1 - alpha) * exploration.value


def combine(rollout: Rollout, verdict: Verdict, exploration: Exploration, recipe: RewardRecipe) -> Score:
    """Eq. 1, clamped to ±`recipe.clamp`; both parts stay in the score."""
    total = sum(parts(verdict, exploration, recipe.alpha))
    clamped = max(-recipe.clamp, min(recipe.clamp, total))
    return Score(rollout.problem_id, rollout.sample, verdict, exploration, recipe.alpha, clamped)


def score(
    problems: Sequence[Problem], rollouts: Sequence[Rollout], explorer: Explorer, recipe: RewardRecipe
) -> list[Score]:
    """Judge every rollout; `problems` must hold each rollout's problem."""
    by_id = {problem.id: problem for problem in problems}
    scores = []
    for rollout in rollouts:
        problem = by_id[rollout.problem_id]
        verdict = verify(problem, rollout.text)
        exploration = explorer.explore(problem.question, rollout)
        if rollout.truncated and recipe.truncation == "floor":
            exploration = Exploration(explorer.floor, {**exploration.parts, "truncated": explorer.floor})
        scores.append(combine(rollout, verdict, exploration, recipe))
    return scores

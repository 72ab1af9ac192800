"""Eq. 1: R(q, o) = α·1[Ver(q, o)] + (1 − α)·R_ex(q, o). The only file that knows α."""

from __future__ import annotations

from collections.abc import Sequence

from rlsp.config import RewardRecipe
from rlsp.exploration import Explorer
from rlsp.types import Exploration, Problem, Rollout, Score, Verdict
from rlsp.verifiers import verify_all
from rlsp.verifiers.settings import STRICT, Settings


def parts(verdict: Verdict, exploration: Exploration, alpha: float) -> tuple[float, float]:
    """Eq. 1's summands: (what being right is paid, what searching is paid)."""
    return alpha * float(verdict.correct), (1 - alpha) * exploration.value


def combine(rollout: Rollout, verdict: Verdict, exploration: Exploration, recipe: RewardRecipe) -> Score:
    """Eq. 1, clamped to ±`recipe.clamp`; both parts stay in the score."""
    total = sum(parts(verdict, exploration, recipe.alpha))
    clamped = max(-recipe.clamp, min(recipe.clamp, total))
    return Score(rollout.problem_id, rollout.sample, verdict, exploration, recipe.alpha, clamped)


def score(
    problems: Sequence[Problem],
    rollouts: Sequence[Rollout],
    explorer: Explorer,
    recipe: RewardRecipe,
    settings: Settings = STRICT,
) -> list[Score]:
    """Judge every rollout; `problems` must hold each rollout's problem."""
    by_id = {problem.id: problem for problem in problems}
    asked = [by_id[rollout.problem_id] for rollout in rollouts]
    verdicts = verify_all(asked, [rollout.text for rollout in rollouts], settings)
    scores = []
    for problem, rollout, verdict in zip(asked, rollouts, verdicts, strict=True):
        exploration = explorer.explore(problem.question, rollout)
        if rollout.truncated and recipe.truncation == "floor":
            exploration = Exploration(explorer.floor, {**exploration.parts, "truncated": explorer.floor})
        scores.append(combine(rollout, verdict, exploration, recipe))
    return scores

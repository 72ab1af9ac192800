"""Eq. 1: R(q, o) = α·1[Ver(q, o)] + (1 − α)·R_ex(q, o). The only file that knows α."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rlsp.config import RewardRecipe, ScheduleRecipe
from rlsp.exploration.composite import Composite
from rlsp.types import Exploration, Problem, Rollout, Score, Verdict
from rlsp.verifiers import verify_all
from rlsp.verifiers.settings import STRICT, Settings


def alpha_at(recipe: RewardRecipe, progress: float, held_out_accuracy: float | None = None) -> float:
    """α at a point of training.

    Args:
        progress: the optimiser steps taken, as a share of all; 0 at the start.
        held_out_accuracy: the latest on the selection split, what the schedule `accuracy` follows.
    """
    if recipe.schedule.kind == "accuracy" and held_out_accuracy is None:
        raise ValueError("the schedule 'accuracy' needs a held-out accuracy")
    return recipe.alpha + _advance(recipe.schedule, progress, held_out_accuracy) * (recipe.schedule.end - recipe.alpha)


def _advance(schedule: ScheduleRecipe, progress: float, held_out_accuracy: float | None) -> float:
    """How far α has come from its first to its last value, 0 … 1."""
    match schedule.kind:
        case "linear":
            return progress
        case "cosine":
            return (1 - math.cos(math.pi * progress)) / 2
        case "accuracy" if held_out_accuracy is not None:
            low, high = schedule.accuracies
            return min(1.0, max(0.0, (held_out_accuracy - low) / (high - low)))
        case _:
            return 0.0


def parts(verdict: Verdict, exploration: float, alpha: float) -> tuple[float, float]:
    """Eq. 1's summands: (what being right is paid, what searching is paid)."""
    return alpha * float(verdict.correct), (1 - alpha) * exploration


def combine(rollout: Rollout, verdict: Verdict, exploration: Exploration, alpha: float, recipe: RewardRecipe) -> Score:
    """Eq. 1, clamped to ±`recipe.clamp`; both parts stay in the score. No total without an exploration reward."""
    total = None
    if exploration.value is not None:
        total = max(-recipe.clamp, min(recipe.clamp, sum(parts(verdict, exploration.value, alpha))))
    return Score(rollout.problem_id, rollout.sample, verdict, exploration, alpha, total)


def score(
    problems: Sequence[Problem],
    rollouts: Sequence[Rollout],
    explorer: Composite,
    recipe: RewardRecipe,
    judging: Settings = STRICT,
    alpha: float | None = None,
) -> list[Score]:
    """Judge every rollout; `problems` must hold each rollout's problem. `alpha`: where its schedule stands; by default
    its first value."""
    by_id = {problem.id: problem for problem in problems}
    asked = [by_id[rollout.problem_id] for rollout in rollouts]
    verdicts = verify_all(asked, [rollout.text for rollout in rollouts], judging)
    correct = [verdict.correct for verdict in verdicts]
    explorations = explorer.explore([problem.question for problem in asked], rollouts, correct)
    if recipe.truncation == "floor":
        explorations = [
            explorer.floored(exploration) if rollout.truncated else exploration
            for rollout, exploration in zip(rollouts, explorations, strict=True)
        ]
    alpha = recipe.alpha if alpha is None else alpha
    return [
        combine(rollout, verdict, exploration, alpha, recipe)
        for rollout, verdict, exploration in zip(rollouts, verdicts, explorations, strict=True)
    ]

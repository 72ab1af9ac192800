"""Eq. 1: R(q, o) = α·1[Ver(q, o)] + (1 − α)·R_ex(q, o), or what the authors' code computes instead. The only file that
knows α."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean

from rlsp.config import Recipe, RewardRecipe, ScheduleRecipe
from rlsp.exploration import paper_code
from rlsp.exploration.composite import Composite
from rlsp.types import Exploration, Finish, Problem, Rollout, Score, Verdict
from rlsp.verifiers import verify_all
from rlsp.verifiers.settings import STRICT, Settings


def alpha_at(recipe: RewardRecipe, progress: float, held_out_accuracy: float | None = None) -> float:
    """α at a point of training.

    Args:
        progress: how far the optimiser has come, from 0 at the first iteration to 1 at the last.
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
    return alpha * float(verdict.correct), share(alpha, 1.0, exploration)


def share(alpha: float, weight: float, value: float) -> float:
    """What one part of the exploration reward brings into Eq. 1, for one token or for a whole response."""
    return (1 - alpha) * weight * value


def combine(rollout: Rollout, verdict: Verdict, exploration: Exploration, alpha: float, recipe: RewardRecipe) -> Score:
    """Eq. 1, clamped to ±`recipe.clamp`; both parts stay in the score. No total without an exploration reward."""
    total = None
    if exploration.value is not None:
        total = clamped(sum(parts(verdict, exploration.value, alpha)), recipe.clamp)
    return Score(rollout.problem_id, rollout.sample, verdict, exploration, alpha, total)


def combine_paper_code(
    rollout: Rollout,
    verdict: Verdict,
    exploration: Exploration,
    alpha: float,
    recipe: RewardRecipe,
    judge_weight: float | None,
) -> Score:
    """The authors' code (see `exploration.paper_code`), clamped. It adds everything into one number, so the score's
    exploration reward is that number, its pieces among the parts, and its α is 0.

    Args:
        alpha: mixes the rule's reward with the judge's grade, and nothing else.
        judge_weight: multiplies the grade; None: there is no judge. A grade that is missing counts 0.5, as theirs does.
    """
    rule = paper_code.rule_reward(rollout, verdict.correct, recipe.paper_code_c, recipe.strict)
    value = sum(rule.values())
    if judge_weight is not None and paper_code.EXCEPTION not in rule:
        if "judge" not in exploration.parts:
            rule[paper_code.UNGRADED] = paper_code.FAILED_JUDGE
        grade = exploration.parts.get("judge", paper_code.FAILED_JUDGE)
        value = alpha * value + share(alpha, judge_weight, grade)
    explored = replace(exploration, value=value, parts=exploration.parts | rule)
    return Score(rollout.problem_id, rollout.sample, verdict, explored, 0.0, clamped(value, recipe.clamp))


def clamped(value: float, clamp: float) -> float:
    """`value`, cut to ±`clamp`."""
    return max(-clamp, min(clamp, value))


def warnings(recipe: Recipe) -> list[str]:
    """What is wrong with the recipe's reward though it was chosen: for whoever trains or scores with it to read."""
    reward = recipe.reward
    if reward.mode != "paper_code":
        return []
    bare, short, long = (
        _paper_code_example(characters, right, reward) for characters, right in ((0, False), (400, True), (4000, True))
    )
    found = [
        f"reward.mode 'paper_code' is not Eq. 1 but what the authors' code computes: a wrong bare \\boxed{{9}} earns "
        f"{bare:g}, a right answer after 400 characters {short:g}, a right answer after 4000 characters {long:g}"
    ]
    if not reward.strict:
        found.append(
            "paper_code: not thinking beats thinking, because a box that stands first raises an exception and an "
            "exception earns 0.0: reward.strict = true closes that gap"
        )
    if "judge" in recipe.exploration.paid:
        found.append("paper_code: a judge that fails has graded 0.5: look at the parts for paper_code_failed_judge")
    if recipe.sampling.temperature != 1:
        found.append(
            f"paper_code: the authors sample at their temperature but take log-probs at 1; here both are at "
            f"{recipe.sampling.temperature:g}, so their curves are not matched in this"
        )
    return found


def _paper_code_example(characters: int, right: bool, recipe: RewardRecipe) -> float:
    """The rule's reward, clamped, of a boxed answer after so many characters."""
    text = "." * characters + "\\boxed{9}"
    example = Rollout("", 0, (), (0,), (0.0,), text, Finish.EOS, 1.0, 0)
    rule = paper_code.rule_reward(example, right, recipe.paper_code_c, recipe.strict)
    return clamped(sum(rule.values()), recipe.clamp)


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
    return score_judged(problems, rollouts, verdicts, explorer, recipe, alpha)


def score_judged(
    problems: Sequence[Problem],
    rollouts: Sequence[Rollout],
    verdicts: Sequence[Verdict],
    explorer: Composite,
    recipe: RewardRecipe,
    alpha: float | None = None,
) -> list[Score]:
    """`score` of rollouts that have their verdicts already, in their order."""
    questions = {problem.id: problem.question for problem in problems}
    correct = [verdict.correct for verdict in verdicts]
    explorations = explorer.explore([questions[rollout.problem_id] for rollout in rollouts], rollouts, correct)
    return combine_all(rollouts, verdicts, explorations, explorer, recipe, recipe.alpha if alpha is None else alpha)


def combine_all(
    rollouts: Sequence[Rollout],
    verdicts: Sequence[Verdict],
    explorations: Sequence[Exploration],
    explorer: Composite,
    recipe: RewardRecipe,
    alpha: float,
) -> list[Score]:
    """Scores from what was judged and explored already; `explorations` as they are before truncation."""
    if recipe.truncation == "floor":
        explorations = [
            explorer.floored(exploration) if rollout.truncated else exploration
            for rollout, exploration in zip(rollouts, explorations, strict=True)
        ]
    judge = explorer.paid.get("judge")
    return [
        combine_paper_code(rollout, verdict, exploration, alpha, recipe, judge.weight if judge else None)
        if recipe.mode == "paper_code"
        else combine(rollout, verdict, exploration, alpha, recipe)
        for rollout, verdict, exploration in zip(rollouts, verdicts, explorations, strict=True)
    ]


def named_means(scores: Sequence[Score]) -> dict[str, float]:
    """The means of the total and of each part of the exploration reward, over the rollouts that have them."""
    columns: dict[str, list[float]] = {"total": [score.total for score in scores if score.total is not None]}
    for score in scores:
        for name, value in score.exploration.parts.items():
            columns.setdefault(name, []).append(value)
    return {name: fmean(values) for name, values in columns.items() if values}

"""Eq. 1 with numbers worked by hand, the length reward, truncation, and the wall between exploration and answer."""

from __future__ import annotations

import inspect
from dataclasses import fields, replace
from itertools import pairwise

import pytest

from rlsp.config import Recipe, RewardRecipe, load
from rlsp.exploration import Explorer, explorer_for
from rlsp.exploration.length import LengthReward
from rlsp.exploration.none import NoReward
from rlsp.reward import combine, parts, score
from rlsp.tasks import chain_sum, countdown
from rlsp.types import Exploration, Finish, Problem, Reason, Rollout, Verdict

PROBLEM = countdown.problem((3, 7, 12), 33)
RIGHT, WRONG = "3 * 7 = 21, 21 + 12 = 33", "3 * 7 = 21, 21 - 12 = 9"


def rollout(length: int, text: str = WRONG, finish: Finish = Finish.EOS, problem: Problem = PROBLEM) -> Rollout:
    return Rollout(problem.id, 2, (1,) * 5, (7,) * length, (-0.5,) * length, text, finish, 1.0, 0)


def verdict(correct: bool) -> Verdict:
    return Verdict(correct, "", Reason.MATCH if correct else Reason.MISMATCH)


@pytest.mark.parametrize(
    ("length", "value"),
    [(1, -1000.0), (8, -125.0), (100, -10.0), (500, -2.0), (1000, -1.0), (4000, -0.25), (4096, -0.244140625)],
)
def test_length_reward_of_the_paper(length: int, value: float) -> None:
    """R_ex = −C/|o| with C = 1000."""
    assert LengthReward(c=1000).explore("q", rollout(length)) == Exploration(value, {"length": value})


def test_length_counts_response_tokens_not_prompt_or_characters() -> None:
    reward = LengthReward(c=12)
    assert reward.explore("a long question " * 50, rollout(4, text="x" * 999)).value == -3
    assert reward.explore("q", replace(rollout(4), prompt_ids=(1,) * 900)).value == -3


def test_longer_is_better_with_falling_returns_and_never_below_the_floor() -> None:
    reward = LengthReward(c=33.2)
    values = [reward.explore("q", rollout(length)).value for length in range(1, 300)]
    gains = [after - before for before, after in pairwise(values)]
    assert all(gain > 0 for gain in gains)
    assert all(later < earlier for earlier, later in pairwise(gains))
    assert reward.floor == values[0] == min(values)


def test_c_scales_with_the_response_budget() -> None:
    overrides = ["sampling.max_response_tokens=4096", "sampling.cache_tokens=9999", "ppo.microbatch_tokens=9999"]
    assert explorer_for(load(Recipe, "nano", overrides)) == LengthReward(c=1000)
    overrides = ["sampling.max_response_tokens=100", "exploration.c_per_budget=0.5"]
    assert explorer_for(load(Recipe, "nano", overrides)) == LengthReward(c=50)


def test_none_explores_nothing() -> None:
    explorer = explorer_for(load(Recipe, "nano", ["exploration.kind=none", "reward.truncation=keep"]))
    assert explorer == NoReward()
    assert explorer.explore("q", rollout(10)) == Exploration(0.0, {})


@pytest.mark.parametrize(
    ("alpha", "correct", "exploration", "total"),
    [
        (0.8, True, -2.0, 0.4),  # 0.8 − 0.2 · 2
        (0.8, False, -2.0, -0.4),
        (0.8, True, -0.25, 0.75),
        (0.8, False, -0.25, -0.05),
        (0.8, True, 1.0, 1.0),  # a judge's full grade
        (0.8, False, 1.0, 0.2),
        (0.0, True, -2.0, -2.0),
        (0.0, False, 0.5, 0.5),
        (1.0, True, -2.0, 1.0),
        (1.0, False, -2.0, 0.0),
        (0.8, False, -1000.0, -10.0),  # −200, clamped
        (0.0, True, 99.0, 10.0),
    ],
)
def test_equation_1_by_hand(alpha: float, correct: bool, exploration: float, total: float) -> None:
    given = Exploration(exploration, {"length": exploration})
    result = combine(rollout(10), verdict(correct), given, RewardRecipe(alpha=alpha))
    assert result.total == pytest.approx(total, abs=1e-12)
    assert parts(verdict(correct), given, alpha) == (alpha * correct, (1 - alpha) * exploration)
    assert (result.alpha, result.verdict, result.exploration) == (alpha, verdict(correct), given)
    assert (result.problem_id, result.sample) == (PROBLEM.id, 2)


@pytest.mark.parametrize(("exploration", "total"), [(-2.0, -0.4), (-2.5, -0.5), (-2.51, -0.5), (-1e9, -0.5)])
def test_clamp_cuts_the_total_not_its_parts(exploration: float, total: float) -> None:
    result = combine(rollout(10), verdict(False), Exploration(exploration, {}), RewardRecipe(clamp=0.5))
    assert result.total == pytest.approx(total)
    assert result.exploration.value == exploration


@pytest.mark.parametrize(
    ("truncation", "finish", "exploration", "total"),
    [
        ("keep", Finish.EOS, -0.5, 0.7),
        ("keep", Finish.LENGTH, -0.5, 0.7),
        ("floor", Finish.EOS, -0.5, 0.7),
        ("floor", Finish.LENGTH, -20.0, -3.2),  # 0.8 − 0.2 · C
        ("mask", Finish.EOS, -0.5, 0.7),
        ("mask", Finish.LENGTH, -0.5, 0.7),  # kept in the records; the batch leaves it out of the loss
    ],
)
def test_truncation(truncation: str, finish: Finish, exploration: float, total: float) -> None:
    recipe = RewardRecipe.model_validate({"truncation": truncation})
    (result,) = score([PROBLEM], [rollout(40, RIGHT, finish)], LengthReward(c=20), recipe)
    assert result.verdict.correct
    assert result.exploration.value == exploration
    assert result.exploration.parts["length"] == -0.5, "what the length alone would have earned stays visible"
    assert result.total == pytest.approx(total)


def test_running_into_the_budget_never_pays_with_floor() -> None:
    explorer, recipe = LengthReward(c=20), RewardRecipe(truncation="floor")
    cut = score([PROBLEM], [rollout(200, WRONG, Finish.LENGTH)], explorer, recipe)[0].total
    stopped = [score([PROBLEM], [rollout(length)], explorer, recipe)[0].total for length in (2, 50, 199)]
    assert all(cut < total for total in stopped)


def test_scores_come_in_the_order_of_the_rollouts() -> None:
    other = chain_sum.problem((("+", 12), ("+", 5)))
    rollouts = [
        replace(rollout(10, "12 + 5 = 17", problem=other), sample=1),
        replace(rollout(20, RIGHT), sample=0),
        replace(rollout(5, "12 + 5 = 18", problem=other), sample=0),
    ]
    scores = score([PROBLEM, other], rollouts, LengthReward(c=10), RewardRecipe())
    assert [(each.problem_id, each.sample) for each in scores] == [(other.id, 1), (PROBLEM.id, 0), (other.id, 0)]
    assert [each.verdict.correct for each in scores] == [True, True, False]
    assert [each.total for each in scores] == pytest.approx([0.8 - 0.2, 0.8 - 0.1, -0.4])


@pytest.mark.parametrize("explorer", [LengthReward(c=5), NoReward(), Explorer], ids=["length", "none", "protocol"])
def test_exploration_can_not_see_answer_or_verdict(explorer: Explorer) -> None:
    parameters = inspect.signature(explorer.explore).parameters
    assert [name for name in parameters if name != "self"] == ["question", "rollout"]
    seen = {field.name for field in fields(Rollout)}
    assert not seen & {"answer", "verdict", "correct", "problem", "reward", "score"}


def test_exploration_is_handed_the_question_alone() -> None:
    class Spy:
        floor = -1.0

        def __init__(self) -> None:
            self.questions: list[object] = []

        def explore(self, question: str, rollout: Rollout) -> Exploration:
            self.questions.append(question)
            return Exploration(0.25, {})

    spy = Spy()
    scores = score([PROBLEM], [rollout(10, RIGHT), rollout(10, WRONG)], spy, RewardRecipe())
    assert spy.questions == [PROBLEM.question] * 2
    assert [each.exploration.value for each in scores] == [0.25, 0.25], "right and wrong explore alike"
    assert [each.total for each in scores] == pytest.approx([0.85, 0.05])


def test_empty_rollout_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one sampled token"):
        rollout(0)

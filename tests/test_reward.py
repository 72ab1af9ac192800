"""Eq. 1 with numbers worked by hand, the length reward, truncation, and the wall between exploration and answer."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import fields, replace
from itertools import pairwise
from typing import Any

import pytest

from rlsp.config import ExplorationRecipe, Recipe, RewardRecipe, load
from rlsp.config.exploration import OUTCOME_AWARE
from rlsp.exploration import BUILDERS, Setting, explorer_for
from rlsp.exploration.composite import Composite, Weighted
from rlsp.exploration.length import LengthReward
from rlsp.exploration.part import Explorer, OutcomeExplorer, Part
from rlsp.reward import alpha_at, combine, named_means, parts, score
from rlsp.tasks import chain_sum, countdown
from rlsp.types import Exploration, Finish, Problem, Reason, Rollout, Verdict

PROBLEM = countdown.problem((3, 7, 12), 33)
RIGHT, WRONG = "3 * 7 = 21, 21 + 12 = 33", "3 * 7 = 21, 21 - 12 = 9"


def rollout(length: int, text: str = WRONG, finish: Finish = Finish.EOS, problem: Problem = PROBLEM) -> Rollout:
    return Rollout(problem.id, 2, (1,) * 5, (7,) * length, (-0.5,) * length, text, finish, 1.0, 0)


def length_alone(c: float) -> Composite:
    return Composite({"length": Weighted(1.0, 1.0, LengthReward(c))})


def verdict(correct: bool) -> Verdict:
    return Verdict(correct, "", Reason.MATCH if correct else Reason.MISMATCH)


@pytest.mark.parametrize(
    ("length", "value"),
    [(1, -1000.0), (8, -125.0), (100, -10.0), (500, -2.0), (1000, -1.0), (4000, -0.25), (4096, -0.244140625)],
)
def test_length_reward_of_the_paper(length: int, value: float) -> None:
    """R_ex = −C/|o| with C = 1000."""
    assert LengthReward(c=1000).explore(["q"], [rollout(length)]) == [Part(value)]


def test_length_counts_response_tokens_not_prompt_or_characters() -> None:
    reward = LengthReward(c=12)
    odd = [rollout(4, text="x" * 999), replace(rollout(4), prompt_ids=(1,) * 900)]
    assert reward.explore(["a long question " * 50, "q"], odd) == [Part(-3), Part(-3)]


def test_longer_is_better_with_falling_returns_and_never_below_the_floor() -> None:
    reward = LengthReward(c=33.2)
    rollouts = [rollout(length) for length in range(1, 300)]
    values = [part.value for part in reward.explore(["q"] * 299, rollouts) if part.value is not None]
    gains = [after - before for before, after in pairwise(values)]
    assert all(gain > 0 for gain in gains)
    assert all(later < earlier for earlier, later in pairwise(gains))
    assert reward.floor == values[0] == min(values)


def test_c_scales_with_the_response_budget() -> None:
    overrides = ["sampling.max_response_tokens=4096", "sampling.cache_tokens=9999", "rl.microbatch_tokens=9999"]
    assert explorer_for(load(Recipe, "nano", overrides)) == length_alone(1000)
    overrides = ["sampling.max_response_tokens=100", "exploration.length.c_per_budget=0.5"]
    assert explorer_for(load(Recipe, "nano", overrides)) == length_alone(50)


def test_none_explores_nothing() -> None:
    explorer = explorer_for(load(Recipe, "nano", ["exploration=none", "reward.truncation=keep"]))
    assert explorer == Composite({})
    assert explorer.explore(["q"], [rollout(10)], [True]) == [Exploration(0.0, {})]


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
    result = combine(rollout(10), verdict(correct), given, alpha, RewardRecipe())
    assert result.total == pytest.approx(total, abs=1e-12)
    assert parts(verdict(correct), exploration, alpha) == (alpha * correct, (1 - alpha) * exploration)
    assert (result.alpha, result.verdict, result.exploration) == (alpha, verdict(correct), given)
    assert (result.problem_id, result.sample) == (PROBLEM.id, 2)


@pytest.mark.parametrize(("exploration", "total"), [(-2.0, -0.4), (-2.5, -0.5), (-2.51, -0.5), (-1e9, -0.5)])
def test_clamp_cuts_the_total_not_its_parts(exploration: float, total: float) -> None:
    result = combine(rollout(10), verdict(False), Exploration(exploration, {}), 0.8, RewardRecipe(clamp=0.5))
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
    (result,) = score([PROBLEM], [rollout(40, RIGHT, finish)], length_alone(20), recipe)
    assert result.verdict.correct
    assert result.exploration.value == exploration
    assert result.exploration.parts == {"length": exploration}, "the parts always add up to the value"
    assert result.total == pytest.approx(total)


def test_running_into_the_budget_never_pays_with_floor() -> None:
    explorer, recipe = length_alone(20), RewardRecipe(truncation="floor")
    cut = score([PROBLEM], [rollout(200, WRONG, Finish.LENGTH)], explorer, recipe)[0].total
    stopped = [score([PROBLEM], [rollout(length)], explorer, recipe)[0].total for length in (2, 50, 199)]
    assert cut is not None
    assert all(total is not None and cut < total for total in stopped)


def test_scores_come_in_the_order_of_the_rollouts() -> None:
    other = chain_sum.problem((("+", 12), ("+", 5)))
    rollouts = [
        replace(rollout(10, "12 + 5 = 17", problem=other), sample=1),
        replace(rollout(20, RIGHT), sample=0),
        replace(rollout(5, "12 + 5 = 18", problem=other), sample=0),
    ]
    scores = score([PROBLEM, other], rollouts, length_alone(10), RewardRecipe())
    assert [(each.problem_id, each.sample) for each in scores] == [(other.id, 1), (PROBLEM.id, 0), (other.id, 0)]
    assert [each.verdict.correct for each in scores] == [True, True, False]
    assert [each.total for each in scores] == pytest.approx([0.8 - 0.2, 0.8 - 0.1, -0.4])


SEE_NO_OUTCOME = [name for name in ExplorationRecipe.model_fields if name not in OUTCOME_AWARE]


@pytest.mark.parametrize("name", SEE_NO_OUTCOME)
def test_exploration_can_not_see_answer_or_verdict(name: str) -> None:
    section: dict[str, Any] = {
        "l1": {"minimum": 9, "maximum": 9},
        "judge": {"base_url": "http://127.0.0.1:1"},
        "overlong": {"buffer": 9},
    }
    given = ExplorationRecipe.model_validate({name: section.get(name, {})})
    explorer = BUILDERS[name](given.parts[name], Setting(100, "countdown", ()))
    assert not isinstance(explorer, OutcomeExplorer)
    parameters = inspect.signature(explorer.explore).parameters
    assert [name for name in parameters if name != "self"] == ["questions", "rollouts"]
    seen = {field.name for field in fields(Rollout)}
    assert not seen & {"answer", "verdict", "correct", "problem", "reward", "score"}


class Spy:
    """Keeps what it is asked."""

    floor = -1.0

    def __init__(self) -> None:
        self.asked: list[tuple[Sequence[str], Sequence[Rollout]]] = []

    def explore(self, questions: Sequence[str], rollouts: Sequence[Rollout]) -> list[Part]:
        self.asked.append((questions, rollouts))
        return [Part(0.25) for _ in rollouts]


def test_exploration_is_handed_the_question_alone() -> None:
    spy, rollouts = Spy(), [rollout(10, RIGHT), rollout(10, WRONG)]
    scores = score([PROBLEM], rollouts, Composite({"spy": Weighted(1.0, 1.0, spy)}), RewardRecipe())
    assert spy.asked == [([PROBLEM.question] * 2, rollouts)]
    assert [each.exploration.value for each in scores] == [0.25, 0.25], "right and wrong explore alike"
    assert [each.total for each in scores] == pytest.approx([0.85, 0.05])


class Fixed:
    """Says the same of every rollout; an outcome-aware one adds 1 to what is right."""

    floor = -3.0

    def __init__(self, part: Part) -> None:
        self.part = part

    def explore(self, questions: Sequence[str], rollouts: Sequence[Rollout]) -> list[Part]:
        return [self.part for _ in rollouts]


class AddsOutcome:
    floor = -5.0

    def explore_outcomes(
        self, questions: Sequence[str], rollouts: Sequence[Rollout], correct: Sequence[bool]
    ) -> list[Part]:
        return [Part(1.0 + right) for right in correct]


def composite(**parts: tuple[float, Explorer | OutcomeExplorer]) -> Composite:
    return Composite({name: Weighted(weight, 1.0, explorer) for name, (weight, explorer) in parts.items()})


def test_parts_add_up_by_weight_and_a_weight_of_zero_is_a_metric() -> None:
    dense = Part(-0.3, (0.0, -0.1, -0.2))
    explorer = composite(
        a=(2.0, Fixed(Part(0.5))), b=(1.0, Fixed(dense)), c=(0.5, AddsOutcome()), d=(0, Fixed(Part(9)))
    )
    right, wrong = explorer.explore(["q", "q"], [rollout(3), rollout(3)], [True, False])
    assert right.value == pytest.approx(2 * 0.5 - 0.3 + 0.5 * 2)
    assert wrong.value == pytest.approx(2 * 0.5 - 0.3 + 0.5 * 1)
    assert right.parts == {"a": 0.5, "b": -0.3, "c": 2.0, "d": 9.0}
    assert right.tokens == {"b": (0.0, -0.1, -0.2)}


def test_the_floor_of_a_truncated_response_leaves_dense_parts_and_metrics_alone() -> None:
    dense = Part(-0.3, (0.0, -0.1, -0.2))
    explorer = composite(a=(2.0, Fixed(Part(0.5))), b=(1.0, Fixed(dense)), d=(0, Fixed(Part(9))))
    (explored,) = explorer.explore(["q"], [rollout(3)], [False])
    floored = explorer.floored(explored)
    assert floored.parts == {"a": -3.0, "b": -0.3, "d": 9.0}
    assert floored.value == pytest.approx(2 * -3.0 - 0.3)


@pytest.mark.parametrize(("weight", "value"), [(1.0, None), (0.0, 1.0)])
def test_a_part_that_can_not_be_had_is_a_status_not_a_number(weight: float, value: float | None) -> None:
    explorer = composite(a=(2.0, Fixed(Part(0.5))), judge=(weight, Fixed(Part(None, missing="timed out"))))
    (result,) = score([PROBLEM], [rollout(10, RIGHT)], explorer, RewardRecipe(truncation="keep"))
    assert result.exploration == Exploration(value, {"a": 0.5}, missing={"judge": "timed out"})
    assert (result.total is None) == (value is None)


@pytest.mark.parametrize(
    ("schedule", "at"),
    [
        ({"kind": "constant"}, {0: 0.8, 0.5: 0.8, 1: 0.8}),
        ({"kind": "linear", "end": 1.0}, {0: 0.8, 0.25: 0.85, 0.5: 0.9, 1: 1.0}),
        ({"kind": "linear", "end": 0.2}, {0: 0.8, 0.5: 0.5, 1: 0.2}),
        ({"kind": "cosine", "end": 1.0}, {0: 0.8, 1 / 3: 0.85, 0.5: 0.9, 1: 1.0}),
    ],
)
def test_alpha_by_optimiser_step(schedule: dict[str, object], at: dict[float, float]) -> None:
    recipe = RewardRecipe.model_validate({"alpha": 0.8, "schedule": schedule})
    assert [alpha_at(recipe, progress) for progress in at] == pytest.approx(list(at.values()), abs=1e-12)


def test_alpha_by_held_out_accuracy() -> None:
    schedule = {"kind": "accuracy", "end": 1.0, "accuracies": (0.4, 0.6)}
    recipe = RewardRecipe.model_validate({"alpha": 0.5, "schedule": schedule})
    reached = [alpha_at(recipe, 0.0, accuracy) for accuracy in (0.1, 0.4, 0.5, 0.55, 0.6, 0.9)]
    assert reached == pytest.approx([0.5, 0.5, 0.75, 0.875, 1.0, 1.0])
    with pytest.raises(ValueError, match="needs a held-out accuracy"):
        alpha_at(recipe, 0.5)


def test_means_by_name_leave_out_what_is_missing() -> None:
    explorer = composite(a=(2.0, Fixed(Part(0.5))), judge=(1.0, Fixed(Part(None, missing="timed out"))))
    lost = score([PROBLEM], [rollout(10, RIGHT)], explorer, RewardRecipe(truncation="keep"))
    had = score([PROBLEM], [rollout(10, RIGHT)], composite(a=(2.0, Fixed(Part(1.5)))), RewardRecipe())
    assert named_means(lost) == {"a": 0.5}
    assert named_means([*lost, *had]) == {"total": pytest.approx(0.8 + 0.2 * 2 * 1.5), "a": 1.0}


def test_empty_rollout_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one sampled token"):
        rollout(0)

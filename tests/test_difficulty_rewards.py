"""ALP, L1, Kimi and pass rate: formulas by hand, and how they bend with length and difficulty."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise, product
from math import isfinite

import pytest
from transformers import PreTrainedTokenizerBase

from rlsp.config import Recipe, load
from rlsp.config.exploration import L1Recipe
from rlsp.errors import InputError
from rlsp.exploration import BUILDERS, Setting, explorer_for
from rlsp.exploration.alp import AdaptiveLengthPenalty
from rlsp.exploration.groups import siblings
from rlsp.exploration.kimi import KimiLengthReward
from rlsp.exploration.l1 import LengthTargetReward
from rlsp.exploration.part import OutcomeExplorer, Part
from rlsp.exploration.pass_rate import PassRateReward
from rlsp.prompts import encode_prompt, instruct
from rlsp.tasks import countdown
from rlsp.types import Finish, Rollout

PROBLEM = countdown.problem((3, 7, 12), 33)
BUDGET = 100


def rollout(length: int, problem_id: str = "p") -> Rollout:
    return Rollout(problem_id, 0, (1,), (7,) * length, (-0.5,) * length, "", Finish.EOS, 1.0, 0)


def values(explorer: OutcomeExplorer, lengths: Sequence[int], correct: Sequence[bool]) -> list[float]:
    parts = explorer.explore_outcomes(["q"] * len(lengths), [rollout(length) for length in lengths], correct)
    found = [part.value for part in parts if part.value is not None]
    assert len(found) == len(lengths)
    return found


def test_siblings_are_the_rollouts_of_one_problem() -> None:
    assert siblings([rollout(1, name) for name in "abacba"]) == [[0, 2, 5], [1, 4], [3]]
    assert siblings([]) == []


@pytest.mark.parametrize(
    ("correct", "expected"),
    [
        ((True, True, True, False), [-0.15, -0.3, -0.45, -0.75]),  # 3/4 · |o|/100
        ((True, True, True, True), [-0.2, -0.4, -0.6, -1.0]),
        ((False, True, False, False), [-0.05, -0.1, -0.15, -0.25]),
        ((False, False, False, False), [-0.05, -0.1, -0.15, -0.25]),  # max(0, 1/K)
    ],
)
def test_alp_by_hand(correct: tuple[bool, ...], expected: list[float]) -> None:
    assert values(AdaptiveLengthPenalty(BUDGET), [20, 40, 60, 100], correct) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("lengths", "correct", "expected"),
    [
        ((10, 20, 30, 50), (True, True, True, True), [0.5, 0.25, 0.0, -0.5]),
        ((10, 20, 30, 50), (False, False, False, False), [0.0, 0.0, 0.0, -0.5]),
        ((10, 45, 45, 50), (False, True, False, True), [0.0, -0.375, -0.375, -0.5]),
        ((50, 10), (True, False), [-0.5, 0.0]),
        ((30, 30, 30), (True, False, True), [0.0, 0.0, 0.0]),
        ((30,), (True,), [0.0]),
    ],
)
def test_kimi_by_hand(lengths: tuple[int, ...], correct: tuple[bool, ...], expected: list[float]) -> None:
    assert values(KimiLengthReward(), lengths, correct) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("threshold", "correct", "expected"),
    [
        (0.5, (False, False, False, False), [0.1, 0.2, 0.3, 0.5]),
        (0.5, (True, False, False, False), [0.05, 0.1, 0.15, 0.25]),
        (0.5, (True, True, False, False), [0.0, 0.0, 0.0, 0.0]),
        (0.5, (True, True, True, True), [-0.1, -0.2, -0.3, -0.5]),
        (0.0, (True, False, False, False), [-0.05, -0.1, -0.15, -0.25]),
        (1.0, (True, False, False, False), [0.15, 0.3, 0.45, 0.75]),
    ],
)
def test_pass_rate_by_hand(threshold: float, correct: tuple[bool, ...], expected: list[float]) -> None:
    found = values(PassRateReward(threshold, BUDGET), [20, 40, 60, 100], correct)
    assert found == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("mode", "expected"), [("exact", [-0.39, -0.01, 0.0, -0.01, -0.6]), ("max", [0.0, 0.0, 0.0, -0.01, -0.6])]
)
def test_l1_by_hand(mode: str, expected: list[float]) -> None:
    reward = LengthTargetReward(L1Recipe.model_validate({"minimum": 40, "maximum": 40, "mode": mode}), BUDGET)
    parts = reward.explore(["q"] * 5, [rollout(length) for length in (1, 39, 40, 41, 100)])
    assert [part.value for part in parts] == pytest.approx(expected, abs=1e-12)


def test_solve_rates_and_lengths_are_of_the_problems_own_rollouts() -> None:
    rollouts = [rollout(50, "easy"), rollout(50, "hard"), rollout(100, "easy"), rollout(100, "hard")]
    correct = [True, False, True, False]
    asked = ["q"] * 4
    assert AdaptiveLengthPenalty(BUDGET).explore_outcomes(asked, rollouts, correct) == [
        Part(-0.5),
        Part(-0.25),
        Part(-1.0),
        Part(-0.5),
    ]
    assert PassRateReward(0.5, BUDGET).explore_outcomes(asked, rollouts, correct) == [
        Part(-0.25),
        Part(0.25),
        Part(-0.5),
        Part(0.5),
    ]
    assert KimiLengthReward().explore_outcomes(asked, rollouts, correct) == [
        Part(0.5),
        Part(0.0),
        Part(-0.5),
        Part(-0.5),
    ]


FAMILY: dict[str, OutcomeExplorer] = {
    "alp": AdaptiveLengthPenalty(BUDGET),
    "kimi": KimiLengthReward(),
    "pass_rate": PassRateReward(0.5, BUDGET),
    "pass_rate, every problem easy": PassRateReward(0.0, BUDGET),
}


@pytest.mark.parametrize("explorer", FAMILY.values(), ids=FAMILY)
def test_finite_and_at_or_above_the_floor_up_to_the_budget(explorer: OutcomeExplorer) -> None:
    lengths = [1, 2, BUDGET - 1, BUDGET]
    for correct in product((False, True), repeat=4):
        assert min(values(explorer, lengths, correct)) >= explorer.floor
    assert all(map(isfinite, values(explorer, [BUDGET, BUDGET + 1, 1], [True, False, True])))
    assert all(map(isfinite, values(explorer, [1], [True])))
    assert explorer.explore_outcomes([], [], []) == []
    reached = [min(values(explorer, lengths, correct)) for correct in product((False, True), repeat=4)]
    assert min(reached) == explorer.floor, "the floor is what running into the budget can earn"


@pytest.mark.parametrize("mode", ["exact", "max"])
@pytest.mark.parametrize(("minimum", "maximum"), [(1, 1), (1, 100), (40, 60), (100, 100), (70, 90)])
def test_l1_is_finite_and_at_or_above_its_floor(mode: str, minimum: int, maximum: int) -> None:
    recipe = L1Recipe.model_validate({"minimum": minimum, "maximum": maximum, "mode": mode})
    reward = LengthTargetReward(recipe, BUDGET)
    rollouts = [rollout(length, f"p{name}") for length in (1, 2, 99, 100) for name in range(300)]
    reached = [part.value for part in reward.explore(["q"] * len(rollouts), rollouts) if part.value is not None]
    assert len(reached) == len(rollouts)
    assert min(reached) == pytest.approx(reward.floor, abs=1e-12)
    assert max(reached) <= 0
    (beyond,) = reward.explore(["q"], [rollout(101)])
    assert beyond.value is not None and isfinite(beyond.value)


def test_alp_taxes_length_and_taxes_it_more_where_it_is_easy() -> None:
    reward, lengths = AdaptiveLengthPenalty(BUDGET), [10, 20, 30, 40]
    slopes = []
    for solved in range(1, 5):
        found = values(reward, lengths, [each < solved for each in range(4)])
        assert all(later < earlier for earlier, later in pairwise(found))
        slopes.append(found[1] - found[0])
    assert all(later < earlier for earlier, later in pairwise(slopes))


def test_pass_rate_pays_length_below_its_threshold_and_taxes_it_above() -> None:
    reward, lengths = PassRateReward(0.5, BUDGET), [10, 20, 30, 40]
    gains = []
    for solved in range(5):
        found = values(reward, lengths, [each < solved for each in range(4)])
        gains.append(found[3] - found[0])
    assert all(later < earlier for earlier, later in pairwise(gains))
    assert gains[1] > 0 == gains[2] > gains[3]


def test_kimi_prefers_short_and_never_a_wrong_answer_to_a_right_one_of_its_length() -> None:
    lengths = [5, 10, 20, 40]
    right, wrong = values(KimiLengthReward(), lengths, [True] * 4), values(KimiLengthReward(), lengths, [False] * 4)
    assert all(later < earlier for earlier, later in pairwise(right))
    assert all(one >= other for one, other in zip(right, wrong, strict=True))
    assert max(wrong) == 0


def test_targets_are_uniform_and_the_same_in_every_run() -> None:
    recipe = L1Recipe(minimum=10, maximum=19)
    drawn = Counter(recipe.target(f"problem/{number}") for number in range(10_000))
    assert sorted(drawn) == list(range(10, 20))
    assert all(880 <= count <= 1120 for count in drawn.values()), "1000 ± 4 standard deviations"
    assert [recipe.target(name) for name in "abc"] == [19, 15, 18], "10 + SHA-256 of the name modulo 10"


L1 = "exploration={l1={minimum=20, maximum=120}}"
TOLD = "model.instruction='{question} Use {length_target} tokens.'"


def test_the_prompt_tells_the_target(tokenizer: PreTrainedTokenizerBase) -> None:
    recipe = load(Recipe, "nano", [L1, TOLD])
    assert recipe.exploration.l1 is not None
    target = recipe.exploration.l1.target(PROBLEM.id)
    assert instruct(PROBLEM, recipe) == f"{{question}} Use {target} tokens."
    prompt = encode_prompt(tokenizer, PROBLEM, instruct(PROBLEM, recipe))
    assert prompt == encode_prompt(tokenizer, PROBLEM, f"{{question}} Use {target} tokens.")
    part = BUILDERS["l1"](recipe.exploration.l1, Setting(recipe.sampling.max_response_tokens, recipe.task.name, ()))
    assert not isinstance(part, OutcomeExplorer), "it sees no verdict"
    assert part.explore([PROBLEM.question], [rollout(target, PROBLEM.id)]) == [Part(0.0)]


def test_a_question_that_holds_the_placeholder_keeps_it(tokenizer: PreTrainedTokenizerBase) -> None:
    recipe = load(Recipe, "nano", [L1, "model.instruction='{length_target}: {question}'"])
    assert recipe.exploration.l1 is not None
    odd = replace(PROBLEM, question="What is {length_target}?")
    expected = f"{recipe.exploration.l1.target(PROBLEM.id)}: What is {{length_target}}?\n"
    assert tokenizer.decode(list(encode_prompt(tokenizer, odd, instruct(odd, recipe)).ids)) == expected


def test_without_l1_the_instruction_is_the_recipes() -> None:
    recipe = load(Recipe, "nano", ["model.instruction='{question} Think.'"])
    assert instruct(PROBLEM, recipe) == "{question} Think."


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ([L1], r"draws targets from 20 … 120 tokens, and no prompt tells them: put \{length_target\} into model.instr"),
        ([TOLD], r"model.instruction holds \{length_target\} and nothing sets a target: take it out, or set"),
        ([TOLD, "exploration={l1={minimum=20, maximum=137}}"], "l1.maximum = 137 exceeds .*_tokens = 136.*lower it"),
        ([TOLD, "exploration={l1={minimum=30, maximum=20}}"], "minimum = 30 exceeds maximum = 20: swap them"),
        (["exploration=alp", "rl.samples_per_prompt=1"], "'alp' compares the samples of one prompt"),
        (["exploration=kimi", "rl.samples_per_prompt=1"], "'kimi' compares the samples of one prompt"),
        (["exploration=pass_rate", "rl.samples_per_prompt=1"], "'pass_rate' compares the samples of one prompt"),
    ],
)
def test_a_recipe_that_can_not_be_is_refused_with_the_fix(overrides: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        load(Recipe, "nano", overrides)


def test_one_target_for_all_need_not_be_told() -> None:
    recipe = load(Recipe, "nano", ["exploration={l1={minimum=50, maximum=50}}"])
    assert instruct(PROBLEM, recipe) == "{question}"


def test_recipes_build_them_with_their_budget_and_keys() -> None:
    recipe = load(Recipe, "nano", ["exploration={alp={weight=0.3}, kimi={}, pass_rate={threshold=0.25}}"])
    parts = explorer_for(recipe).parts
    assert {name: (part.weight, part.explorer) for name, part in parts.items()} == {
        "alp": (0.3, AdaptiveLengthPenalty(136)),
        "kimi": (1.0, KimiLengthReward()),
        "pass_rate": (1.0, PassRateReward(0.25, 136)),
    }

"""Grounded behaviours at a price: sums by hand, the cut, and no way for an answer to get in."""

from __future__ import annotations

import inspect
from dataclasses import fields, replace

import pytest

from rlsp.behaviours.grounded import Behaviours, count
from rlsp.config import Recipe, RewardRecipe, load
from rlsp.config.exploration import BEHAVIOURS, PRICES
from rlsp.errors import InputError
from rlsp.exploration import explorer_for
from rlsp.exploration.behaviour import BehaviourReward
from rlsp.exploration.part import Part
from rlsp.reward import score
from rlsp.tasks import chain_sum, countdown, replayer
from rlsp.types import Finish, Problem, Rollout

THREE = countdown.problem((3, 7, 12), 33)
CHAIN = chain_sum.problem((("+", 12), ("+", 5), ("-", 3)))
WRONG = "3 + 7 = 10, 10 + 12 = 22; is it 33? no"
OTHER = "3 * 12 = 36, 36 - 7 = 29; is it 33? no"
RIGHT = "3 * 7 = 21, 21 + 12 = 33; is it 33? yes"
REJECTED = "3 * 7 = 21, 21 + 12 = 33; is it 33? no"
ACCEPTED = "3 + 7 = 10, 10 + 12 = 22; is it 33? yes"
CHECKED_CHAIN = "12 + 5 = 17, 17 - 3 = 14; back 14 + 3 = 17, 17 - 5 = 12; is it 12? yes"
MISREAD_CHAIN = "12 + 5 = 17, 17 - 2 = 15; back 15 + 3 = 18, 18 - 5 = 13; is it 12? no"


def rollout(*lines: str, problem: Problem = THREE) -> Rollout:
    return Rollout(problem.id, 0, (1,), (7,) * 3, (-0.5,) * 3, "\n".join(lines), Finish.EOS, 1.0, 0)


def value(*lines: str, problem: Problem = THREE, prices: dict[str, float] = PRICES) -> float | None:
    (part,) = BehaviourReward(problem.task, prices).explore([problem.question], [rollout(*lines, problem=problem)])
    return part.value


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([""], 0.0),
        (["Let me think."], 0.0),
        (["3 * 7 = 21, 21 + 12 = 33"], 0.0),  # right, unchecked
        ([RIGHT], 0.25),
        ([WRONG, RIGHT], 0.5),
        ([WRONG, OTHER, RIGHT], 0.75),
        ([WRONG, WRONG, RIGHT], 0.25),  # searched 2, repeats 1
        ([WRONG] * 4, -0.5),  # searched 1, repeats 3
        ([REJECTED], -1.0),
        ([WRONG, REJECTED], -0.75),
        ([ACCEPTED], -1.0),
        ([WRONG, OTHER, ACCEPTED], -0.75),  # 2/4 − 1/4 − 1: the accepted line repeats the first
        (["3 + 7 = 11, 11 + 12 = 23; is it 33? no"], 0.0),  # false arithmetic
        (["3 + 7 = 10; is it 33? no"], 0.0),  # without the 12
    ],
)
def test_default_prices_by_hand(lines: list[str], expected: float) -> None:
    assert value(*lines) == pytest.approx(expected, abs=1e-12)


def test_chain_sum_has_one_line_to_search() -> None:
    assert value(CHECKED_CHAIN, problem=CHAIN) == 0.25
    assert value(MISREAD_CHAIN, CHECKED_CHAIN, problem=CHAIN) == 0.25
    assert value(MISREAD_CHAIN, problem=CHAIN) == 0.0


@pytest.mark.parametrize(
    ("prices", "expected"),
    [
        ({"checks": 0.3}, 0.9),
        ({"checks": 0.4}, 1.0),  # 1.2, cut
        ({"checks": -0.4}, -1.0),
        ({"checks": 0.4, "hits": -0.9}, 0.3),  # the sum is cut, not its summands
        ({"backtracks": 0.1, "alternatives": 0.01, "attempts": 0.001}, 0.223),
        ({"repeats": 5.0}, 0.0),
    ],
)
def test_any_behaviour_has_its_price_and_the_sum_is_cut(prices: dict[str, float], expected: float) -> None:
    assert value(WRONG, OTHER, RIGHT, prices=prices) == pytest.approx(expected, abs=1e-12)


def test_searching_more_pays_more_until_the_cut() -> None:
    lines = [f"{a}, {b}; is it 33? no" for a, b in DERIVATIONS]
    earned = [value(*lines[:number]) for number in range(len(lines) + 1)]
    assert earned == [0.0, 0.25, 0.5, 0.75, 1.0, 1.0]


DERIVATIONS = (
    ("3 + 7 = 10", "10 + 12 = 22"),
    ("3 * 12 = 36", "36 - 7 = 29"),
    ("3 * 12 = 36", "36 + 7 = 43"),
    ("12 - 7 = 5", "5 + 3 = 8"),
    ("12 - 7 = 5", "5 * 3 = 15"),
)


def test_the_floor_is_the_lowest_that_the_prices_allow() -> None:
    assert BehaviourReward("countdown", PRICES).floor == -1.0 == value(REJECTED, REJECTED)
    assert BehaviourReward("countdown", {"searched": 0.1, "hits": 0.0}).floor == 0.0


@pytest.mark.parametrize("problem", [THREE, CHAIN], ids=["countdown", "chain-sum"])
@pytest.mark.parametrize("answer", ["", "33", "14", "-1", "\\boxed{9}", "no"])
def test_the_same_text_earns_the_same_whatever_the_answer(problem: Problem, answer: str) -> None:
    texts = [[RIGHT], [WRONG, REJECTED], [ACCEPTED], [CHECKED_CHAIN], [MISREAD_CHAIN, CHECKED_CHAIN], ["14"], [""]]
    rollouts = [rollout(*lines, problem=problem) for lines in texts]
    recipe = load(Recipe, "nano", ["exploration=behaviour", f"task.name={problem.task}"])
    explorer = explorer_for(recipe)
    told = score([replace(problem, answer=answer)], rollouts, explorer, RewardRecipe(truncation="keep"))
    asked = score([problem], rollouts, explorer, RewardRecipe(truncation="keep"))
    assert [each.exploration for each in told] == [each.exploration for each in asked]
    replay = replayer(problem.task)
    assert replay is not None
    for each in rollouts:
        assert count(replay(replace(problem, answer=answer), each.text)) == count(replay(problem, each.text))


def test_it_gets_no_answer() -> None:
    reward = BehaviourReward("countdown", PRICES)
    assert list(inspect.signature(reward.explore).parameters) == ["questions", "rollouts"]


def test_each_rollout_is_asked_its_own_question() -> None:
    elsewhere = countdown.problem((3, 7, 12), 22)
    parts = BehaviourReward("countdown", {"hits": 1.0}).explore(
        [THREE.question, elsewhere.question, THREE.question], [rollout("3 + 7 = 10, 10 + 12 = 22")] * 3
    )
    assert parts == [Part(0.0), Part(1.0), Part(0.0)]


def test_equal_responses_are_executed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    executed = []

    def replay(problem: Problem, text: str) -> object:
        executed.append(text)
        return countdown.replay(problem, text)

    monkeypatch.setattr("rlsp.exploration.behaviour.replayer", lambda task: replay)
    reward = BehaviourReward("countdown", PRICES)
    parts = reward.explore([THREE.question] * 5, [rollout(WRONG), rollout(RIGHT), *[rollout(WRONG)] * 3])
    assert [part.value for part in parts] == [0.25] * 5
    assert sorted(executed) == sorted([WRONG, RIGHT])


@pytest.mark.parametrize(
    "text", ["\x00" * 999, "\ud800", ";" * 2000, "9" * 5000, "3 * 7 = 21, " * 500, "; is it 33? yes\n" * 200]
)
def test_hostile_text_derives_nothing(text: str) -> None:
    assert value(text, prices={"searched": 1.0, "hits": 1.0}) == 0.0


def test_prices_are_of_what_is_counted() -> None:
    assert tuple(field.name for field in fields(Behaviours)) == BEHAVIOURS
    with pytest.raises(InputError) as caught:
        load(Recipe, "nano", ["exploration={behaviour={prices={searching=1.0}}}"])
    assert "no behaviour 'searching' to price; there are attempts, unreadable, " in str(caught.value)
    with pytest.raises(InputError, match="at least 1"):
        load(Recipe, "nano", ["exploration={behaviour={prices={}}}"])
    with pytest.raises(InputError, match="finite"):
        load(Recipe, "nano", ["exploration={behaviour={prices={searched=inf}}}"])


def test_a_recipe_whose_task_has_no_steps_to_check_is_refused() -> None:
    with pytest.raises(InputError, match=r"'behaviour' counts steps that a machine can check.*use a generated task"):
        load(Recipe, "smollm2-math", ["exploration=behaviour"])
    with pytest.raises(ValueError, match="no machine can check the steps of task 'math'"):
        BehaviourReward("math", PRICES)

"""length_sqrt, length_exp, cosine and effective_length: numbers worked by hand, order, finite at the edges."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest

from rlsp.config import Recipe, load
from rlsp.exploration import explorer_for
from rlsp.exploration.composite import Composite, Weighted
from rlsp.exploration.cosine import CosineReward
from rlsp.exploration.effective_length import EffectiveLengthReward
from rlsp.exploration.length import LengthReward
from rlsp.exploration.length_exp import LengthExpReward
from rlsp.exploration.length_sqrt import LengthSqrtReward
from rlsp.exploration.part import Explorer, Part
from rlsp.exploration.repetition import RepetitionReward
from rlsp.types import Finish, Rollout

CAP = 4096
COSINE = CosineReward(right=(2.0, 1.0), wrong=(-10.0, 0.0), exceeded=-10.0, max_length=CAP)


def rollout(ids: int | tuple[int, ...], finish: Finish = Finish.EOS, text: str = "") -> Rollout:
    """A response of these ids, or of so many different ones."""
    given = tuple(range(ids)) if isinstance(ids, int) else ids
    return Rollout("p", 0, (1, 2), given, (-0.5,) * len(given), text, finish, 1.0, 0)


def value(part: Part) -> float:
    assert part.value is not None
    return part.value


def at(explorer: Explorer, length: int) -> float:
    return value(explorer.explore(["q"], [rollout(length)])[0])


def cosine(length: int, right: bool, reward: CosineReward = COSINE, finish: Finish = Finish.EOS) -> float:
    return value(reward.explore_outcomes(["q"], [rollout(length, finish)], [right])[0])


@pytest.mark.parametrize(
    ("length", "expected"),
    [(1, -15.625), (4, -7.8125), (25, -3.125), (100, -1.5625), (2500, -0.3125), (4096, -0.244140625)],
)
def test_length_sqrt_by_hand(length: int, expected: float) -> None:
    """C = 15.625: 15.625/√|o|; at 4096 √|o| = 64, and it meets −C/|o| with C = 1000."""
    assert at(LengthSqrtReward(15.625), length) == pytest.approx(expected, abs=1e-12)


def test_length_sqrt_pays_at_the_budget_what_length_pays() -> None:
    overrides = [
        "exploration.length_sqrt.weight=1", "sampling.max_response_tokens=4096", "sampling.cache_tokens=9999",
        "rl.microbatch_tokens=9999",
    ]  # fmt: skip
    parts = explorer_for(load(Recipe, "nano", overrides)).parts
    assert parts["length"].explorer == LengthReward(1000)
    assert parts["length_sqrt"].explorer == LengthSqrtReward(15.625)


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        (1, -3.6787944117144233),  # 10/e
        (4, -1.353352832366127),  # 10/e²
        (100, -4.5399929762484854e-4),  # 10/e¹⁰
        (4096, -10 * math.exp(-64)),
    ],
)
def test_length_exp_by_hand(length: int, expected: float) -> None:
    assert at(LengthExpReward(10), length) == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize("explorer", [LengthSqrtReward(15.6), LengthExpReward(10), EffectiveLengthReward(1000, 20)])
def test_longer_is_better_with_falling_returns_and_never_below_the_floor(explorer: Explorer) -> None:
    values = [at(explorer, length) for length in range(1, 400)]
    gains = [after - before for before, after in pairwise(values)]
    assert all(gain > 0 for gain in gains)
    assert all(later < earlier for earlier, later in pairwise(gains))
    assert values[0] == pytest.approx(explorer.floor, abs=1e-12)


@pytest.mark.parametrize("length", [1, 2, CAP - 1, CAP, CAP + 1])
def test_every_length_has_a_finite_reward_that_the_text_has_no_part_in(length: int) -> None:
    explorers: list[Explorer] = [
        LengthSqrtReward(15.6), LengthExpReward(10), EffectiveLengthReward(1000, 20), RepetitionReward(40, 0.05, CAP),
    ]  # fmt: skip
    hostile = [rollout(length, text=text) for text in ("", "\x00\\boxed{" * 9, "longer, longer!" * 99)]
    for explorer in explorers:
        values = [value(part) for part in explorer.explore(["q"] * 3, hostile)]
        assert len(set(values)) == 1 and math.isfinite(values[0]) and values[0] >= explorer.floor
    assert all(COSINE.floor <= cosine(length, right) <= 2 for right in (True, False))


@pytest.mark.parametrize(
    ("length", "right", "expected"),
    [
        (1024, True, 1 + (1 + math.sqrt(0.5)) / 2),  # a quarter: cos(π/4) = √½
        (2048, True, 1.5),  # half way: cos(π/2) = 0
        (2048, False, -5.0),
        (3072, False, -5 * (1 - math.sqrt(0.5))),
        (4095, True, 1.0 + 0.5 * (1 - math.cos(math.pi / 4096))),
        (4096, True, -10.0),
        (4096, False, -10.0),
        (4097, True, -10.0),
    ],
)
def test_cosine_by_hand(length: int, right: bool, expected: float) -> None:
    assert cosine(length, right) == pytest.approx(expected, abs=1e-9)


def test_cosine_ranks_right_short_right_long_wrong_long_wrong_short() -> None:
    cast = [cosine(100, True), cosine(4000, True), cosine(4000, False), cosine(100, False)]
    assert cast == sorted(cast, reverse=True) and len(set(cast)) == 4


def test_cosine_falls_with_length_when_right_and_rises_when_wrong() -> None:
    lengths = range(1, CAP, 13)
    assert all(a > b for a, b in pairwise(cosine(length, True) for length in lengths))
    assert all(a < b for a, b in pairwise(cosine(length, False) for length in lengths))


def test_a_truncated_response_has_exceeded_however_far_the_curve_goes() -> None:
    far = CosineReward((2.0, 1.0), (-10.0, 0.0), exceeded=-7.0, max_length=10 * CAP)
    assert [cosine(50, right, far, Finish.LENGTH) for right in (True, False)] == [-7.0, -7.0]
    assert cosine(50, True, far) > 1.9


def test_cosine_floor_is_the_lowest_of_its_numbers() -> None:
    assert CosineReward((2.0, 1.0), (-3.0, 0.0), exceeded=-1.0, max_length=9).floor == -3.0


def test_parts_are_scaled_to_the_budget_and_keep_their_own_discount() -> None:
    overrides = [
        "exploration={cosine={}, effective_length={ngram=7}, repetition={}, length_exp={weight=0}}",
        "sampling.max_response_tokens=100",
    ]
    assert explorer_for(load(Recipe, "nano", overrides)) == Composite(
        {
            "length_exp": Weighted(0.0, 1.0, LengthExpReward(10.0)),
            "effective_length": Weighted(1.0, 1.0, EffectiveLengthReward(100 * 1000 / 4096, 7)),
            "repetition": Weighted(1.0, 0.99, RepetitionReward(40, 0.05, 100)),
            "cosine": Weighted(1.0, 1.0, CosineReward((2.0, 1.0), (-10.0, 0.0), -10.0, 100)),
        }
    )


def test_the_curve_may_be_told_to_go_further_than_the_budget() -> None:
    overrides = ["exploration.cosine.max_length=500", "sampling.max_response_tokens=100"]
    explorer = explorer_for(load(Recipe, "nano", overrides)).parts["cosine"].explorer
    assert isinstance(explorer, CosineReward) and explorer.max_length == 500


@pytest.mark.parametrize(
    ("ids", "effective"),
    [
        ((5,), 1),
        (tuple(range(50)), 50),
        ((1, 2, 3, 1, 2, 3), 3),  # the second pass does not count
        ((1, 2, 3, 1, 2, 3, 1, 2, 3), 3),
        ((1, 2, 3, 4, 1, 2, 5), 7),  # 1 2 is shorter than n
        ((1, 2, 3, 9, 1, 2, 3, 8), 5),
        ((7,) * 300, 1),
    ],
)
def test_effective_length_by_hand(ids: tuple[int, ...], effective: int) -> None:
    """n = 3."""
    (part,) = EffectiveLengthReward(12.0, 3).explore(["q"], [rollout(ids)])
    assert value(part) == pytest.approx(-12 / effective, abs=1e-12)


def test_a_loop_earns_length_but_no_effective_length() -> None:
    once, often = rollout(tuple(range(30))), rollout(tuple(range(30)) * 20)
    plain, effective = LengthReward(100), EffectiveLengthReward(100, 20)
    assert value(plain.explore(["q"], [often])[0]) > value(plain.explore(["q"], [once])[0])
    assert effective.explore(["q"], [often]) == effective.explore(["q"], [once])

"""Which tokens lie inside a repeat, against the definition as slow loops, and what they cost."""

from __future__ import annotations

import time
from random import Random

import pytest

from rlsp.exploration.composite import Composite, Weighted
from rlsp.exploration.part import Part
from rlsp.exploration.repeats import repeated
from rlsp.exploration.repetition import RepetitionReward
from rlsp.types import Finish, Rollout


def rollout(ids: tuple[int, ...]) -> Rollout:
    return Rollout("p", 0, (1, 2), ids, (-0.5,) * len(ids), "the same the same the same", Finish.EOS, 1.0, 0)


def explore(ids: tuple[int, ...], ngram: int, penalty: float = 0.05) -> Part:
    (part,) = RepetitionReward(ngram, penalty, max_tokens=4096).explore(["q"], [rollout(ids)])
    return part


def marks(ids: str, ngram: int) -> str:
    """One mark a letter: `x` inside a repeat, `.` outside."""
    return "".join("x" if mark else "." for mark in repeated([ord(letter) for letter in ids], ngram))


@pytest.mark.parametrize(
    ("ids", "ngram", "expected"),
    [
        ("", 3, ""),
        ("a", 1, "."),
        ("aa", 1, ".x"),
        ("ab", 3, ".."),  # shorter than n
        ("abcdef", 3, "......"),
        ("abcxabc", 3, "....xxx"),  # up to the very last token
        ("abcabc", 3, "...xxx"),  # a repeat straight after the first occurrence
        ("abcxabcabc", 3, "....xxxxxx"),  # and one straight after a repeat
        ("abcdxabcd", 3, ".....xxxx"),  # overlapping repeats mark a token once
        ("abxabyabz", 3, "........."),
        ("abxabyabz", 2, "...xx.xx."),
        ("aaaaaa", 3, ".xxxxx"),  # a loop: its first pass is free, however long n is
        ("abababab", 4, "..xxxxxx"),
    ],
)
def test_marks_by_hand(ids: str, ngram: int, expected: str) -> None:
    assert marks(ids, ngram) == expected


@pytest.mark.parametrize("seed", range(4))
def test_marks_are_the_definition(seed: int) -> None:
    """Token t is marked when an n-gram over it, from s, equals one from an earlier e."""
    rng = Random(seed)
    for _ in range(300):
        ngram, ids = rng.randint(1, 5), [rng.randrange(3) for _ in range(rng.randrange(24))]
        for token, mark in enumerate(repeated(ids, ngram)):
            starts = range(max(0, token - ngram + 1), min(token, len(ids) - ngram) + 1)
            held = any(ids[s : s + ngram] == ids[e : e + ngram] for s in starts for e in range(s))
            assert mark is held


def test_the_first_token_is_never_marked_and_names_of_tokens_do_not_matter() -> None:
    rng = Random(0)
    for _ in range(200):
        ids = [rng.randrange(2) for _ in range(rng.randint(1, 30))]
        assert repeated(ids, 2)[0] is False
        assert repeated([2**70 - 5 * token for token in ids], 2) == repeated(ids, 2)


def test_penalties_by_hand_sum_to_the_value() -> None:
    part = explore((1, 2, 3, 9, 1, 2, 3, 8), ngram=3)
    assert part.tokens == (0.0, 0.0, 0.0, 0.0, -0.05, -0.05, -0.05, 0.0)
    assert part.value == pytest.approx(-0.15, abs=1e-12)
    assert part.value == sum(part.tokens)


def test_a_response_shorter_than_n_costs_nothing() -> None:
    """The version that others copied divides by its number of n-grams, which is zero."""
    assert [explore(ids, 40) for ids in ((5,), (5, 5), (5,) * 39)] == [Part(0.0, (0.0,) * n) for n in (1, 2, 39)]


def test_it_is_the_ids_that_repeat_not_the_words() -> None:
    assert explore(tuple(range(200)), 2).value == 0


def test_each_further_pass_of_a_loop_costs_the_same() -> None:
    """With the published `only_start`, passes beyond the second are free."""
    loop = tuple(range(50))
    assert [explore(loop * passes, 40).value for passes in (1, 2, 3, 10)] == pytest.approx([0, -2.5, -5.0, -22.5])


def test_the_repeat_itself_is_punished_not_what_comes_after_it() -> None:
    ids = tuple(range(60)) + tuple(range(45)) + tuple(range(100, 130))
    assert [place for place, token in enumerate(explore(ids, 40).tokens) if token] == list(range(60, 105))


def test_the_floor_is_what_one_token_over_and_over_costs() -> None:
    reward = RepetitionReward(40, 0.05, max_tokens=300)
    (part,) = reward.explore(["q"], [rollout((7,) * 300)])
    assert part.value == pytest.approx(reward.floor, abs=1e-9)


def test_in_a_composite_the_tokens_stand_beside_the_value() -> None:
    composite = Composite({"repetition": Weighted(2.0, 0.99, RepetitionReward(1, 0.5, 10))})
    (explored,) = composite.explore(["q"], [rollout((3, 4, 3))], [True])
    assert explored.value == -1.0
    assert explored.tokens == {"repetition": (0.0, 0.0, -0.5)}
    assert composite.floored(explored) == explored


def test_long_rollouts_are_marked_in_milliseconds() -> None:
    rng = Random(0)
    ids = [rng.randrange(128_000) for _ in range(4096)] * 4
    started = time.perf_counter()
    assert sum(repeated(ids, 40)) == 3 * 4096
    assert time.perf_counter() - started < 1.0

"""The soft overlong punishment and the format reward: numbers worked by hand and properties."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlsp.config import Recipe, load
from rlsp.exploration import explorer_for
from rlsp.exploration.format import FormatReward, follows
from rlsp.exploration.overlong import OverlongReward
from rlsp.types import Finish, Rollout


def rollout(length: int = 1, text: str = "", finish: Finish = Finish.EOS) -> Rollout:
    return Rollout("p", 0, (1,), (5,) * length, (-1.0,) * length, text, finish, 1.0, 0)


def punished(length: int, budget: int, buffer: int) -> float:
    (part,) = OverlongReward(budget, buffer).explore(["q"], [rollout(length)])
    assert part.value is not None
    return part.value


@pytest.mark.parametrize(
    ("length", "expected"),
    [(1, 0), (16383, 0), (16384, 0), (16385, -1 / 4096), (18432, -0.5), (20479, -4095 / 4096), (20480, -1)],
)
def test_overlong_by_hand(length: int, expected: float) -> None:
    """DAPO's own sizes: L_max 20480, L_cache 4096."""
    assert punished(length, 20480, 4096) == pytest.approx(expected, abs=1e-12)


@given(budget=st.integers(2, 5000), share=st.floats(0.01, 0.99), first=st.floats(0, 1), second=st.floats(0, 1))
def test_overlong_never_pays_and_never_falls_below_its_floor(
    budget: int, share: float, first: float, second: float
) -> None:
    buffer = min(budget - 1, max(1, round(share * budget)))
    lengths = sorted(1 + round(each * (budget - 1)) for each in (first, second))
    short, long = (punished(length, budget, buffer) for length in lengths)
    assert 0 >= short >= long >= OverlongReward(budget, buffer).floor == -1
    assert punished(budget, budget, buffer) == -1 and punished(budget - buffer, budget, buffer) == 0


def test_overlong_takes_the_recipes_budget() -> None:
    recipe = load(Recipe, "nano-grpo", ["exploration.overlong.buffer=34"])
    assert explorer_for(recipe).parts["overlong"].explorer == OverlongReward(136, 34)


ANSWER = "The answer is \\boxed{42}."


@pytest.mark.parametrize(
    ("text", "paid"),
    [
        (f"<think>6 * 7 = 42</think>{ANSWER}", True),
        (f"\n<think>\n6 * 7 = 42\n</think>\n\n<answer>{ANSWER}</answer>\n", True),
        ("<think>6 * 7 = 42</think> <answer>\n#### 42\n</answer>", True),
        ("<think>\\boxed{41}? No.</think> \\boxed{42}", True),
        (ANSWER, False),
        ("", False),
        (f"<think></think>{ANSWER}", False),  # no reasoning
        (f"<think> \n </think>{ANSWER}", False),
        (f"<think>6 * 7 = 42 {ANSWER}", False),  # never ended
        (f"6 * 7 = 42</think>{ANSWER}", False),  # never begun
        (f"Well. <think>6 * 7 = 42</think>{ANSWER}", False),  # not first
        (f"</think>{ANSWER}<think>6 * 7 = 42", False),  # out of order
        (f"<think>6</think><think>7</think>{ANSWER}", False),  # twice
        (f"<think>6 <think>7</think>{ANSWER}", False),
        (f"<think>{ANSWER}</think> I am done.", False),  # the answer among the reasoning
        ("<think>6 * 7 = 42</think> 42", False),  # not marked
        ("<think>6 * 7 = 42</think><answer>42</answer>", False),  # no verifier reads it
        (f"<think>6 * 7 = 42</think><answer>{ANSWER}", False),
        (f"<think>6 * 7 = 42</think>{ANSWER}</answer>", False),
        (f"<think>6 * 7 = 42</think><answer>{ANSWER}</answer> Bye.", False),
        (f"<think>6 * 7 = 42</think>So <answer>{ANSWER}</answer>", False),
        (f"<think>6 <answer>7</think>{ANSWER}</answer>", False),
        (f"<think>6 * 7 = 42</think></answer>{ANSWER}<answer>", False),
        (f"<THINK>6 * 7 = 42</THINK>{ANSWER}", False),
    ],
)
def test_format_by_hand(text: str, paid: bool) -> None:
    assert follows(text) is paid
    assert FormatReward().explore(["q"], [rollout(text=text)])[0].value == float(paid)


@given(st.text())
def test_no_reasoning_can_break_the_format_but_by_a_tag(reasoning: str) -> None:
    tagged = any(tag in reasoning for tag in ("<think>", "</think>", "<answer>", "</answer>"))
    assert follows(f"<think>{reasoning}</think>{ANSWER}") is bool(reasoning.strip() and not tagged)


JUNK = ["<think>", "</think>", "<answer>", "\\boxed{", "####", "answer is ", "the answer to "]


@pytest.mark.parametrize("piece", JUNK)
def test_long_junk_is_read_at_once(piece: str) -> None:
    started = time.perf_counter()
    follows("<think>x</think>" + piece * 50_000)
    assert time.perf_counter() - started < 2


def test_right_without_the_format_beats_wrong_with_it() -> None:
    recipe = load(Recipe, "r1-zero")
    assert recipe.reward.alpha > (1 - recipe.reward.alpha) * sum(p.weight for p in recipe.exploration.paid.values())

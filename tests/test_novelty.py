"""Novelty against siblings and demonstrations, by shares counted by hand."""

from __future__ import annotations

import inspect
import time
from random import Random

import pytest

from rlsp.config import Recipe, load
from rlsp.errors import InputError
from rlsp.exploration import explorer_for
from rlsp.exploration.novelty import NoveltyReward, ngrams
from rlsp.exploration.part import Part
from rlsp.types import Demonstration, Finish, Problem, Rollout

PROBLEM = Problem("p", "math", "q", "1")


def rollout(text: str, problem_id: str = "p") -> Rollout:
    return Rollout(problem_id, 0, (1,), (7,) * 3, (-0.5,) * 3, text, Finish.EOS, 1.0, 0)


def values(reward: NoveltyReward, *texts: str) -> list[float | None]:
    return [part.value for part in reward.explore(["q"] * len(texts), [rollout(text) for text in texts])]


def demonstrations(*traces: str) -> list[Demonstration]:
    return [Demonstration(PROBLEM, trace, "search") for trace in traces]


def test_words_and_signs_make_the_ngrams() -> None:
    assert ngrams("is it 33?  No_\nné", 2) == {("is", "it"), ("it", "33"), ("33", "?"), ("?", "No_"), ("No_", "né")}
    assert ngrams("a a a a", 2) == {("a", "a")}
    assert ngrams("a", 2) == ngrams("", 1) == frozenset()


def test_the_share_that_no_sibling_holds() -> None:
    """Bigrams: {ab, bc, cd}, {ab, bx}, {ab, bc}: 1 of 3, 1 of 2 and none are one rollout's alone."""
    assert values(NoveltyReward(2), "a b c d", "a b x", "a b c") == pytest.approx([1 / 3, 1 / 2, 0], abs=1e-12)


def test_the_mean_with_the_share_that_no_demonstration_holds() -> None:
    """Demonstrated: {ab, bx}. Against siblings 1/3, 1/2, 0; against the demonstrations 2/3, 0, 1/2."""
    reward = NoveltyReward.against(2, demonstrations("a b", "b x"))
    assert values(reward, "a b c d", "a b x", "a b c") == pytest.approx([1 / 2, 1 / 4, 1 / 4], abs=1e-12)


def test_only_rollouts_of_the_same_problem_are_siblings() -> None:
    rollouts = [rollout("a b c", "p"), rollout("a b c", "r"), rollout("a b d", "p"), rollout("x y", "r")]
    assert NoveltyReward(2).explore(["q"] * 4, rollouts) == [Part(0.5), Part(1.0), Part(0.5), Part(1.0)]


def test_distinct_ngrams_count_once() -> None:
    assert values(NoveltyReward(1), "a a a a b", "b") == [0.5, 0.0]


@pytest.mark.parametrize("text", ["", " \n", "a b c", "?!."])
def test_a_text_of_fewer_words_than_n_is_not_new(text: str) -> None:
    assert values(NoveltyReward(4), text, "p q r s") == [0.0, 1.0]
    assert values(NoveltyReward.against(4, demonstrations("d e m o")), text) == [0.0]


def test_without_siblings_the_demonstrations_decide_alone() -> None:
    assert values(NoveltyReward.against(2, demonstrations("a b")), "a b c") == [0.5]


def test_without_anything_to_compare_with_there_is_no_value() -> None:
    (part,) = NoveltyReward(2).explore(["q"], [rollout("a b c")])
    assert part == Part(None, missing="no siblings and no demonstrations to compare with")


def test_a_demonstration_too_short_to_have_ngrams_is_none() -> None:
    assert NoveltyReward.against(4, demonstrations("a b")) == NoveltyReward(4)


def test_copies_earn_nothing_and_another_text_does_not_lower_a_rollout() -> None:
    """Property: in 0 … 1; a further sibling can only take novelty away."""
    rng = Random(0)
    reward = NoveltyReward(2)
    for _ in range(100):
        texts = [" ".join(rng.choice("abcd") for _ in range(rng.randrange(12))) for _ in range(4)]
        before, after = values(reward, *texts[:3]), values(reward, *texts)
        for some, fewer in zip(before, after, strict=False):
            assert some is not None and fewer is not None
            assert 0 <= fewer <= some <= 1
        assert values(reward, *texts, *texts) == [0.0] * 8


@pytest.mark.parametrize("text", ["\x00\ud800" * 50, "‮abc‬ " * 50, "(" * 5000, "١٢٣ " * 9])
def test_hostile_text_is_text(text: str) -> None:
    first, _ = values(NoveltyReward(4), text, "a b c d")
    assert first in (0.0, 1.0)


def test_a_step_of_long_responses_takes_less_than_a_second_each_hundred_thousand_words() -> None:
    rng = Random(1)
    texts = [" ".join(str(rng.randrange(1000)) for _ in range(2000)) for _ in range(50)]
    started = time.process_time()
    assert all(value is not None and value > 0.9 for value in values(NoveltyReward(4), *texts))
    assert time.process_time() - started < 1


def test_random_text_is_the_newest_of_all() -> None:
    """What the page says about how it is hacked."""
    first, _, noise = values(NoveltyReward(2), "3 * 7 = 21", "3 * 7 = 22", "q x 8 ; zz )")
    assert first is not None and first < 0.5
    assert noise == 1.0


def test_it_gets_no_answer() -> None:
    assert list(inspect.signature(NoveltyReward(2).explore).parameters) == ["questions", "rollouts"]


def test_the_recipes_explorer_knows_the_demonstrations() -> None:
    recipe = load(Recipe, "nano", ["exploration={novelty={ngram=2, weight=0.5}}"])
    rollouts = [rollout("a b c"), rollout("x y z")]
    alone = explorer_for(recipe).explore(["q"] * 2, rollouts, [True, False])
    taught = explorer_for(recipe, demonstrations("a b")).explore(["q"] * 2, rollouts, [True, False])
    assert [each.parts["novelty"] for each in alone] == [1.0, 1.0]
    assert [each.parts["novelty"] for each in taught] == [0.75, 1.0]
    assert [each.value for each in taught] == [0.375, 0.5]


def test_one_sample_a_prompt_is_refused() -> None:
    with pytest.raises(InputError, match=r"'novelty' compares the samples of one prompt: set rl.samples_per_prompt"):
        load(Recipe, "smollm2-gsm8k", ["exploration=novelty"])
    assert load(Recipe, "nano", ["exploration=novelty", "rl.samples_per_prompt=1"]).demonstrations, "they are enough"

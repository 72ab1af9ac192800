"""Behaviours found by words, and how often that is right on labelled sentences of real responses."""

from __future__ import annotations

import time
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlsp.behaviours import lexical
from rlsp.behaviours.sentences import split
from rlsp.behaviours.spans import Behaviour, Span
from tests.corpora.behaviours import JUDGED_BY, in_whole_responses, kappa, labels, on_sentences, responses

DATA = Path(__file__).parents[2] / "shared/data/math500_rollouts"
with_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"the labelled responses are not in {DATA}")
PRECISION = 0.85
ONE = "The sum is 14."


def shown(*sentences: str, question: str = "") -> list[tuple[Behaviour, str]]:
    text = "\n".join(sentences)
    return [(span.behaviour, text[span.start : span.end]) for span in lexical.find(text, question)]


@pytest.mark.parametrize(
    ("sentence", "behaviour"),
    [
        ("Let's verify this by substituting back.", Behaviour.VERIFICATION),
        (r"This does not match \(\sqrt{2}\).", Behaviour.VERIFICATION),
        ("Both sides are equal.", Behaviour.VERIFICATION),
        ("Let's re-evaluate the problem.", Behaviour.BACKTRACKING),
        ("Instead, consider the other root.", Behaviour.BACKTRACKING),
        ("There seems to be an error in the sum.", Behaviour.SELF_CORRECTION),
        ("We made a mistake above.", Behaviour.SELF_CORRECTION),
        ("Alternatively, count the pairs.", Behaviour.ALTERNATIVE),
        ("First, find the radius of the circle:", Behaviour.SUBGOAL),
        ("### Step 2: Convert the speed", Behaviour.SUBGOAL),
        (r"For \(n\) to be an integer, \(k\) must divide 12.", Behaviour.BACKWARD_CHAINING),
    ],
)
def test_a_sentence_that_says_so(sentence: str, behaviour: Behaviour) -> None:
    assert (behaviour, sentence) in shown(ONE, sentence)


@pytest.mark.parametrize(
    "sentence",
    [
        "Therefore the area is 12.",
        "Check if 17 is prime: Yes.",
        "This gives no error.",
        "Multiply both sides by 2:",
        "The correct answer is 14.",
        "Another angle is 30 degrees.",
    ],
)
def test_a_sentence_that_shows_nothing(sentence: str) -> None:
    assert shown(ONE, sentence) == []


def test_the_next_candidate_is_a_backtrack_only_after_one_that_failed() -> None:
    assert shown(ONE, "Let's try 7.") == []
    assert (Behaviour.BACKTRACKING, "Let's try 7.") in shown(ONE, "5 does not work.", "Let's try 7.")


def test_what_the_problem_asks_for_is_no_subgoal() -> None:
    step, more = "First, find the area of the garden:", "Now, compute 3:"
    assert (Behaviour.SUBGOAL, step) in shown(ONE, step, more, question="How long is the fence?")
    assert (Behaviour.SUBGOAL, step) not in shown(ONE, step, more, question="What is the area of the garden?")


def test_a_long_sentence_said_twice_is_a_repetition() -> None:
    long = "The number of ways to seat the three guests at the round table is two times one."
    assert shown(ONE, long, ONE, long).count((Behaviour.REPETITION, long)) == 1
    assert shown(ONE, ONE) == []


def test_sentences_are_the_text_at_their_places() -> None:
    text = "# Step 1: Add\n\nWe have 10! ways. Then, e.g. for two:\n\\[\n1 + 1 = 2\n\\]\nSo it is 2."
    found = split(text)
    assert [each.text for each in found] == ["# Step 1: Add", "We have 10! ways.", "Then, e.g. for two:", "So it is 2."]
    assert all(text[each.start : each.end] == each.text for each in found)


@given(st.text(max_size=400))
def test_any_text_has_spans_within_it(text: str) -> None:
    for span in lexical.find(text, text):
        assert 0 <= span.start < span.end <= len(text)


@pytest.mark.parametrize("piece", ["\\(", "for a to be ", "none of the ", "not ", "$", "seems ", "a. A", "using x, "])
def test_hostile_text_takes_no_long_time(piece: str) -> None:
    began = time.process_time()
    lexical.find(piece * 20_000, piece * 1000)
    assert time.process_time() - began < 10


@cache
def detect(response: str, question: str) -> tuple[Span, ...]:
    return tuple(lexical.find(response, question))


def test_hundreds_of_sentences_are_labelled_and_readers_agree() -> None:
    assert sum(bool(label.first & label.second) for label in labels()) >= 200
    assert min(kappa(behaviour) for behaviour in Behaviour) > 0.7


@with_data
@pytest.mark.parametrize("behaviour", list(Behaviour))
def test_precision_on_labelled_sentences(behaviour: Behaviour) -> None:
    right, found = on_sentences(detect, responses(DATA), behaviour, JUDGED_BY[behaviour]).precision
    assert found >= 10
    assert right / found >= PRECISION


@with_data
def test_labels_are_the_text_at_their_places() -> None:
    texts = responses(DATA)
    for label in labels():
        assert 0 <= label.start < label.end <= len(texts[label.file, label.idx][0])


@with_data
def test_recall_is_what_the_document_says_at_least() -> None:
    texts = responses(DATA)
    for behaviour, least in ((Behaviour.VERIFICATION, 0.2), (Behaviour.BACKTRACKING, 0.5), (Behaviour.SUBGOAL, 0.25)):
        found, labelled = in_whole_responses(detect, texts, behaviour).recall
        assert found / labelled >= least

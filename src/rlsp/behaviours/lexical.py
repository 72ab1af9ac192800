"""Behaviours found by words, in the sentences of free text: what a response says that it does, not whether it does it.
docs/behaviours.md tells how often that is right, by hand-labelled sentences of real responses."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rlsp.behaviours import cues
from rlsp.behaviours.sentences import split, words
from rlsp.behaviours.spans import Behaviour, Span

FOUND = tuple(Behaviour)
SHORTEST_REPEAT = 12
"""Words of a sentence that counts as said again, when all its words and numbers are an earlier one's."""
LONGEST = 2000
"""Characters of a sentence that are read: more are no sentence, and patterns would take long."""
_MARKUP = re.compile(r"\\[,;:! ]|\\quad|[*_#]+")
_FORMULA = re.compile(r"\\\(.*?\\\)|\\\[.*?\\\]|\$[^$]*\$", re.DOTALL)
_TOKEN = re.compile(r"[a-z]+|\d+")


def find(response: str, question: str = "") -> list[Span]:
    """Where the response shows which behaviour, by its sentences, in their order. A sentence can show several. What
    the `question` asks for is no subgoal."""
    sentences = split(response)
    plain = [_plain(sentence.text) for sentence in sentences]
    asked = _content(question)
    announced = [_announces(text, first=place == 0) for place, text in enumerate(plain)]
    last = max((place for place, says in enumerate(announced) if says), default=-1)
    found, said = [], set[tuple[str, ...]]()
    for place, sentence in enumerate(sentences):
        shown = _shown(plain[place], plain[max(0, place - 2) : place], first=place == 0)
        more = place < last or cues.ONE_OF_SEVERAL.search(plain[place])
        if announced[place] and more and not _content(_target(sentence.text)) <= asked:
            shown.append(Behaviour.SUBGOAL)
        key = tuple(_TOKEN.findall(sentence.text.lower()))
        if len(words(sentence.text)) >= SHORTEST_REPEAT and key in said:
            shown.append(Behaviour.REPETITION)
        said.add(key)
        found += [Span(behaviour, sentence.start, sentence.end) for behaviour in shown]
    return found


def _shown(text: str, before: Sequence[str], first: bool) -> list[Behaviour]:
    shown = [Behaviour.BACKWARD_CHAINING] if cues.BACKWARD.search(text) else []
    if first:
        return shown
    if cues.VERIFICATION.search(text):
        shown.append(Behaviour.VERIFICATION)
    if cues.RETURN.search(text) or (cues.TRY.search(text) and any(cues.MISSES.search(each) for each in before)):
        shown.append(Behaviour.BACKTRACKING)
    if cues.CORRECTION.search(text) and not cues.NO_CORRECTION.search(text):
        shown.append(Behaviour.SELF_CORRECTION)
    if cues.ALTERNATIVE.search(text):
        shown.append(Behaviour.ALTERNATIVE)
    return shown


def _announces(text: str, first: bool) -> bool:
    """Whether it names something to be obtained and does not obtain it. A response's first sentence mostly says what
    is asked."""
    return (
        bool(cues.SUBGOAL.search(text))
        and not cues.OBTAINED.search(text)
        and (not first or bool(cues.FIRST.search(text)))
    )


def _content(text: str) -> set[str]:
    """What a sentence is about: its words without those of announcing, its numbers and the names in its formulas."""
    return set(_TOKEN.findall(text.lower())) - cues.NAMELESS


def _target(text: str) -> str:
    """What is to be obtained: what follows the first verb of obtaining; all of it without one."""
    match = cues.OBTAIN.search(text)
    return re.split(r"[:.,]", text[match.end() :])[0] if match else text


def _plain(text: str) -> str:
    """The sentence as patterns read it: formulas in one sign each, no emphasis, no heading's number."""
    return re.sub(r"\s+", " ", _MARKUP.sub("", _FORMULA.sub("∎", text[:LONGEST]))).strip()

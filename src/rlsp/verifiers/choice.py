"""Multiple choice: the marked answer names one option, by its letter or by its text, and it is the right one.

The reference is a letter, an option's text with `grading["options"]`, or `grading["index"]`, which counts from 0 and
goes before `answer`. A final answer that names two options is wrong, whichever they are: it hedges.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from string import ascii_uppercase

from rlsp.errors import InputError
from rlsp.types import Problem, Reason, Verdict
from rlsp.verifiers.exact import normalise
from rlsp.verifiers.extraction import extract
from rlsp.verifiers.settings import Settings

_LABEL = r"(?:\\(?:text|textbf|mathrm|mathbf)\{)?[(\[]?([A-Za-z])[)\]]?\}?"
_FILLER = re.compile(
    r"\b(?:and|or|both|either|the|correct|right|best|option|choice|answer|letter|is)\b|[,/&+;|.:]", re.IGNORECASE
)
_LABELLED = re.compile(
    rf"(?:(?:the )?(?:correct |right |best )?(?:option|choice|answer|letter)(?: is)?:? ?)?{_LABEL}"
    r"(?:[.:),\]]+ | [–—-] | (?=(?:because|since|as)\b))(.*)",
    re.IGNORECASE,
)
_DENIAL = re.compile(r"\b(?:not|wrong|incorrect|false|never)\b|n't\b", re.IGNORECASE)
_ANOTHER = re.compile(
    r"(?:\b(?:and|or|not|maybe|option|choice|answer)\s+|[(\[/,&+;]\s*)([A-Z])\b"
    r"|[(\[]([a-z])[)\]]"
    r"|(?<!\w)(?!(?:A|I)\s+(?!(?:is|and|or)\b)[a-z])([A-Z])(?!\w)"
)
"""A letter that stands for an option within running text; "A dog" and "I think" are none."""


def verify_all(problems: Sequence[Problem], responses: Sequence[str], settings: Settings) -> list[Verdict]:
    """Raises InputError when a problem's reference is none of its options."""
    return [verify(*pair, settings) for pair in zip(problems, responses, strict=True)]


def verify(problem: Problem, response: str, settings: Settings) -> Verdict:
    options = _options(problem)
    reference = _reference(problem, options)
    extracted = extract(response, settings.extraction)
    if not extracted:
        return Verdict(False, "", Reason.NO_ANSWER, reference)
    named = letters(extracted, options)
    answer = ", ".join(named)
    if not named:
        return Verdict(False, "", Reason.UNPARSABLE, reference, f"names no option: {extracted[:80]!r}")
    if len(named) > 1:
        return Verdict(False, answer, Reason.MISMATCH, reference, f"names several options: {answer}")
    return Verdict(answer == reference, answer, Reason.MATCH if answer == reference else Reason.MISMATCH, reference)


def letters(answer: str, options: Sequence[str] = ()) -> list[str]:
    """The options' letters that an answer names, in the order of the alphabet, each once.

    >>> letters(r"\\text{(b)}"), letters("A or C"), letters("Paris", ["Rome", "Paris"])
    (['B'], ['A', 'C'], ['B'])
    """
    text = normalise(answer, case=True)
    alone = [re.fullmatch(_LABEL, word) for word in _FILLER.sub(" ", text).split()]
    if alone and all(alone):
        return sorted({label[1].upper() for label in alone if label})
    labelled = _LABELLED.fullmatch(text)
    by_text = _with_text(text, options)
    if labelled is None or by_text:
        return by_text
    letter, rest = labelled[1].upper(), labelled[2]
    stated = set(_with_text(rest, options))
    if letter in stated:
        return [letter]
    others = {found.upper() for match in _ANOTHER.findall(rest) for found in match if found}
    if not others and _DENIAL.search(rest):
        return []
    return sorted({letter} | stated | others)


def _with_text(text: str, options: Sequence[str]) -> list[str]:
    """The letters of the options that read like this."""
    wanted = normalise(text)
    return [letter for letter, option in zip(ascii_uppercase, options, strict=False) if normalise(option) == wanted]


def _options(problem: Problem) -> list[str]:
    options = problem.grading.get("options", [])
    if not isinstance(options, list) or not all(isinstance(option, str) for option in options):
        raise InputError(f"problem {problem.id}: grading.options {options!r:.80} is no list of texts; make it one")
    if len(options) > len(ascii_uppercase):
        raise InputError(f"problem {problem.id}: {len(options)} options, but only 26 letters; give fewer")
    return options


def _reference(problem: Problem, options: Sequence[str]) -> str:
    count = len(options) or len(ascii_uppercase)
    if (index := problem.grading.get("index")) is not None:
        if type(index) is int and 0 <= index < count:
            return ascii_uppercase[index]
        raise InputError(f"problem {problem.id}: grading.index {index!r} is none of 0 … {count - 1}; correct it")
    label = re.fullmatch(rf"{_LABEL}\.?", problem.answer.strip())
    candidates = {*_with_text(problem.answer, options)}
    if label and label[1].upper() in ascii_uppercase[:count]:
        candidates.add(label[1].upper())
    if len(candidates) != 1:
        raise InputError(
            f"problem {problem.id}: answer {problem.answer!r:.80} stands for {len(candidates)} of its options; give "
            "the right one's letter or text, or count it from 0 in grading.index"
        )
    return candidates.pop()

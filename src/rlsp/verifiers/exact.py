"""An answer in words: the marked answer is the reference, or one of its alternatives, up to how it is typed.

`normalise` says what counts as typing. `grading` may hold `answers`, further right answers, and `case`: true when upper
and lower case differ.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from rlsp.errors import InputError
from rlsp.types import Problem, Reason, Verdict
from rlsp.verifiers.extraction import extract
from rlsp.verifiers.settings import Settings

_MEANINGFUL = ("<super>", "<sub>", "<fraction>", "<circle>", "<square>")
_WRAPPED = tuple(
    re.compile(pattern, re.DOTALL)
    for pattern in (
        r"\$\$([^$]*)\$\$",
        r"\$([^$]*)\$",
        r"\\\(((?:(?!\\\)).)*)\\\)",
        r"\\\[((?:(?!\\\]).)*)\\\]",
        r"\\(?:text|textbf|textit|textrm|mathrm|mathbf|mathit)\s*\{([^{}]*)\}",
        r"\*\*([^*]*)\*\*",
    )
)


def verify_all(problems: Sequence[Problem], responses: Sequence[str], settings: Settings) -> list[Verdict]:
    """Raises InputError when a problem has no reference, or `grading` of another form."""
    return [verify(*pair, settings) for pair in zip(problems, responses, strict=True)]


def verify(problem: Problem, response: str, settings: Settings) -> Verdict:
    references, case = _references(problem)
    answer = normalise(extract(response, settings.extraction), case)
    if not answer:
        return Verdict(False, "", Reason.NO_ANSWER, references[0])
    if answer in references:
        return Verdict(True, references[0], Reason.MATCH, references[0])
    return Verdict(False, answer, Reason.MISMATCH, references[0])


def normalise(text: str, case: bool = False) -> str:
    """The text without what typing adds: Unicode's compatible forms (a wide `Ａ` is A, but ² stays apart from 2), white
    space around it and runs of it, dollar signs, `\\text{…}` or bold around the whole, one full stop at its end. `case`
    keeps upper and lower case apart.

    >>> normalise(r"$\\text{North  East}$.")
    'north east'
    """
    text = " ".join("".join(map(_plain, unicodedata.normalize("NFC", text))).split())
    text = _unwrapped(text)
    if text.endswith(".") and not text.endswith(".."):
        text = _unwrapped(text[:-1].rstrip())
    return text if case else text.lower()


def _plain(character: str) -> str:
    if character == "−":
        return "-"
    if unicodedata.decomposition(character).startswith(_MEANINGFUL):
        return character
    return unicodedata.normalize("NFKC", character)


def _unwrapped(text: str) -> str:
    while match := next(filter(None, (pattern.fullmatch(text) for pattern in _WRAPPED)), None):
        text = match[1].strip()
    return text


def _references(problem: Problem) -> tuple[list[str], bool]:
    """The right answers in normal form, the problem's own first; whether case counts."""
    further, case = problem.grading.get("answers", []), problem.grading.get("case", False)
    if not isinstance(further, list) or not all(isinstance(answer, str) for answer in further):
        raise InputError(f"problem {problem.id}: grading.answers {further!r:.80} is no list of texts; make it one")
    if not isinstance(case, bool):
        raise InputError(
            f"problem {problem.id}: grading.case {case!r:.80} is neither true nor false; make it one of them"
        )
    references = [normal for answer in (problem.answer, *further) if (normal := normalise(answer, case))]
    if not references:
        raise InputError(f"problem {problem.id} has no reference answer: give answer, or grading.answers")
    return references, case

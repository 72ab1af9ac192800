"""A final answer in free text: the last `\\boxed{…}`, else what follows the last `####` or "answer is" or "Answer:".

Numbers are compared by value, anything else by its text without spaces. A response that marks no answer has none: a
number that merely stands last is a guess of the grader's, not an answer of the model's.
"""

from __future__ import annotations

import re
from fractions import Fraction

from rlsp.tasks.boxes import last_box
from rlsp.types import Problem, Reason, Verdict

MAX_CHARACTERS = 20_000
"""Only the end of a longer response is searched for its answer."""

_MARKER = re.compile(r"(?:####|\banswer\** is:?|\banswer\**:)[ \t*]*\n?[ \t]*([^\n]{0,200})", re.IGNORECASE)
_NEXT_SENTENCE = re.compile(r"\.\**\s")
_NUMBER = re.compile(r"[-+]?(?:\d{1,30}(?:,\d{3})*(?:\.\d{1,30})?|\.\d{1,30})(?:/[1-9]\d{0,29})?", re.ASCII)
_FRACTION = re.compile(r"\\[dt]?frac\{(-?\d{1,30})\}\{(\d{1,30})\}", re.ASCII)
_MIXED = re.compile(r"([-+]?)(\d{1,30}) +(\d{1,30})/([1-9]\d{0,29})", re.ASCII)
_TEXT = re.compile(r"\\(?:text|mathrm|textbf)\{([^{}]*)\}")
_SPACING = re.compile(r"\\[,;!:() \[\]]|\\left|\\right|\\?[$%]|[`~]")
_LOOSE_SPACE = re.compile(r"(?<!\d)\s+|\s+(?!\d)")


def verify(problem: Problem, response: str) -> Verdict:
    extracted = extract(response)
    if not extracted:
        return Verdict(False, "", Reason.NO_ANSWER)
    answer = normalise(extracted)
    correct = answer == normalise(problem.answer)
    return Verdict(correct, answer, Reason.MATCH if correct else Reason.MISMATCH)


def extract(response: str) -> str:
    """The marked answer as written, or ""."""
    end = response[-MAX_CHARACTERS:]
    if (boxed := last_box(end)) is not None:
        return boxed
    marked = _MARKER.findall(end)
    return _NEXT_SENTENCE.split(marked[-1], maxsplit=1)[0].strip() if marked else ""


def normalise(answer: str) -> str:
    """Equal strings for equal answers: numbers as exact fractions, other text without decoration. `3 1/2` is 7/2, not
    31/2; `1,234` is a number, `1, 234` is a list."""
    text = _SPACING.sub("", _TEXT.sub(r"\1", answer).replace("{,}", ",")).replace("−", "-")
    text = _FRACTION.sub(r" \1/\2", text).lstrip(" *\n\t").rstrip(" *.\n\t")
    if mixed := _MIXED.fullmatch(text):
        sign, whole, numerator, denominator = mixed.groups()
        return str((int(whole) + Fraction(int(numerator), int(denominator))) * (-1 if sign == "-" else 1))
    bare = _LOOSE_SPACE.sub("", text)
    if _NUMBER.fullmatch(text) or ("," not in bare and _NUMBER.fullmatch(bare)):
        numerator, _, denominator = bare.replace(",", "").partition("/")
        return str(Fraction(numerator) / Fraction(denominator or 1))
    return bare.casefold()

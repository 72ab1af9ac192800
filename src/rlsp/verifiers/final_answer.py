"""A final answer in free text: the last `\\boxed{…}`, else what follows the last `####` or "answer is" or "Answer:".

Numbers are compared by value, anything else by its text without spaces. A response that marks no answer has none: a
number that merely stands last is a guess of the grader's, not an answer of the model's.
"""

from __future__ import annotations

import re
from fractions import Fraction

from rlsp.types import Problem, Reason, Verdict

_MARKER = re.compile(r"(?:####|\banswer is:?|\banswer:)[ \t]*([^\n]{0,200})", re.IGNORECASE)
_NUMBER = re.compile(r"[-+]?\d{1,30}(?:,\d{3})*(?:\.\d{1,30})?(?:/[1-9]\d{0,29})?")
_DECORATION = re.compile(r"\\[,;!()\[\]]|\\left|\\right|\\text\{([^}]*)\}|[$\s*`]")


def verify(problem: Problem, response: str) -> Verdict:
    extracted = extract(response)
    if not extracted:
        return Verdict(False, "", Reason.NO_ANSWER)
    answer = normalise(extracted)
    correct = answer == normalise(problem.answer)
    return Verdict(correct, answer, Reason.MATCH if correct else Reason.MISMATCH)


def extract(response: str) -> str:
    """The marked answer as written, or ""."""
    if (boxed := _last_box(response)) is not None:
        return boxed
    marked = _MARKER.findall(response)
    return marked[-1].strip() if marked else ""


def normalise(answer: str) -> str:
    """Equal strings for equal answers: numbers as exact fractions, other text without decoration."""
    text = _DECORATION.sub(lambda match: match[1] or "", answer).rstrip(".")
    if _NUMBER.fullmatch(text):
        numerator, _, denominator = text.replace(",", "").partition("/")
        return str(Fraction(numerator) / Fraction(denominator or 1))
    return text.casefold()


def _last_box(response: str) -> str | None:
    """The content of the last `\\boxed{…}` whose braces match, or None."""
    start = response.rfind("\\boxed{")
    if start < 0:
        return None
    depth = 0
    for position in range(start + len("\\boxed"), len(response)):
        depth += {"{": 1, "}": -1}.get(response[position], 0)
        if depth == 0:
            return response[start + len("\\boxed{") : position].strip()
    return None

"""Text between brackets, and text that no bracket encloses."""

from __future__ import annotations

import re
from collections.abc import Iterator

from rlsp.verifiers.math.shapes import TooComplex

MAX_ITEMS = 200
_OPEN, _CLOSE = "([{", ")]}"
_VALUE_INSIDE = re.compile(r"\\text\{(?:[^A-Za-z]*\d|.*\\)")


def split(text: str, *separators: str) -> list[str]:
    """The parts between separators that no bracket encloses."""
    parts, start, index, level = [], 0, 0, 0
    while index < len(text):
        separator = next((each for each in separators if text.startswith(each, index)), None)
        if separator and level == 0 and not text[index + len(separator) :][:1].isalpha() * separator[-1:].isalpha():
            parts.append(text[start:index].strip())
            index = start = index + len(separator)
            if len(parts) > MAX_ITEMS:
                raise TooComplex(f"more than {MAX_ITEMS} items")
            continue
        index, level = _step(text, index, level)
    return [*parts, text[start:].strip()]


def _step(text: str, index: int, level: int, opening: str = _OPEN) -> tuple[int, int]:
    """Past one character or escaped brace: (next index, bracket level there)."""
    if text.startswith((r"\begin{", r"\langle"), index):
        return index + 6, level + 1
    if text.startswith((r"\end{", r"\rangle"), index):
        return index + 4, level - 1
    escaped = text[index] == "\\" and text[index + 1 : index + 2] in ("{", "}", "\\")
    character = text[index + escaped]
    return index + 1 + escaped, level + (character in opening) - (
        _OPEN[_CLOSE.find(character)] in opening and character in _CLOSE
    )


def level(text: str, position: int, opening: str = _OPEN) -> int:
    index = level = 0
    while index < position:
        index, level = _step(text, index, level, opening)
    return level


def bracketed(text: str) -> tuple[str, str, str] | None:
    """(opening, inside, closing) when one pair of brackets encloses the whole text."""
    for opening, closings in ((r"\{", (r"\}",)), (r"\langle", (r"\rangle",)), ("(", (")", "]")), ("[", ("]", ")"))):
        for closing in closings:
            if text.startswith(opening) and text.endswith(closing) and len(text) >= len(opening) + len(closing):
                inner = text[len(opening) : -len(closing)]
                if all(level >= 0 for level in _levels(inner)):
                    return ("(", inner, ")") if opening == r"\langle" else (opening, inner, closing)
    return None


def _levels(text: str) -> Iterator[int]:
    index = level = 0
    while index < len(text):
        index, level = _step(text, index, level)
        yield level


def unwrapped(text: str) -> str:
    """Without braces or `\\text` around the whole."""
    while True:
        text = text.strip()
        if text.startswith("{") and matching(text, 0) == len(text) - 1:
            text = text[1:-1]
        elif text.startswith(r"\text{") and matching(text, 5) == len(text) - 1 and _VALUE_INSIDE.search(text):
            text = text[6:-1]
        elif (box := re.match(r"\\(?:boxed|fbox|underline)\s*\{", text)) and matching(text, box.end() - 1) == len(
            text
        ) - 1:
            text = text[box.end() : -1]
        else:
            return text


def matching(text: str, opening: int) -> int:
    """Index of the brace that closes the one at `opening`, −1 when there is none."""
    depth = 0
    for index in range(opening, len(text)):
        if text[index] == "{" and (index == 0 or text[index - 1] != "\\"):
            depth += 1
        elif text[index] == "}" and text[index - 1] != "\\":
            depth -= 1
            if depth == 0:
                return index
    return -1

"""Free text in sentences, the units in which its behaviours are found."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

_END = re.compile(r"(?:(?<=[.?])|(?<=[A-Za-z)]!))[*_\"')\]]*\s+(?=[^a-z\s,;)])")
"""Where a sentence ends within a line: not before a small letter, as after `e.g.`, nor after a factorial."""
_WORD = re.compile(r"[A-Za-z]{2,}")
_LATEX = re.compile(r"\\[A-Za-z]+")


@dataclass(frozen=True, slots=True)
class Sentence:
    """`text` is the response's characters from `start` to `end`."""

    text: str
    start: int
    end: int


def split(response: str) -> list[Sentence]:
    """The sentences, in order: lines, cut where a sentence ends within. Lines without a word, such as a displayed
    formula, are left out."""
    sentences = []
    position = 0
    for line in response.split("\n"):
        cuts = [0, *(match.end() for match in _END.finditer(line)), len(line)]
        for start, end in pairwise(cuts):
            text = line[start:end]
            if words(text):
                left = start + len(text) - len(text.lstrip())
                stripped = text.strip()
                sentences.append(Sentence(stripped, position + left, position + left + len(stripped)))
        position += len(line) + 1
    return sentences


def words(text: str) -> list[str]:
    """The words of two letters and more, in small letters, without LaTeX's commands."""
    return [word.lower() for word in _WORD.findall(_LATEX.sub(" ", text))]

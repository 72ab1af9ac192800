"""Answers in words: a name, a direction, the letter of a choice, a time of day."""

from __future__ import annotations

import re

from rlsp.verifiers.math.limits import FUNCTIONS

_CLOCK = re.compile(r"(\d{1,2}:\d{2})\s*(?:\\text\{)?\s*([ap])\.?\s*m\.?\s*\}?", re.IGNORECASE)
_TEXT = re.compile(r"\\text\{([^{}]*)\}")
_WORD = re.compile(r"[^\W\d_]+(?:['’.-][^\W\d_]+)*[.,]?")
_LONG_WORD = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{3,}")
_MATHEMATICS = frozenset(FUNCTIONS) | frozenset(
    "sqrt mod pi frac infinity inf theta alpha beta gamma deg lim floor ceil abs".split()
)
_CHOICE = re.compile(r"(?:\\text\{\s*)?[(\[]?\s*(?:\\text\{\s*)?\(?([A-Z])\)?\s*\}?\s*[)\]]?\s*\}?[.:]?")
_CHOICE_NAMED = re.compile(r"(?:\\text\{\s*)?(?:choice|option|answer)\s+\(?([A-Z])\)?\s*\}?", re.IGNORECASE)
_OTHER = re.compile(r"\([A-Z]\)|\b(?:or|and|not|no|wrong|incorrect|false)\b|n't|=")
"""What behind a letter says that it is not the one letter chosen."""
_OPTION = re.compile(r"(?:\\text\{\s*)?\(([A-Z])\)\s*\}?[:.]?\s+(.{1,80}?)\}?")


def clock(text: str) -> str:
    """`4:30 \\text{ p.m.}` as `4:30 pm`; "" for anything else."""
    found = _CLOCK.fullmatch(text)
    return f"{found[1]} {found[2].lower()}m" if found else ""


def choice_letter(text: str) -> str:
    """The letter of a multiple choice: `C`, `(C)`, `\\text{(C)}`, `(C) plane`; "" for anything else."""
    if found := _CHOICE.fullmatch(text):
        return found[1] if text.count("(") == text.count(")") else ""
    if named := _CHOICE_NAMED.fullmatch(text):
        return named[1].upper()
    option = _OPTION.fullmatch(text)
    return option[1] if option and not _OTHER.search(option[2]) else ""


def is_words(text: str) -> bool:
    """Whether it is prose: words that name no function, one of them longer than a variable, or set upright."""
    if any(name in _MATHEMATICS for name in re.findall(r"[A-Za-z]+", _TEXT.sub(" ", text).lower())):
        return False
    words = plain(text).split()
    named = bool(words) and bool(_LONG_WORD.match(words[0]))
    return all(_WORD.fullmatch(word) or (named and word.isdecimal()) for word in words) and (
        r"\text" in text or bool(_LONG_WORD.search(text))
    )


def plain(text: str) -> str:
    """The words without `\\text{}` and outer punctuation."""
    return re.sub(r"\s+", " ", _TEXT.sub(r" \1 ", text)).strip(" .!\"'")

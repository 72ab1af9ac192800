"""Which shape a written answer has: number, interval, tuple, set, list, matrix, equation, words, or an expression."""

from __future__ import annotations

import re
from fractions import Fraction

from rlsp.verifiers.math.brackets import MAX_ITEMS, bracketed, level, split, unwrapped
from rlsp.verifiers.math.latex import clean
from rlsp.verifiers.math.numerals import NUMERALS, digits_in_base, rational
from rlsp.verifiers.math.relations import SYMBOL_NAMES, SYMBOLS, relation
from rlsp.verifiers.math.shapes import (
    Answer,
    Difference,
    Expression,
    Matrix,
    Number,
    Ordered,
    TooComplex,
    Union,
    Unordered,
    Words,
)
from rlsp.verifiers.math.words import choice_letter, clock, is_words, plain
from rlsp.verifiers.units import split_unit

MAX_CHARACTERS = 2_000
MAX_DEPTH = 30

_MEMBERSHIP = re.compile(
    r"\(?\s*(?:\\text\{\s*(?:for )?(?:all|every|each|any)\s*\}\s*)?"
    r"[A-Za-z](?:_\{?\w\}?)?(?:\([a-z]\))?\s*\\in(?![A-Za-z])"
)
_SET_BUILDER = re.compile(r"\s*[A-Za-z]\s*(?:\\in\s*\\mathbb\{R\}\s*)?[:|]\s*(?=.*(?:\\[lg]e(?![A-Za-z])|[<>]))")
_INEQUALITY = re.compile(r"\\[lg]e(?![A-Za-z])|[<>]")
_RATIO_PARTS = re.compile(r"[\d.]+(?:\s*:\s*[\d.]+)+")
_THOUSANDS = re.compile(r"(?<![\d.,])\d{1,3}(?:(?:,\d{3})+|(?: \d{3})+)(?![\d,])")
_MATRIX = re.compile(r"\\begin\{([pbBvV]?matrix|array)\}(?:\{[lcr| ]*\})?(.*)\\end\{\1\}", re.DOTALL)
_AND = re.compile(
    r"(?:\\text\{\s*,?\s*(?:and|or)\s*\}|(?<![A-Za-z\\])(?:and|or)(?![A-Za-z])|\\(?:lor|vee)(?![A-Za-z]))"
)
_OR = re.compile(r"(?<![A-Za-z\\])or(?![A-Za-z])|\\(?:lor|vee)(?![A-Za-z])")


def read(text: str) -> Answer:
    """The answer's shape.

    Raises:
        TooComplex: it is longer, deeper or wider than an answer is.
    """
    if len(text) > MAX_CHARACTERS:
        raise TooComplex(f"{len(text)} characters, at most {MAX_CHARACTERS} are read")
    return _read(clean(text), 0)


def _read(text: str, depth: int) -> Answer:
    if depth > MAX_DEPTH:
        raise TooComplex(f"nested deeper than {MAX_DEPTH}")
    text = unwrapped(text)
    text = _MEMBERSHIP.sub("", text, count=1).strip() if _MEMBERSHIP.match(text) else text
    if len(sides := split(text, r"\setminus")) == 2:
        return Difference(_read(sides[0], depth + 1), _read(sides[1], depth + 1))
    pieces = split(text, r"\cup")
    if len(pieces) > 1:
        return Union(tuple(_read(piece, depth + 1) for piece in pieces))
    marked = _AND.sub(",", _joined_thousands(text))
    parts = [part for part in split(marked, ",", ";") if part]
    if len(parts) > 1 and not (choice_letter(text) or is_words(text)):
        listed = _listed(parts, depth, braces=False)
        alternatives = bool(_OR.search(text)) and all(map(_INEQUALITY.search, parts))
        return Union(listed.items) if alternatives else listed
    return _single(_joined_thousands(text), depth)


def _joined_thousands(text: str) -> str:
    """`58,500` is a number, the inside of `(12,102)` a pair."""
    return _THOUSANDS.sub(
        lambda found: found[0] if level(text, found.start(), "([") else re.sub("[ ,]", "", found[0]), text
    )


def _listed(parts: list[str], depth: int, braces: bool) -> Unordered:
    items: list[Answer] = []
    for part in parts:
        item = _read(part, depth + 1)
        items.extend(item.items if isinstance(item, Unordered) and not item.braces else [item])
    return Unordered(tuple(items), braces)


def _single(text: str, depth: int) -> Answer:
    """An answer without separators at its top."""
    if time := clock(text):
        return Words(time)
    if _RATIO_PARTS.fullmatch(text):
        return Ordered(":", ":", tuple(_read(part, depth + 1) for part in text.split(":")))
    if matrix := _MATRIX.fullmatch(text):
        return _matrix(matrix[1], matrix[2], depth)
    if letter := choice_letter(text):
        return Words(letter)
    if enclosed := bracketed(text):
        opening, inner, closing = enclosed
        parts = split(inner, ",", ";")
        if opening == r"\{":
            if condition := _SET_BUILDER.match(inner):
                return _read(inner[condition.end() :], depth + 1)
            return _listed(parts, depth, braces=True) if inner.strip() else Expression(r"\emptyset")
        if len(parts) > 1:
            return Ordered(opening, closing, tuple(_read(part, depth + 1) for part in parts))
        if (opening, closing) == ("(", ")"):
            return _read(inner, depth + 1)
    if related := _related(text, depth):
        return related
    if r"\pm" in text or r"\mp" in text:
        signs = ((r"\pm", "+", "-"), (r"\mp", "-", "+"))
        both = [text, text]
        for name, *values in signs:
            both = [_bare_sign(each.replace(name, sign)) for each, sign in zip(both, values, strict=True)]
        return Unordered(tuple(_read(each, depth + 1) for each in both), braces=False)
    return digits_in_base(text) or _quantity(text)


def _quantity(text: str) -> Answer:
    """A number or an expression with its unit, or words."""
    body, unit = split_unit(text)
    percent = body.endswith("%") and not body.endswith("%%")
    number = rational(body.removesuffix("%").strip() if percent else body)
    if number is not None:
        return Number(number, unit, percent)
    if unit and not body:
        return Words(unit)
    if is_words(text):
        words = plain(text)
        if words.lower() in ("infinity", "positive infinity"):
            return Expression(r"\infty")
        if words.lower() in ("all real numbers", "all reals", "real numbers"):
            return Expression(r"\mathbb{R}")
        if words.lower() in NUMERALS:
            return Number(Fraction(NUMERALS.index(words.lower())))
        return Words(words)
    return Expression(body if unit else text, unit)


def _matrix(kind: str, body: str, depth: int) -> Answer:
    rows = [row for row in split(body, r"\\") if row.strip()]
    cells = tuple(tuple(_read(cell, depth + 1) for cell in split(row, "&")) for row in rows)
    if sum(map(len, cells)) > MAX_ITEMS:
        raise TooComplex(f"a matrix of more than {MAX_ITEMS} entries")
    return Matrix("determinant" if kind[0] in "vV" else "matrix", cells)


def _related(text: str, depth: int) -> Answer | None:
    symbols = [found for found in SYMBOLS.finditer(text) if level(text, found.start()) == 0]
    if not symbols:
        return None
    ends = [0, *(found.end() for found in symbols)]
    starts = [*(found.start() for found in symbols), len(text)]
    parts = [text[end:start].strip() for end, start in zip(ends, starts, strict=True)]
    names = [SYMBOL_NAMES.get(found[0]) for found in symbols]
    if not all(parts) or len(parts) > 8 or None in names:
        return None
    return relation([_read(part, depth + 1) for part in parts], [str(name) for name in names])


def _bare_sign(text: str) -> str:
    return re.sub(r"^\s*\+\s*", "", text)

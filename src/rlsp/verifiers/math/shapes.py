"""The shapes that an answer can have.

Shapes decide what may be compared with what: an interval's brackets and a tuple's order count, a list's order does not,
digits with a base are no decimal number. Only expressions need algebra.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction


class TooComplex(ValueError):
    """The answer is beyond what is read; it can still equal its reference letter by letter."""


@dataclass(frozen=True, slots=True)
class Number:
    """An exact rational; decimals are exact too. `percent` keeps the sign that was written."""

    value: Fraction
    unit: str = ""
    percent: bool = False


@dataclass(frozen=True, slots=True)
class Digits:
    """Digits in a base: 40₉."""

    digits: str
    base: int


@dataclass(frozen=True, slots=True)
class Words:
    text: str


@dataclass(frozen=True, slots=True)
class Expression:
    """What needs algebra, as cleaned LaTeX without its unit."""

    latex: str
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Ordered:
    """A tuple, an interval or a vector: brackets and order count."""

    opening: str
    closing: str
    items: tuple[Answer, ...]


@dataclass(frozen=True, slots=True)
class Unordered:
    """A list of answers, or a set (`braces`), in which repeats don't count."""

    items: tuple[Answer, ...]
    braces: bool


@dataclass(frozen=True, slots=True)
class Union:
    """Intervals joined by ∪, in any order."""

    pieces: tuple[Answer, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """A set without another."""

    left: Answer
    right: Answer


@dataclass(frozen=True, slots=True)
class Matrix:
    kind: str
    rows: tuple[tuple[Answer, ...], ...]


@dataclass(frozen=True, slots=True)
class Relation:
    """`left symbol right`; symbols are =, ≠, <, ≤, >, ≥."""

    left: Answer
    symbol: str
    right: Answer


Answer = Number | Digits | Words | Expression | Ordered | Unordered | Union | Difference | Matrix | Relation


def leaves(answer: Answer) -> Iterator[Answer]:
    """The parts of an answer that have no parts."""
    match answer:
        case Ordered(items=parts) | Unordered(items=parts) | Union(pieces=parts):
            inner = parts
        case Difference(left=left, right=right) | Relation(left=left, right=right):
            inner = (left, right)
        case Matrix(rows=rows):
            inner = tuple(cell for row in rows for cell in row)
        case _:
            yield answer
            return
    for part in inner:
        yield from leaves(part)

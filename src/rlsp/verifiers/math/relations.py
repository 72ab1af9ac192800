"""Equations and inequalities; an inequality of one variable is the interval that it describes."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rlsp.verifiers.math.shapes import Answer, Expression, Ordered, Relation, Words

SYMBOLS = re.compile(
    r"\\le(?![A-Za-z])|\\ge(?![A-Za-z])|\\ne(?:q)?(?![A-Za-z])|\\(?:approx|equiv|Rightarrow|implies)(?![A-Za-z])|:=|=|<|>"
)
SYMBOL_NAMES = {
    r"\le": "≤",
    r"\ge": "≥",
    r"\ne": "≠",
    r"\neq": "≠",
    ":=": "=",
    r"\approx": "≈",
    "=": "=",
    "<": "<",
    ">": ">",
}
_CALL = re.compile(r"[fghFGH]'*(?:\^\{-1\})?\s*\(.*\)|([A-Za-z])'*\s*\((?:(?!\1).)*\)")
"""`f(x)`, `P(2)`; `x(x + 1)` is a product."""
_LETTERS = re.compile(r"[A-Za-z](?:_\{?\w\}?)?(?:\s*[-+]?\s*[A-Za-z](?:_\{?\w\}?)?)+")
"""`m + n` and `xy`, as problems ask for them; `2x` and `x^2` are something to be solved."""
_NAME = re.compile(
    r"(?:\\(?:angle|triangle|text\{[^{}]*\}|overline|vec|hat|mathbf|mathcal)\s*|[A-Z]{1,4}|\{|\})*"
    r"(?:\\[A-Za-z]+|[A-Za-z]{1,4}|\\text\{[^{}]*\})?'?(?:_\{?\w{1,10}\}?)?"
    r"\s*(?:\^\{-1\})?\s*(?:\([A-Za-z0-9, ]{1,12}\))?\}*"
)


def relation(sides: Sequence[Answer], symbols: Sequence[str]) -> Answer | None:
    """The sides between the symbols as one answer; None when they say nothing that can be compared."""
    if all(symbol == "=" for symbol in symbols):
        before = sides[0] if len(sides) == 2 else Ordered("=", "=", tuple(sides[:-1]))
        return Relation(before, "=", sides[-1])
    return _interval(list(sides), list(symbols))


def _interval(sides: list[Answer], symbols: list[str]) -> Answer | None:
    """An inequality of one variable against bounds, as the interval that it describes."""
    if len(sides) == 2:
        left, (symbol,), right = sides[0], symbols, sides[1]
        if symbol == "≠" or _is_variable(right) == _is_variable(left):
            return Relation(left, symbol, right)
        if _is_variable(right):
            left, right, symbol = right, left, {"<": ">", ">": "<", "≤": "≥", "≥": "≤"}[symbol]
        if symbol in "<≤":
            return Ordered("(", "]" if symbol == "≤" else ")", (Expression(r"-\infty"), right))
        return Ordered("[" if symbol == "≥" else "(", ")", (right, Expression(r"\infty")))
    if len(sides) == 3 and _is_variable(sides[1]):
        low, high = sides[0], sides[2]
        if set(symbols) <= {">", "≥"}:
            low, high, symbols = high, low, symbols[::-1]
        elif not set(symbols) <= {"<", "≤"}:
            return None
        closed = [symbol.replace("≥", "≤") == "≤" for symbol in symbols]
        return Ordered("[" if closed[0] else "(", "]" if closed[1] else ")", (low, high))
    return None


def is_name(answer: Answer) -> bool:
    """What may stand left of the `=` of "x = 5": a name, not a value."""
    if isinstance(answer, Expression):
        return any(pattern.fullmatch(answer.latex) for pattern in (_NAME, _CALL, _LETTERS))
    return isinstance(answer, Words)


def _is_variable(answer: Answer) -> bool:
    return (
        isinstance(answer, Expression)
        and bool(re.fullmatch(r"[A-Za-z](?:_\{?\w\}?)?|\\[a-z]+|f\([a-z]\)", answer.latex))
        and (answer.latex not in (r"\pi", r"\infty", "e", "i"))
    )

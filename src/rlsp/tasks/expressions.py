"""Arithmetic expressions as trees: parsed by hand (model text is never evaluated by Python), exact, with one
canonical form for all ways of writing the same calculation."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

MAX_CHARACTERS = 400
MAX_DEPTH = 40
_TOKEN = re.compile(r"\s*(?:(\d{1,12})(?!\d)|(.))", re.DOTALL)
_SAME_OPERATOR = {"×": "*", "·": "*", "÷": "/", "−": "-"}
_INVERSE = {"+": "+", "-": "+", "*": "*", "/": "*"}


class ExpressionError(ValueError):
    """The text is not an arithmetic expression that can be evaluated."""


@dataclass(frozen=True, slots=True)
class Number:
    value: int


@dataclass(frozen=True, slots=True)
class Operation:
    left: Expression
    operator: str
    right: Expression


Expression = Number | Operation


def evaluate(expression: Expression) -> Fraction:
    """Exact value. Raises ExpressionError on a division by zero."""
    if isinstance(expression, Number):
        return Fraction(expression.value)
    return apply(evaluate(expression.left), expression.operator, evaluate(expression.right))


def apply(left: Fraction, operator: str, right: Fraction) -> Fraction:
    match operator:
        case "+":
            return left + right
        case "-":
            return left - right
        case "*":
            return left * right
        case "/" if right != 0:
            return left / right
        case "/":
            raise ExpressionError("division by zero")
    raise ExpressionError(f"unknown operator {operator!r}")


def numbers_in(expression: Expression) -> list[int]:
    """The numbers written in the expression, sorted, repeats kept."""
    if isinstance(expression, Number):
        return [expression.value]
    return sorted(numbers_in(expression.left) + numbers_in(expression.right))


def canonical(expression: Expression) -> str:
    """One string for every order of writing the same sums and products: `7*3+12` and `12+(3*7)` agree.

    >>> canonical(parse("12 + 3 * 7")) == canonical(parse("(7*3)+12"))
    True
    """
    if isinstance(expression, Number):
        return str(expression.value)
    group = _INVERSE[expression.operator]
    operands = sorted(_flatten(expression, group, inverted=False))
    return "(" + " ".join(operands) + ")"


def _flatten(expression: Expression, group: str, inverted: bool) -> list[str]:
    """The operands of a maximal run of + and − (or of * and /), each with the sign it carries in the run."""
    if isinstance(expression, Operation) and _INVERSE[expression.operator] == group:
        flips = expression.operator != group
        return _flatten(expression.left, group, inverted) + _flatten(expression.right, group, inverted != flips)
    sign = {("+", False): "+", ("+", True): "-", ("*", False): "*", ("*", True): "/"}[group, inverted]
    return [sign + canonical(expression)]


def parse(text: str) -> Expression:
    """Parse + − * / and parentheses over non-negative integers (`×`, `·`, `÷` and `−` are read as operators).

    Raises:
        ExpressionError: anything else, or text beyond the size limits.
    """
    if len(text) > MAX_CHARACTERS:
        raise ExpressionError(f"{len(text)} characters, the limit is {MAX_CHARACTERS}")
    tokens = [number or _SAME_OPERATOR.get(symbol, symbol) for number, symbol in _TOKEN.findall(text.strip())]
    parser = _Parser(tokens)
    expression = parser.sum(0)
    if parser.peek():
        raise ExpressionError(f"unexpected {parser.peek()!r}")
    return expression


class _Parser:
    """Recursive descent: sum → product → atom."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens = tokens
        self.position = 0

    def peek(self) -> str:
        return self.tokens[self.position] if self.position < len(self.tokens) else ""

    def take(self) -> str:
        token = self.peek()
        self.position += 1
        return token

    def sum(self, depth: int) -> Expression:
        left = self.product(depth)
        while self.peek() in ("+", "-"):
            left = Operation(left, self.take(), self.product(depth))
        return left

    def product(self, depth: int) -> Expression:
        left = self.atom(depth)
        while self.peek() in ("*", "/"):
            left = Operation(left, self.take(), self.atom(depth))
        return left

    def atom(self, depth: int) -> Expression:
        if depth > MAX_DEPTH:
            raise ExpressionError(f"nested deeper than {MAX_DEPTH}")
        token = self.take()
        if token.isascii() and token.isdigit():
            return Number(int(token))
        if token == "(":
            inner = self.sum(depth + 1)
            if self.take() != ")":
                raise ExpressionError("unbalanced parentheses")
            return inner
        raise ExpressionError(f"unexpected {token!r}" if token else "the expression ends too early")

"""Sets of reals that are written differently: `(0,1] ∪ (1,2)` is `(0,2)`."""

from __future__ import annotations

from typing import Any

from rlsp.verifiers.math import expressions
from rlsp.verifiers.math.shapes import Answer, Difference, Expression, Number, Ordered, Union, Unordered


def equal(first: Answer, second: Answer) -> bool:
    """Whether two answers describe the same set of real numbers; False when one of them is no such set."""
    left, right = _set(first), _set(second)
    return left is not None and right is not None and bool(left == right)


def _set(answer: Answer) -> Any:
    import sympy

    match answer:
        case Expression(latex=r"\mathbb{R}"):
            return sympy.Reals
        case Ordered(opening="(" | "[" as opening, closing=")" | "]" as closing, items=(low, high)):
            bounds = [_bound(low), _bound(high)]
            if None in bounds or not bounds[0] < bounds[1]:
                return None
            return sympy.Interval(*bounds, opening == "(", closing == ")")
        case Unordered(items=items):
            values = [_bound(item) for item in items]
            return None if None in values else sympy.FiniteSet(*values)
        case Union(pieces=pieces):
            parts = [_set(piece) for piece in pieces]
            return None if None in parts else sympy.Union(*parts)
        case Difference(left=left, right=right):
            outer, inner = _set(left), _set(right)
            return None if outer is None or inner is None else sympy.Complement(outer, inner)
    return None


def _bound(answer: Answer) -> Any:
    import sympy

    if isinstance(answer, Number):
        return sympy.Rational(answer.value.numerator, answer.value.denominator)
    if isinstance(answer, Expression):
        try:
            value = expressions.parse(answer.latex)
        except ValueError:
            return None
        return value if value.is_extended_real and not value.free_symbols else None
    return None

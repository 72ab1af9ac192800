"""Equality of expressions. math-verify's LaTeX parser reads them, exact evaluation at sample points decides.

Nothing here may run outside a worker that can be killed: sympy computes whatever it is told to.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from rlsp.verifiers.math.limits import FUNCTIONS, check
from rlsp.verifiers.math.shapes import TooComplex

DIGITS = 50
"""Decimal digits of an evaluation; two values agree when all but the last ten do."""
MAX_EVALUATED_DIGITS = 2_000
SIZES = (2, 3, 4, 5, 6, 8, 9, 10, 11, 14, 20, 25, 31, 47, 60, 83, 99, 120, 365, 500, 777, 1000, 2500, 10_007)
MAX_SYMBOLS = 12
CAPITAL = "000"
"""The subscript under which a capital letter goes."""
PRIME = "111"
"""The one under which a primed letter goes, before the number of its primes: the parser would drop them."""

_BARE_NAMES = sorted([*FUNCTIONS, "sqrt", "pi", "theta", "alpha", "beta", "infinity", "inf"], key=len, reverse=True)
_BARE_FUNCTION = re.compile(rf"(?<![\\A-Za-z])({'|'.join(_BARE_NAMES)})(?![A-Za-z])")
_BARE_ROOT = re.compile(r"\\sqrt\s*\(([^()]*)\)")
_BARE_POWER = re.compile(r"\^\s*\(([^()]*)\)")
_LONG_POWER = re.compile(r"\^\s*(-?\d{2,})")
_OPERATOR_NAME = re.compile(rf"\\(?:operatorname|text)\s*\{{\s*({'|'.join(FUNCTIONS)})\s*\}}")
_DEGREE = re.compile(r"(\d+(?:\.\d+)?|\([^()]*\))\s*\\degree")
_CAPITAL = re.compile(rf"([a-z])_\{{{CAPITAL}(\w*)\}}")


@lru_cache(maxsize=256)
def parse(latex: str) -> Any:
    """The sympy expression of cleaned LaTeX, decimals exact, `i` the imaginary unit, `R` apart from `r`.

    Raises:
        TooComplex: see `check`.
        ValueError: it is no expression.
    """
    import sympy
    from latex2sympy2_extended import latex2sympy

    prepared = prepare(latex)
    check(prepared)
    try:
        parsed = latex2sympy(prepared, is_real=True, convert_degrees=False, normalization_config=None)
    except (RecursionError, MemoryError):
        raise
    except Exception as error:  # the parser raises bare Exception on text that the model wrote
        raise ValueError(f"not an expression: {str(error)[:80]!r}") from None
    if not isinstance(parsed, sympy.Expr):
        raise ValueError("not a scalar expression")
    imaginary = {symbol: sympy.I for symbol in parsed.free_symbols if symbol.name == "i"}
    exact = {number: sympy.Rational(str(number)) for number in parsed.atoms(sympy.Float)}
    expression = parsed.xreplace(imaginary | exact).replace(_is_real_root, lambda root: -((-root.base) ** root.exp))
    return expression if expression.has(*_unevaluated()) else expression.doit()


def _unevaluated() -> tuple[Any, ...]:
    """What stands for a value that may take for ever to find symbolically."""
    import sympy

    return sympy.Integral, sympy.Sum, sympy.Product, sympy.Limit


def _is_real_root(power: Any) -> bool:
    """∛(−8), which the algebra system would take for a complex number."""
    negative = power.is_Pow and power.base.is_negative and power.exp.is_Rational
    return bool(negative and power.exp.p == 1 and power.exp.q > 1 and power.exp.q % 2)


def prepare(latex: str) -> str:
    """Cleaned LaTeX as the parser wants it."""
    text = _OPERATOR_NAME.sub(r"\\\1 ", latex)
    text = re.sub(r"(?<![\\A-Za-z])a(?=(?:sin|cos|tan)(?![A-Za-z]))", "arc", text)
    text = _BARE_FUNCTION.sub(
        lambda found: "\\" + {"infinity": "infty", "inf": "infty"}.get(found[1], found[1]) + " ", text
    )
    text = _LONG_POWER.sub(r"^{\1}", _BARE_POWER.sub(r"^{\1}", _BARE_ROOT.sub(r"\\sqrt{\1}", text)))
    text = text.replace("**", "^").replace("*", r"\cdot ")
    text = _LONG_POWER.sub(r"^{\1}", _BARE_POWER.sub(r"^{\1}", text))
    text = _DEGREE.sub(r"(\1\\cdot\\frac{\\pi}{180})", text)
    text = re.sub(r"\\[A-Za-z]+|[A-Z](?:_(?:\{\w+\}|\w))?", _capital, text)
    return re.sub(r"(?<![\\A-Za-z])([a-z])('+)", lambda found: f"{found[1]}_{{{PRIME}{len(found[2])}}}", text)


def _capital(found: re.Match[str]) -> str:
    """A capital letter under a name of its own: the parser reads R as r."""
    text = found[0]
    if text.startswith("\\"):
        return text
    subscript = re.sub(r"\W|_", "", text[1:])
    return f" {text[0].lower()}_{{{CAPITAL}{subscript}}} "


def equal(first: str, second: str) -> bool | None:
    """Whether two cleaned LaTeX expressions are the same function of their letters; None when one has no value.

    Rationals are compared exactly. Other expressions are equal when they agree to 40 digits, in absolute and relative
    terms, at several sample points. Where only one of them is real the point is left out, so that log x² may equal
    2 log x, but √x² is not x. What evaluation can't tell, sympy must simplify to the same.
    """
    import sympy

    left, right = parse(first), parse(second)
    if left.has(sympy.nan, sympy.zoo) or right.has(sympy.nan, sympy.zoo):
        return None
    if left == right:
        return True
    if (left.is_Rational and right.is_Rational) or left.has(sympy.oo) or right.has(sympy.oo):
        return False
    symbols = sorted(left.free_symbols | right.free_symbols, key=str)
    if len(symbols) > MAX_SYMBOLS:
        raise TooComplex(f"{len(symbols)} letters, at most {MAX_SYMBOLS} are compared")
    agreed = skipped = 0
    pieces = left.has(*_piecewise()) or right.has(*_piecewise())
    for point in points(symbols, pieces):
        outcome = _agree(left, right, point)
        if outcome is False:
            return False
        agreed += outcome is True
        skipped += outcome is None
    if agreed and agreed >= skipped and not (_is_long(left) or _is_long(right)):
        return not _rational(left - right) or sympy.cancel(left - right) == 0
    return bool(sympy.simplify(left - right) == 0)


def _is_long(expression: Any) -> bool:
    """A rational of so many digits that it may be an irrational number, cut off."""
    return expression.is_Rational and max(abs(expression.p), expression.q) > 10**25


def _rational(expression: Any) -> bool:
    """Whether it is a rational function with rational coefficients, which can be compared exactly."""
    import sympy

    return (
        expression.is_rational_function(*expression.free_symbols)
        and all(
            atom.is_Symbol or atom.is_Rational
            for atom in expression.atoms(sympy.Symbol, sympy.Number, sympy.NumberSymbol)
        )
        and all(power.exp.is_Integer for power in expression.atoms(sympy.Pow))
        and not expression.has(sympy.I, sympy.Function, *_unevaluated())
    )


def _agree(left: Any, right: Any, point: dict[Any, Any]) -> bool | None:
    """Whether the values there agree to 40 digits after the point and 40 in all; None where that can't be told."""
    import mpmath

    digits = DIGITS
    while True:
        one, other = (evaluate(each, point, digits) for each in (left, right))
        if one is None or other is None or (point and (one.imag == 0) != (other.imag == 0)):
            return None
        with mpmath.workdps(digits + 10):
            size = max(abs(one), abs(other))
            needed = DIGITS + (int(mpmath.log10(size)) + 1 if size > 1 else 0)
            if needed <= digits:
                if size < mpmath.mpf(10) ** (-2 * DIGITS):
                    return True if one == other == 0 else None  # zero, or the noise around it
                return bool(abs(one - other) <= min(size, 1) * mpmath.mpf(10) ** (10 - DIGITS))
        if needed > MAX_EVALUATED_DIGITS:
            return None
        digits = needed


def _piecewise() -> tuple[Any, ...]:
    """Functions that agree with others on whole stretches."""
    import sympy

    return sympy.Abs, sympy.floor, sympy.ceiling, sympy.Max, sympy.Min, sympy.sign, sympy.Piecewise


def points(symbols: list[Any], pieces: bool = False) -> Iterator[dict[Any, Any]]:
    """Sample points: none is special, both signs occur for each letter; one empty point without letters. `pieces` adds
    whole numbers and broken ones of every size up to 10⁴, of both signs."""
    import sympy

    if not symbols:
        yield {}
        return
    for row in range(6):
        signs = [1, 1, -1, 1, -1, -1][row]
        yield {
            symbol: sympy.Rational(
                (-signs if row in (2, 4) and index % 2 else signs) * (37 + 101 * row + 59 * index),
                97 + 31 * index + 13 * row,
            )
            for index, symbol in enumerate(symbols)
        }
    for row, size in enumerate(SIZES * pieces):
        yield {
            symbol: sympy.Rational((-1) ** (row + index) * (size + 13 * index), 1 if row % 4 < 2 else 7)
            for index, symbol in enumerate(symbols)
        }


def evaluate(expression: Any, point: dict[Any, Any], digits: int = DIGITS) -> Any:
    """The value there as an mpmath complex number, None where it has none."""
    import mpmath
    import sympy

    try:
        value = expression.evalf(digits, subs=point or None, maxn=4 * digits)
        parts = value.as_real_imag()
        if not all(part.is_Number and part.is_finite for part in parts):
            return None
        with mpmath.workdps(digits + 10):
            real, imaginary = (mpmath.mpf(str(sympy.Float(part, digits))) for part in parts)
            negligible = abs(imaginary) < max(1, abs(real)) * mpmath.mpf(10) ** (10 - digits)
            return mpmath.mpc(real, 0 if negligible else imaginary)
    except (ValueError, TypeError, ZeroDivisionError, AttributeError, NotImplementedError):
        return None


def squeeze(latex: str) -> str:
    """LaTeX without the spaces that mean nothing: those between two digits or after a command's name stay."""
    return re.sub(r"(?<![\dA-Za-z.])\s+|(?<=[A-Za-z])\s+(?![A-Za-z])|(?<=[\d.])\s+(?![\d.])", "", latex).strip()


def canonical(latex: str) -> str:
    """A spelling that equal expressions mostly share: sympy's, expanded."""
    import sympy

    try:
        expression = parse(latex)
        small = expression.count_ops() < 60 and len(expression.free_symbols) <= 3
        text = str(sympy.expand(expression) if small else expression).replace(" ", "")
    except (ValueError, RecursionError):
        return squeeze(latex)
    return _CAPITAL.sub(lambda found: found[1].upper() + (f"_{found[2]}" if found[2] else ""), text)


def proportional(first: str, second: str) -> bool:
    """Whether one is a constant, non-zero multiple of the other."""
    left, right = parse(first), parse(second)
    symbols = sorted(left.free_symbols | right.free_symbols, key=str)
    if not symbols or len(symbols) > MAX_SYMBOLS:
        return False
    ratios = []
    for point in points(symbols, left.has(*_piecewise()) or right.has(*_piecewise())):
        values = [evaluate(each, point) for each in (left, right)]
        if None in values or 0 in values:
            return False
        ratios.append(values[0] / values[1])
    return all(abs(ratio - ratios[0]) <= abs(ratios[0]) * 10.0 ** (10 - DIGITS) for ratio in ratios)

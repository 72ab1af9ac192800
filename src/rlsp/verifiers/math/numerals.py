"""Plain numbers, exactly: decimals, fractions, mixed and repeating numbers, powers of ten, digits in a base."""

from __future__ import annotations

import re
from fractions import Fraction

from rlsp.verifiers.math.brackets import unwrapped
from rlsp.verifiers.math.shapes import Digits

NUMERALS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
    " eighteen nineteen twenty"
).split()

_NUMBER = re.compile(r"([-+]?)\s*(\d{1,400}(?:\.\d{0,400})?|\.\d{1,400})", re.ASCII)
_RATIO = re.compile(
    r"([-+]?)\s*(?:\\frac\{\s*([-+]?\s*[\d.]{1,100})\s*\}\{\s*([-+]?\s*[\d.]{1,100})\s*\}"
    r"|([\d.]{1,100})\s*(?:/|\\div)\s*([\d.]{1,100}))",
    re.ASCII,
)
_MIXED = re.compile(
    r"([-+]?)\s*(\d{1,30})\s*(?:\\frac\{\s*(\d{1,30})\s*\}\{\s*(\d{1,30})\s*\}|\s(\d{1,30})/(\d{1,30}))", re.ASCII
)
_REPEATING = re.compile(r"([-+]?)\s*(\d*)\.(\d*)\s*\\overline\{(\d{1,50})\}", re.ASCII)
_SCIENTIFIC = re.compile(
    r"([-+]?\s*[\d.]{1,50})\s*(?:(?:\\times|\\cdot|\*)\s*10\s*\^\s*(?:\{\s*([-+]?\d{1,3})\s*\}|(\d))|[eE]([-+]?\d{1,3}))",
    re.ASCII,
)
_BASE = re.compile(r"[({]?\s*([0-9A-Fa-f]{1,60})\s*[)}]?\s*_\s*(?:\{\s*(?:\\text\{)?\s*(\w{1,10})\s*\}?\s*\}|(\d))")


def rational(text: str) -> Fraction | None:
    """The exact value of a plain number: `-3`, `.5`, `3/4`, `\\frac{3}{4}`, `1\\frac45`, `6.02 \\times 10^{23}`."""
    text = unwrapped(text).removeprefix("+").strip()
    try:
        if found := _NUMBER.fullmatch(text):
            return _signed(found[1], Fraction(found[2].rstrip(".") or "0"))
        if found := _RATIO.fullmatch(text):
            numerator, denominator = found[2] or found[4], found[3] or found[5]
            return _signed(found[1], _decimal(numerator) / _decimal(denominator))
        if found := _MIXED.fullmatch(text):
            part = Fraction(int(found[3] or found[5]), int(found[4] or found[6]))
            return _signed(found[1], int(found[2]) + part) if part < 1 else None
        if found := _REPEATING.fullmatch(text):
            whole = Fraction(f"{found[2] or 0}.{found[3] or 0}")
            return _signed(found[1], whole + Fraction(int(found[4]), (10 ** len(found[4]) - 1) * 10 ** len(found[3])))
        if found := _SCIENTIFIC.fullmatch(text):
            return _decimal(found[1]) * Fraction(10) ** int(found[2] or found[3] or found[4])
    except (ValueError, ZeroDivisionError):
        return None
    return None


def _signed(sign: str, value: Fraction) -> Fraction:
    return -value if sign == "-" else value


def _decimal(text: str) -> Fraction:
    return Fraction(text.replace(" ", "").rstrip("."))


def digits_in_base(text: str) -> Digits | None:
    """`40_9`, `(40)_{9}`, `40_{\\text{nine}}`; None for anything else, also for digits that the base lacks."""
    found = _BASE.fullmatch(text)
    if not found:
        return None
    digits, name = found[1], (found[2] or found[3]).lower()
    base = NUMERALS.index(name) if name in NUMERALS else int(name) if name.isdecimal() and name.isascii() else 0
    if not 2 <= base <= 36 or any(int(each, 36) >= base for each in digits):
        return None
    return Digits(digits.lower().lstrip("0") or "0", base)

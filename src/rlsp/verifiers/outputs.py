"""Whether what a program printed or returned is what a test expects.

Printed text is compared line by line; white space at line ends and empty lines at the end do not count. Where lines
differ, their words may: a word that the test writes with a decimal point or an exponent is a number, met within 1e-6 of
its size or 1e-9. All other words, whole numbers among them, are compared as text.

Returned values are compared as JSON: tuples are lists, keys are texts. An expected integer is met by that very value,
as int or float; an expected float within 1e-9 of its size or 1e-12; true and false are no numbers.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

from rlsp.verifiers.sandbox_runner import encode

_NUMBER = re.compile(r"[-+]?(?:\d{1,400}(?:\.\d{0,400})?|\.\d{1,400})(?:[eE][-+]?\d{1,4})?", re.ASCII)


def same_output(expected: str, printed: str) -> bool:
    ours, theirs = _lines(expected), _lines(printed)
    return len(ours) == len(theirs) and all(
        one == other or _same_words(one.split(), other.split()) for one, other in zip(ours, theirs, strict=True)
    )


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.rstrip().split("\n")]


def _same_words(expected: list[str], printed: list[str]) -> bool:
    return len(expected) == len(printed) and all(map(_same_word, expected, printed))


def _same_word(expected: str, printed: str) -> bool:
    if expected == printed:
        return True
    if not re.search("[.eE]", expected) or not (_NUMBER.fullmatch(expected) and _NUMBER.fullmatch(printed)):
        return False
    number = float(expected)
    return math.isfinite(number) and math.isclose(number, float(printed), rel_tol=1e-6, abs_tol=1e-9)


def same_value(expected: Any, result: bytes) -> bool:
    """`result` is a return value as the sandbox wrote it; anything that is no such value equals nothing."""
    try:
        return _same(encode(expected), json.loads(result))
    except (ValueError, RecursionError):
        return False


def _same(expected: Any, returned: Any) -> bool:
    if expected is None or isinstance(expected, bool):
        return expected is returned
    if isinstance(expected, int | float):
        return _same_number(expected, returned)
    if isinstance(expected, list):
        return (
            isinstance(returned, list)
            and len(expected) == len(returned)
            and all(_same(one, other) for one, other in zip(expected, returned, strict=True))
        )
    if isinstance(expected, dict):
        return isinstance(returned, dict) and expected.keys() == returned.keys() and _same_tagged(expected, returned)
    return type(returned) is str and expected == returned


def _same_number(expected: float, returned: Any) -> bool:
    if isinstance(returned, bool) or not isinstance(returned, int | float):
        return False
    if isinstance(expected, int) or expected == returned:
        return expected == returned
    try:
        return math.isclose(expected, returned, rel_tol=1e-9, abs_tol=1e-12)
    except OverflowError:  # an integer that no float can hold
        return False


def _same_tagged(expected: dict[str, Any], returned: dict[str, Any]) -> bool:
    """A set or a dictionary, as `encode` tags them; what a program forged may have any shape."""
    if "set" in expected:
        members = returned["set"]
        return isinstance(members, list) and {_key(each) for each in expected["set"]} == {
            _key(each) for each in members
        }
    pairs = returned["dict"]
    if not isinstance(pairs, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
        return False
    ours, theirs = ({_key(key): value for key, value in each} for each in (expected["dict"], pairs))
    return ours.keys() == theirs.keys() and all(_same(value, theirs[key]) for key, value in ours.items())


def _key(encoded: Any) -> str:
    """A dictionary's key or a set's member as text: 1 is "1", as JSON has it."""
    return encoded if isinstance(encoded, str) else json.dumps(encoded, sort_keys=True)

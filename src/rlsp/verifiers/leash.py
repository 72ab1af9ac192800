"""A leash for graders that evaluate what a model wrote: code made from text may do arithmetic, and nothing else.

Several of reasoning-gym's scorers pass the answer to `eval` or to sympy's parser, which evaluates it, too. While the
leash is on, an audit hook looks at all code that was compiled from text, before it runs: it may use the names of
mathematics and single letters, and define nothing. So it can't reach a file, a module or an attribute, whatever
way the text took into `eval`. Loops are the worker pool's to end.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import CodeType

_ARITHMETIC = re.compile(
    r"""\w|Symbol|Integer|Float|Rational|Function|Pow|Mul|Add|Abs|abs|sign|sqrt|cbrt|root|exp|log|ln|pi|oo
    |a?(?:sin|cos|tan|cot|sec|csc)h?|atan2|factorial2?|binomial|gamma|erf[ci]?|Ei|Si|Ci|li|Integral""",
    re.VERBOSE,
)
"""The names that it may use: variables of one letter, what sympy's parser writes, functions and constants."""

_PREPARATION = compile("from sympy import *", "<string>", "exec")
"""What sympy's parser runs before each expression."""

_on = False
_hooked = False


@contextmanager
def leash() -> Iterator[None]:
    """Within it, code from text that is more than arithmetic raises PermissionError instead of running.

    The hook stays in the process for good, idle: this is for workers, which judge one item at a time.
    """
    global _on, _hooked
    if not _hooked:
        sys.addaudithook(_inspect)
        _hooked = True
    _on = True
    try:
        yield
    finally:
        _on = False


def _inspect(event: str, arguments: tuple[object, ...]) -> None:
    if not _on or event != "exec":
        return
    (code,) = arguments
    if isinstance(code, CodeType) and code.co_filename.startswith("<") and not _arithmetic(code):
        raise PermissionError("the answer is code that is more than arithmetic")


def _arithmetic(code: CodeType) -> bool:
    if code == _PREPARATION:
        return True
    defines = any(isinstance(constant, CodeType) for constant in code.co_consts)
    return not defines and all(map(_ARITHMETIC.fullmatch, code.co_names))

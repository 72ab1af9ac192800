"""`\\boxed{…}` and `\\fbox{…}`, with matching braces."""

from __future__ import annotations

import re

_BRACE = re.compile(r"\\(?:boxed|fbox)\s*\{|[{}]")


def last_box(text: str) -> str | None:
    """The content of the last box whose braces match, or None. Linear in the text's length."""
    opened: list[int | None] = []
    start = end = -1
    for brace in _BRACE.finditer(text):
        if brace[0] != "}":
            opened.append(brace.end() if len(brace[0]) > 1 else None)
        elif opened and (inside := opened.pop()) is not None and inside > start:
            start, end = inside, brace.start()
    return None if start < 0 else text[start:end].strip()

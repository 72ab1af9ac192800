"""`\\boxed{…}` and `\\fbox{…}`, with matching braces."""

from __future__ import annotations

import re

_BRACE = re.compile(r"\\(?:boxed|fbox)\s*\{|[{}]")


def boxes(text: str) -> list[tuple[int, int, str]]:
    """(start, end, content) of each box whose braces match, in order; a box that holds nothing but another one has that
    one's content. Linear in the text's length."""
    opened: list[tuple[int, int] | None] = []
    found: list[tuple[int, int, str]] = []
    for brace in _BRACE.finditer(text):
        if brace[0] != "}":
            opened.append(brace.span() if len(brace[0]) > 1 else None)
        elif opened and (box := opened.pop()) is not None:
            content = text[box[1] : brace.start()].strip()
            while found and found[-1][0] > box[0]:
                start, end, inner = found.pop()
                if end - start == len(content):
                    content = inner
            found.append((box[0], brace.end(), content))
    return found


def last_box(text: str) -> str | None:
    """The content of the last box, or None."""
    found = boxes(text)
    return found[-1][2] if found else None

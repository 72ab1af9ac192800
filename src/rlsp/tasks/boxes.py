"""`\\boxed{…}` and `\\fbox{…}`, with matching braces."""

from __future__ import annotations

import re

_BRACE = re.compile(r"\\(?:boxed|fbox)\s*\{|[{}]")


def boxes(text: str) -> list[tuple[int, int, str]]:
    """(start, end, content) of each box whose braces match, in order; a box that holds nothing but another one has that
    one's content. Linear in the text's length."""
    opened: list[tuple[int, int] | None] = []
    found: list[tuple[int, int, int, int]] = []
    for brace in _BRACE.finditer(text):
        if brace[0] != "}":
            opened.append(brace.span() if len(brace[0]) > 1 else None)
        elif opened and (box := opened.pop()) is not None:
            first, last = box[1], brace.start()
            inside = []
            while found and found[-1][0] > box[0]:
                inside.append(found.pop())
            if len(inside) == 1:
                start, end, *content = inside[0]
                if not (text[first:start] + text[end:last]).strip():
                    first, last = content
            found.append((box[0], brace.end(), first, last))
    return [(start, end, text[first:last].strip()) for start, end, first, last in found]


def last_box(text: str) -> str | None:
    """The content of the last box, or None."""
    found = boxes(text)
    return found[-1][2] if found else None

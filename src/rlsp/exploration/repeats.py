"""Which tokens of a response it has said before.

A token lies inside a repeat when some n-gram of token ids that holds it began at an earlier place of the response, too.
The first occurrence of an n-gram marks nothing. A loop whose period is shorter than n overlaps its own first pass, and
then all but that first pass (one period) is marked; so the first token never is.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence


def repeated(ids: Sequence[int], ngram: int) -> list[bool]:
    """One flag a token. One pass; n-grams are compared exactly, by their bytes: no collision of hashes marks one."""
    numbers: dict[int, int] = {}
    dense = array("I", (numbers.setdefault(token, len(numbers)) for token in ids))
    text, width = dense.tobytes(), dense.itemsize
    size, last = ngram * width, len(text) - ngram * width
    seen: set[bytes] = set()
    marks, end = [], 0
    for start in range(0, len(text), width):
        if start <= last:
            gram = text[start : start + size]
            if gram in seen:
                end = start + size
            else:
                seen.add(gram)
        marks.append(start < end)
    return marks

"""The final answer that a response marks: the one extractor, for every verifier.

`strict` takes what is marked: the last `\\boxed{…}` or `\\fbox{…}`, else what follows the last `####`, "final answer
is" or "answer is". A number that merely stands last is a guess of the grader's, not an answer of the model's; to pay
for it would teach the model to mark none. `lenient` goes on where nothing is marked: it reads the value that the
closing sentence states, as a person would.
"""

from __future__ import annotations

import re

from rlsp.tasks.boxes import boxes
from rlsp.verifiers.conclusion import BLANK_LINE, concluded, only_value

MAX_CHARACTERS = 20_000
"""Only the end of a longer response is searched for its answer."""

_MARKER = re.compile(
    r"(?:(####)|\b(?:final |correct )?answer\**(?: (?:is|are|to [^.\n]{1,80}? is)|:)\**:?|\bfinal answer\**[.:]?)"
    r"[ \t*]*\n?[ \t]*([^\n]{0,400})",
    re.IGNORECASE,
)
_HEADING = re.compile(r"\**(?:\d+[.)]\s+\S|\D*[A-Za-z]\W+[A-Za-z]{2}\D*$)")
"""`#### 3. Earnings` and `#### Further steps` are headings of Markdown, `#### 42` is an answer."""
_DENIAL = re.compile(
    r"(?:\bnot|n't|\b(?:wrong|incorrect|if|whether|suppose|assume|unless|guess))\b[^.!?\n]*$", re.IGNORECASE
)
_NEXT_SENTENCE = re.compile(r"[.!]\**(?:\s|$)")
_JOINER = re.compile(
    r"[\s$,;&.]|\\[()\[\],;: ]|\\quad|\\qquad|\\text\{\s*(?:and|or)\s*\}|\b(?:and|or)\b|[A-Za-z](?:_\{?\w\}?)?\s*="
)


def extract(response: str, mode: str = "strict") -> str:
    """The final answer as written, or "" when none is marked."""
    end = response[-MAX_CHARACTERS:]
    if found := boxes(end):
        return _last_boxes(end, found)
    marked = [answer for answer in map(_marked, _MARKER.finditer(end)) if answer]
    if marked:
        return only_value(marked[-1]) if mode == "lenient" else marked[-1]
    return concluded(end) if mode == "lenient" else ""


def _last_boxes(text: str, found: list[tuple[int, int, str]]) -> str:
    """The content of the last box, or of the last boxes when they stand side by side: `x=\\boxed{1}` or `\\boxed{2}`
    names two answers."""
    group = [found[-1]]
    for start, end, content in reversed(found[:-1]):
        between = text[end : group[0][0]]
        if len(between) > 40 or BLANK_LINE.search(between) or _JOINER.sub("", between):
            break
        group.insert(0, (start, end, content))
    return ", ".join(dict.fromkeys(content for _, _, content in group))


def _marked(found: re.Match[str]) -> str:
    """The rest of the marker's sentence; "" when the marker is a heading, or turned down: "the answer is not …"."""
    hashes, line = found.groups()
    before = found.string[max(0, found.start() - 80) : found.start()]
    if (hashes and _HEADING.match(line)) or (not hashes and _DENIAL.search(before)):
        return ""
    sentence = _NEXT_SENTENCE.split(line, maxsplit=1)[0].strip(" \t*")
    return "" if sentence.endswith(":") else sentence

"""What an unmarked response concludes, read as a person would: the value that its closing sentence states.

For grading what somebody else sampled; training pays only for answers that are marked.
"""

from __future__ import annotations

import re

from rlsp.verifiers.units import UNIT_WORDS

MAX_CHARACTERS = 1_500
"""A closing sentence is no longer than that."""

_UNIT = "(?:square |cubic )?(?:" + "|".join(sorted(UNIT_WORDS, key=len, reverse=True)) + r")\b"
_VALUE = re.compile(
    r"\*\*(?P<bold>[^*\n]+)\*\*"
    r"|\$\$(?P<display>[^$]+)\$\$"
    r"|(?<!\\)\$(?P<dollars>[^$\n]*[^$\n\\\s])\$(?!\d)"
    r"|\\\((?P<inline>.+?)\\\)"
    r"|\\\[(?P<block>.+?)\\\]"
    rf"|(?<![\w.,])(?P<numeral>-?(?:\\?[$€£])?\d+(?:,\d{{3}})*(?:\.\d+)?(?:/\d+)?%?(?:\s?°|\s{_UNIT})?)(?![\w\\])"
    r"|\b(?P<spelled>zero|one(?! of)|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve)\b",
    re.DOTALL,
)
"""Everything that can be a value, in prose."""
_PLACE = r"⟦(\d+)⟧"
_FILLER = (
    r"(?:[\s,:]|\b(?:equal to|equivalent to|exactly|only|just|approximately|a total of|simply|given by|indeed|"
    r"therefore|also|then|in fact|the (?:number|value|interval|point))\b)*+"
)
_STATED = re.compile(rf"(?:\b(?:is|are|be|equals?|was|were|becomes)\b|=|:){_FILLER}{_PLACE}")
_SPOKEN = re.compile(rf"(?<![\w-])(?:is|are|be)(?![\w-]){_FILLER}((?:[A-Za-z-]++ ?){{1,3}}+)[.!]?\s*$")
_DENIED = re.compile(
    rf"(?:\bnot|n't|\bnever|[≠<>≤≥]|\b(?:less|greater|more|fewer|larger|smaller|higher|lower) than|\bat (?:least|most)|"
    rf"\b(?:about|around|roughly|nearly|almost|over|under|above|below|between|within)){_FILLER}(?:equals? )?{_PLACE}"
    rf"|{_PLACE}\s*(?:(?:is|was|are|were)\s+)?(?:not\b|wrong|incorrect|false|impossible|too (?:small|large|big))",
    re.IGNORECASE,
)
"""A value that is turned down, or only bounded: it is not what is concluded."""
_CUE = re.compile(
    r"\b(?:therefore|thus|so|hence|finally|in conclusion|in summary|consequently|this means|we conclude)\b",
    re.IGNORECASE,
)
_HEDGE = re.compile(
    r"\b(?:either|does not|doesn't|no solution|not possible|cannot|can't|let me|let's)\b", re.IGNORECASE
)
_PROSE = re.compile(r"[A-Za-z]{2,}")
_CONDITION = re.compile(r"\b(?:if|when|since|because|given that)\b[^,.]*,", re.IGNORECASE)
_WAYS = re.compile(rf"\bin (?:exactly |a total of )?{_PLACE} (?:different |distinct |possible |unique )*ways\b")
BLANK_LINE = re.compile(r"\n\s*\n")


def concluded(response: str) -> str:
    """The stated value: one set in bold, else the last behind "is", "are", "=" or a colon, else the only one. "" when
    nothing is concluded, or when the conclusion hedges or gives up."""
    closing = _closing(response[-MAX_CHARACTERS:])
    cues = [cue.end() for cue in _CUE.finditer(closing)]
    closing = closing[cues[-1] :] if cues else closing
    if _HEDGE.search(closing):
        return ""
    values = list(_VALUE.finditer(closing))
    texts = [next(filter(None, found.groups())).strip() for found in values]
    places = iter(range(len(values)))
    skeleton = _VALUE.sub(lambda _: f"⟦{next(places)}⟧", closing)
    denied = {place for found in _DENIED.findall(skeleton) for place in found}
    bold = [
        str(index) for index, found in enumerate(values) if found["bold"] and not found["bold"].rstrip().endswith(":")
    ]
    left = re.findall(_PLACE, _CONDITION.sub("", skeleton))
    chosen = bold or _WAYS.findall(skeleton) or _STATED.findall(skeleton) or (left if cues and len(left) == 1 else [])
    if chosen:
        text = texts[int(chosen[-1])]
        return "" if chosen[-1] in denied else only_value(text) if bold else text
    spoken = _SPOKEN.search(skeleton) if cues and not left else None
    return spoken[1].strip() if spoken else ""


def only_value(phrase: str) -> str:
    """The value in a phrase of words that holds just one: "the number 12" is 12; any other phrase stays."""
    values = list(_VALUE.finditer(phrase))
    leading = re.search(r"[A-Za-z]{2,}", phrase[: values[0].start()]) if len(values) == 1 else None
    return next(filter(None, values[0].groups())).strip() if leading else phrase.strip(" *")


def _closing(text: str) -> str:
    """The last paragraph; a formula set apart belongs to the sentence around it."""
    paragraphs = [paragraph.strip() for paragraph in BLANK_LINE.split(text.strip()) if paragraph.strip()]
    closing = paragraphs.pop() if paragraphs else ""
    while paragraphs and (
        paragraphs[-1].endswith((":", ",")) or not _PROSE.search(_VALUE.sub("", closing)) or closing[0].islower()
    ):
        closing = f"{paragraphs.pop()}\n{closing}"
    return closing

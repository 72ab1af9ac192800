"""A grade from a judge's reply. Whatever is not exactly the object that was asked for is no grade."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from rlsp.exploration.judge.rubric import DIMENSIONS, Request

HIGHEST = 10
_THOUGHTS = {
    "<think>": "</think>",
    "<thinking>": "</thinking>",
    "[THINK]": "[/THINK]",
    "<|begin_of_thought|>": "<|end_of_thought|>",
    "<|channel|>": "<|channel|>final<|message|>",
}
_OPENS_THOUGHT = re.compile("|".join(map(re.escape, _THOUGHTS)))
_TAG = re.compile(r"<(/?)(\w+)>|\[THINK\]|<\|\w+\|>")


class NoGradeError(Exception):
    """The reply holds no grade; says why, in words that are not the reply's own."""


@dataclass(frozen=True, slots=True)
class Grade:
    """`value` is R_ex: the mean of the four grades over 10, in [0, 1]."""

    value: float
    rationale: str


def read(reply: str, request: Request) -> Grade:
    """The grade in the reply.

    Raises:
        NoGradeError: there is none, or it is not what was asked for.
    """
    grades = [_grade(values) for values in objects(reply, request)]
    if len({grade.value for grade in grades}) > 1:
        raise NoGradeError("several grades that differ")
    return grades[-1]


def objects(reply: str, request: Request) -> list[dict[str, Any]]:
    """The JSON objects in the reply that begin with the request's ticket, one at least.

    A solution can't know the ticket, so that no echo of it counts, wherever it stands. What is said while thinking
    (up to `</think>` or its like) and between the request's marker lines is passed over, and so is an object in
    something else: in a thought or tag left open (but `<answer>`), in another object, in a list.

    Raises:
        NoGradeError: there is no such object.
    """
    own = re.sub(
        rf"<<<BEGIN \w+ {request.fence}>>>.*?(?:<<<END \w+ {request.fence}>>>|\Z)",
        "",
        _after_thought(reply),
        flags=re.DOTALL,
    )
    found = _objects(own, request.ticket)
    if not found:
        raise NoGradeError("incomplete or malformed JSON" if request.ticket in own else "no JSON with the ticket")
    whole = [values for values, alone in found if alone]
    if not whole:
        raise NoGradeError("the JSON is a draft or a part of something else")
    return whole


def _after_thought(reply: str) -> str:
    """Where nothing opens a thought, a chat template may have done so in the prompt. One left open stays."""
    opens = _OPENS_THOUGHT.search(reply)
    return reply.rpartition(_THOUGHTS[opens[0]] if opens else "</think>")[2]


def _objects(text: str, ticket: str) -> list[tuple[dict[str, Any], bool]]:
    """Every complete object whose first key is the ticket, unless another such one holds it; and whether it stands
    alone."""
    decoder, found, end = json.JSONDecoder(object_pairs_hook=_without_repeats), [], 0
    for match in re.finditer(rf'\{{\s*"ticket"\s*:\s*"{ticket}"', text):
        if match.start() < end:
            continue
        try:
            values, end = decoder.raw_decode(text, match.start())
        except (ValueError, RecursionError):
            continue
        found.append((values, _stands_alone(text[: match.start()], text[end:])))
    return found


def _stands_alone(before: str, after: str) -> bool:
    """Brackets are counted without regard to strings; the two other signs of a container hold where that errs."""
    depth = 0
    for bracket in re.findall(r"[\[{}\]]", before):
        depth = depth + 1 if bracket in "[{" else max(0, depth - 1)
    inside = depth > 0 or re.search(r'"\s*:\s*\Z', before) or re.match(r"\s*[,\]}]", after)
    return not inside and not _opened(before)


def _opened(before: str) -> bool:
    """Whether a tag or a chat template's token, with which a draft may begin, has no end."""
    opened: list[str] = []
    for tag in _TAG.finditer(before):
        closes, name = tag[1], tag[2]
        if not name:
            return True
        if not closes and name != "answer":
            opened.append(name)
        elif closes and name in opened:
            del opened[opened.index(name) :]
    return bool(opened)


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise NoGradeError("a key occurs twice")
    return values


def _grade(values: dict[str, Any]) -> Grade:
    if values.keys() != {"ticket", "rationale", *DIMENSIONS}:
        raise NoGradeError("JSON with other keys than asked for")
    if type(values["rationale"]) is not str:
        raise NoGradeError("the rationale is no text")
    grades = [values[dimension] for dimension in DIMENSIONS]
    if any(type(grade) is not int for grade in grades):
        raise NoGradeError("a grade is no whole number")
    if not all(0 <= grade <= HIGHEST for grade in grades):
        raise NoGradeError(f"a grade is outside 0 … {HIGHEST}")
    return Grade(sum(grades) / (len(grades) * HIGHEST), values["rationale"])

"""A grade from a judge's reply. Whatever is not exactly the object that was asked for is no grade."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from rlsp.exploration.judge.rubric import DIMENSIONS, Request

HIGHEST = 10


class NoGradeError(Exception):
    """The reply holds no grade; says why, in words that are not the reply's own."""


@dataclass(frozen=True, slots=True)
class Grade:
    """`value` is R_ex: the mean of the four grades over 10, in [0, 1]."""

    value: float
    rationale: str


def read(reply: str, request: Request) -> Grade:
    """The grade in the reply: the JSON object that begins with the request's ticket.

    A solution can't know the ticket, so that no echo of it counts, wherever it stands. What is said while thinking
    (up to `</think>`) and between the request's marker lines is passed over. Several objects must agree.

    Raises:
        NoGradeError: there is no such object, or it is not what was asked for.
    """
    own = re.sub(
        rf"<<<BEGIN \w+ {request.fence}>>>.*?(?:<<<END \w+ {request.fence}>>>|\Z)",
        "",
        reply.rpartition("</think>")[2],
        flags=re.DOTALL,
    )
    found = _objects(own, request.ticket)
    if not found:
        raise NoGradeError("incomplete or malformed JSON" if request.ticket in own else "no JSON with the ticket")
    grades = [_grade(values) for values in found]
    if len({grade.value for grade in grades}) > 1:
        raise NoGradeError("several grades that differ")
    return grades[-1]


def _objects(text: str, ticket: str) -> list[dict[str, Any]]:
    """Every complete object whose first key is the ticket, and that stands in no other one."""
    decoder, found, end = json.JSONDecoder(object_pairs_hook=_without_repeats), [], 0
    for match in re.finditer(rf'\{{\s*"ticket"\s*:\s*"{ticket}"', text):
        if match.start() < end:
            continue
        try:
            values, end = decoder.raw_decode(text, match.start())
        except (ValueError, RecursionError):
            continue
        found.append(values)
    return found


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

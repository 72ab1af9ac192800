"""Labelled pairs of a reference and an answer, read from `adversarial.jsonl`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

FILE = Path(__file__).with_name("adversarial.jsonl")


@dataclasses.dataclass(frozen=True, slots=True)
class Pair:
    """`answer` is what stands inside the box; `correct` is whether a grader should accept it for `reference`."""

    reference: str
    answer: str
    correct: bool
    kind: str
    why: str


def pairs() -> list[Pair]:
    """All the pairs, in the file's order: grouped by kind, mutations last."""
    return [Pair(**json.loads(line)) for line in FILE.read_text(encoding="utf-8").split("\n") if line]

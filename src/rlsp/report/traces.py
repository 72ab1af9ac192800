"""A response as marked lines: what each attempt adds to the behaviours, by executing it.

The text was written by a model and is hostile: nothing here makes HTML of it, and characters that could reorder or
hide text become visible.
"""

from __future__ import annotations

import unicodedata
from dataclasses import asdict, dataclass

from rlsp.behaviours.grounded import Behaviours, count
from rlsp.tasks import replayer
from rlsp.tasks.traces import Attempt, Replay
from rlsp.types import Problem, Rollout

MAX_CHARACTERS = 12_000

MEANINGS = {
    "✓ hits": "the steps really solve the problem",
    "✗ false arithmetic": "at least one step is not true",
    "✗ other numbers": "the steps do not use the problem's numbers as it wants: others, or some twice or not at all",
    "✗ unreadable": "the line is not in the language of steps",
    "cut off": "the token budget ended the response here",
    "check: honest": "it recomputes what it should and its verdict is true",
    "check: false": "it compares with something else, or its verdict is not true",
    "given up": "the check says no",
    "backtrack": "leaves a line that was given up for another derivation than that line's",
    "alternative": "begins with a first step that is new here",
    "repeat": "derives again what an earlier line derived",
    "✗ right line rejected": "it solves the problem and was given up",
    "✗ wrong line accepted": "it does not solve the problem and passed its check",
    "answer": "the line the response commits to",
}
_HIDDEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Unicode's categories of characters that show nothing, change how others are shown, or stand for none (half of a
surrogate pair)."""


@dataclass(frozen=True, slots=True)
class MarkedLine:
    """One attempt: its steps, its check ("" without one), the tags that hold, and the kind that sets its look."""

    steps: str
    check: str
    tags: tuple[str, ...]
    kind: str


def mark(problem: Problem, rollout: Rollout) -> list[MarkedLine] | None:
    """The response's lines, marked; None for a task whose steps no machine can check."""
    replay = replayer(problem.task)
    return None if replay is None else _mark(replay(problem, rollout.text), rollout)


def visible(text: str) -> str:
    """The text with control and format characters shown, cut at MAX_CHARACTERS."""
    cut = len(text) - MAX_CHARACTERS
    ending = f"\n… {cut:,} more characters" if cut > 0 else ""
    return "".join(map(_shown, text[:MAX_CHARACTERS])) + ending


def _shown(character: str) -> str:
    if character in "\n\t" or unicodedata.category(character) not in _HIDDEN:
        return character
    return chr(0x2400 + ord(character)) if ord(character) < 32 else "\ufffd"


def _mark(replay: Replay, rollout: Rollout) -> list[MarkedLine]:
    marked, text = [], rollout.text
    before = Behaviours()
    for position, attempt in enumerate(replay.attempts):
        after = count(Replay(replay.attempts[: position + 1], "", replay.reason))
        new = {name for name, total in asdict(after).items() if total > asdict(before)[name]}
        before = after
        last = position == len(replay.attempts) - 1
        cut = last and rollout.truncated
        tags = _tags(attempt, new, cut, answers=last and not cut and attempt.line.accepted is not False)
        line = attempt.line
        steps, check = text[line.start : line.check_start], text[line.check_start : line.end]
        marked.append(MarkedLine(visible(steps), visible(check), tags, "plain" if cut else _kind(attempt)))
    return marked


def _tags(attempt: Attempt, new: set[str], cut: bool, answers: bool) -> tuple[str, ...]:
    """`new` holds the behaviours whose count this attempt raised."""
    line = attempt.line
    holds = {
        "✗ unreadable": not line.well_formed and not cut,
        "cut off": cut,
        "✗ other numbers": line.well_formed and attempt.steps_true and not attempt.legal and not cut,
        "✗ false arithmetic": line.well_formed and not attempt.steps_true,
        "✓ hits": "hits" in new,
        "backtrack": "backtracks" in new,
        "alternative": "alternatives" in new,
        "repeat": "repeats" in new,
        "check: honest": "honest_checks" in new,
        "check: false": attempt.honest_check is False,
        "given up": line.accepted is False,
        "✗ right line rejected": "right_rejected" in new,
        "✗ wrong line accepted": "wrong_accepted" in new,
        "answer": answers,
    }
    return tuple(tag for tag, true in holds.items() if true)


def _kind(attempt: Attempt) -> str:
    if attempt.solves:
        return "harm" if attempt.line.accepted is False else "right"
    if attempt.line.accepted is True or not attempt.steps_true:
        return "harm"
    return "given-up" if attempt.line.accepted is False else "plain"

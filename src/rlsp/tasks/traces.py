"""The language of machine-checkable reasoning: text whose every step can be executed.

A response is a sequence of lines; a line is an attempt, with or without a check:

    3 * 7 = 21, 21 + 13 = 34; is it 33? no          attempt, check, given up
    3 * 7 = 21, 21 + 12 = 33; is it 33? yes         another attempt, check, accepted

`; back 33 - 12 = 21` before a check works the steps backwards. The last line is the answer unless its own check
rejected it. Nothing here knows a task: a task replays the parsed lines against its own rules.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rlsp.tasks.expressions import Expression, Number, Operation, canonical
from rlsp.types import Reason

_NUMBER = r"(\d{1,6})"
_STEP = re.compile(rf"{_NUMBER} ([+\-*]) {_NUMBER} = {_NUMBER}", re.ASCII)
_LINE = re.compile(
    r"(?P<steps>[^;\n]*)(?:; back (?P<back>[^;\n]*))?(?:; is it (?P<value>\d{1,6})\? (?P<verdict>yes|no))?",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Step:
    """`left operator right = result`, as written; `true` says whether it is."""

    left: int
    operator: str
    right: int
    result: int

    @property
    def true(self) -> bool:
        return compute(self.left, self.operator, self.right) == self.result

    def __str__(self) -> str:
        return f"{self.left} {self.operator} {self.right} = {self.result}"


@dataclass(frozen=True, slots=True)
class Line:
    """One attempt as written. `well_formed` is false when the text departs from the language; `checked_value` and
    `accepted` are the number named by its check and the check's verdict (None: no check). `start`, `end` are
    character offsets into the response; `check_start` is where the check begins (= end without one)."""

    steps: tuple[Step, ...]
    back: tuple[Step, ...]
    checked_value: int | None
    accepted: bool | None
    well_formed: bool
    start: int
    end: int
    check_start: int


@dataclass(frozen=True, slots=True)
class Attempt:
    """A line judged by its task. `legal`: the steps use the problem's numbers as the task wants, be their arithmetic
    true or not. `solves`: executing the steps really solves the problem. `honest_check`: None without a check, else
    whether the check recomputes what it should and its verdict is true. `key` identifies the derivation, whatever the
    order in which sums and products are written; `first_step` identifies its first step."""

    line: Line
    steps_true: bool
    legal: bool
    solves: bool
    honest_check: bool | None
    key: str
    first_step: str


@dataclass(frozen=True, slots=True)
class Replay:
    """A response executed on its problem: the attempts, the answer they commit to ("" if none) and why it counts."""

    attempts: tuple[Attempt, ...]
    answer: str
    reason: Reason

    @property
    def correct(self) -> bool:
        return self.reason is Reason.MATCH


def compute(left: int, operator: str, right: int) -> int:
    return {"+": left + right, "-": left - right, "*": left * right}[operator]


def parse_steps(text: str) -> tuple[Step, ...] | None:
    """The comma-separated steps, or None if the text is anything else."""
    steps = []
    for part in text.split(", "):
        match = _STEP.fullmatch(part)
        if match is None:
            return None
        left, operator, right, result = match.groups()
        steps.append(Step(int(left), operator, int(right), int(result)))
    return tuple(steps)


def parse_lines(response: str) -> tuple[Line, ...]:
    """Split a response into its lines; empty lines are passed over."""
    lines = []
    start = 0
    for text in response.split("\n"):
        if text.strip():
            lines.append(_parse_line(text, start))
        start += len(text) + 1
    return tuple(lines)


def _parse_line(text: str, start: int) -> Line:
    end = start + len(text)
    match = _LINE.fullmatch(text)
    steps = parse_steps(match["steps"]) if match else None
    back = parse_steps(match["back"]) if match and match["back"] is not None else ()
    if match is None or steps is None or back is None:
        return Line((), (), None, None, False, start, end, end)
    accepted = None if match["verdict"] is None else match["verdict"] == "yes"
    checked_value = None if match["value"] is None else int(match["value"])
    check_start = end if match["verdict"] is None else start + text.index(";")
    return Line(steps, back, checked_value, accepted, True, start, end, check_start)


def write_line(steps: Iterable[Step], back: Iterable[Step] = (), check: tuple[int, bool] | None = None) -> str:
    """The inverse of parsing: one line of text. `check` is (the value asked for, the verdict)."""
    text = ", ".join(map(str, steps))
    if worked_back := ", ".join(map(str, back)):
        text += f"; back {worked_back}"
    if check is not None:
        text += f"; is it {check[0]}? {'yes' if check[1] else 'no'}"
    return text


def derivation(steps: Sequence[Step], numbers: Sequence[int]) -> Expression | None:
    """The expression that the steps build from `numbers`, each used exactly once; None if they do not.

    A value that two operands could stand for is taken from the latest step that made it.
    """
    pool: list[Expression] = [Number(number) for number in numbers]
    values = list(numbers)
    for step in steps:
        operands = []
        for value in (step.left, step.right):
            if value not in values:
                return None
            position = len(values) - 1 - values[::-1].index(value)
            values.pop(position)
            operands.append(pool.pop(position))
        pool.append(Operation(operands[0], step.operator, operands[1]))
        values.append(step.result)
    return pool[0] if len(pool) == 1 else None


def step_key(step: Step) -> str:
    return canonical(Operation(Number(step.left), step.operator, Number(step.right)))


def commit(attempts: Sequence[Attempt], answer: str, reason: Reason) -> Replay:
    """The last attempt is the answer, unless its own check gave it up or there is none."""
    if not attempts:
        return Replay((), "", Reason.NO_ANSWER)
    if attempts[-1].line.accepted is False:
        return Replay(tuple(attempts), "", Reason.GIVEN_UP)
    return Replay(tuple(attempts), answer, reason)

"""Problems from data: columns found by name or mapped, the final answer taken out of the reference.

A row without a usable question or reference is `Unusable`: an error where problems are needed, a line in the table
where data are checked.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rlsp.errors import InputError
from rlsp.tasks.boxes import last_box
from rlsp.tasks.readers import Row, read_rows, source_of
from rlsp.tasks.unit_tests import read_tests
from rlsp.types import Demonstration, Problem, from_json, is_text

COLUMNS = {
    "question": ("question", "problem", "prompt"),
    "answer": ("answer", "solution"),
    "level": ("level",),
    "tests": ("tests", "test_list", "input_output"),
    "function": ("function", "entry_point"),
}
"""The names under which each column is found, best first, in capitals or not."""

NAMES = COLUMNS | {"trace": ("trace", "response", "completion")}
"""The same, with that of demonstrations."""

GYM_PROBLEMS = 1000
"""How many problems a `gym:` task makes where nothing says how many."""

_GROUPED = re.compile(r"[-+]?\$?\d{1,3}(?:,\d{3})+(?:\.\d+)?", re.ASCII)
_BARE_BOX = re.compile(r"\\boxed +([^\s{}$\\]+)")
_LEVEL = re.compile(r"(?:level\s*)?(\d{1,4})", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True, slots=True)
class Item:
    """A problem, where it stands in the data, and its reference as written there."""

    where: str
    problem: Problem
    reference: str


@dataclass(frozen=True, slots=True)
class Unusable:
    """A row that makes no problem, and why."""

    where: str
    question: str
    reason: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.where}: {self.reason}" + (f": {self.detail}" if self.detail else "")


def read_problems(
    reference: str, verifier: str = "math", columns: Mapping[str, str] | None = None, limit: int = 0
) -> list[Problem]:
    """Every problem of the data, in order, each question once; the first `limit` of them (0: all).

    Raises:
        InputError: the data can't be read, a row is unusable, or a question has two different answers.
    """
    return once(usable(reference, scan(reference, verifier, columns, limit)))[: limit or None]


def usable(reference: str, rows: Iterable[Item | Unusable]) -> Iterator[Item]:
    """Raises InputError at the first unusable row, and when there is no row at all."""
    empty = True
    for row in rows:
        if isinstance(row, Unusable):
            raise InputError(f"{row}; `rlsp tasks filter` leaves such rows out")
        empty = False
        yield row
    if empty:
        raise InputError(f"{reference}: no problems in it; give data that hold any")


def once(items: Iterable[Item]) -> list[Problem]:
    """Each question once. Raises InputError for a question with two different answers."""
    problems: dict[str, Problem] = {}
    for item in items:
        known = problems.setdefault(item.problem.id, item.problem)
        if (known.answer, known.grading) != (item.problem.answer, item.problem.grading):
            raise InputError(
                f"{item.where}: the same question has another answer before: {known.answer!r}, here "
                f"{item.problem.answer!r}; keep one of them, or leave out both by task.filters.deduplicate"
            )
    return list(problems.values())


def read_questions(reference: str) -> list[str]:
    """Every question of the data, whether or not it has an answer: a test set to keep away from.

    Raises:
        InputError: the data can't be read, or a row has no question.
    """
    if reference.startswith("gym:"):
        return [problem.question for problem in _gym_problems(reference, GYM_PROBLEMS)]
    questions = []
    for where, row in read_rows(reference):
        question = _question(_find(row, "question", {}, where), where)
        if not isinstance(question, str):
            raise InputError(f"{where}: the question is no text: {question!s:.40}")
        questions.append(question)
    return questions


def scan(
    reference: str, verifier: str = "math", columns: Mapping[str, str] | None = None, limit: int = 0
) -> Iterator[Item | Unusable]:
    """Every row as a problem or as unusable; questions may repeat. A row that is one of rlsp's own problems (as
    `rlsp tasks filter` writes them) is taken as it stands. `limit` only says how many a `gym:` task need make.

    Raises:
        InputError: the data can't be read, a column is missing, or a problem names another verifier than the one asked
            for.
    """
    if reference.startswith("gym:"):
        for problem in _gym_problems(reference, limit or GYM_PROBLEMS):
            yield Item(problem.id, problem, problem.answer)
        return
    source = source_of(reference)
    for where, row in read_rows(reference):
        if row.keys() >= {"id", "task", "question", "answer", "grading"}:
            problem = from_json(Problem, row, where)
            if verifier not in ("math", problem.task):
                raise InputError(f"{where}: the problem names its verifier {problem.task!r}, not {verifier!r}")
            check_agreed(problem, verifier, where)
            asks = problem.question.strip()
            yield Item(where, problem, problem.answer) if asks else Unusable(where, "", "empty question")
        else:
            yield _item(row, where, source, verifier, columns or {})


def read_traces(
    reference: str, verifier: str, columns: Mapping[str, str] | None = None
) -> Iterator[tuple[Problem, str] | Unusable]:
    """Every row as (problem, a trace that solves it, or should) or as unusable. Rows as `rlsp demos` writes them are
    taken as they stand.

    Raises:
        InputError: the data can't be read, a column is missing, or a problem names a function as its verifier.
    """
    source = source_of(reference)
    for where, row in read_rows(reference):
        if isinstance(row.get("problem"), Mapping):
            shown = from_json(Demonstration, row, where)
            check_agreed(shown.problem, verifier, where)
            yield shown.problem, shown.trace
            continue
        item = _item(row, where, source, verifier, columns or {})
        trace = plain(_find(row, "trace", columns or {}, where))
        if isinstance(item, Unusable):
            yield item
        elif trace is None or not trace.strip() or not is_text(trace):
            yield Unusable(where, item.problem.question, "no trace")
        else:
            yield item.problem, trace


def check_agreed(problem: Problem, verifier: str | None, where: str) -> None:
    """Data don't choose what code runs: a problem that names a function as its judge needs the user's word.

    Raises:
        InputError: `verifier`, which the user gave, is another one.
    """
    if ":" in problem.task and problem.task != verifier:
        raise InputError(
            f"{where}: the problem wants to be judged by the function {problem.task!r}: agree by --verifier "
            f"{problem.task}, in a recipe by task.verifier"
        )


def _gym_problems(reference: str, count: int) -> list[Problem]:
    from rlsp.tasks import gym

    return gym.read_problems(reference.removeprefix("gym:"), count, seed=0)


def _item(row: Row, where: str, source: str, verifier: str, columns: Mapping[str, str]) -> Item | Unusable:
    asked = _question(_find(row, "question", columns, where), where)
    if not isinstance(asked, str):
        return Unusable(where, "", *_no_text("question", asked))
    if not asked.strip():
        return Unusable(where, asked, "empty question")
    grading = {}
    if verifier == "code" or "tests" in columns:
        for key in ("tests", "function"):
            value = _find(row, key, columns, where, needed=key == "tests")
            if value not in (None, "", []):
                grading[key] = value
        if "tests" not in grading:
            return Unusable(where, asked, "no tests")
        if verifier == "code":
            try:
                grading = read_tests(grading["tests"], grading.get("function", ""))
            except InputError as error:
                return Unusable(where, asked, "unreadable tests", str(error))
    raw = _find(row, "answer", columns, where, needed=not grading)
    text = plain(raw)
    if text is None and not (raw is None and grading):
        return Unusable(where, asked, *_no_text("reference answer", raw))
    answer = final_answer(text or "")
    if not answer and not grading:
        return Unusable(where, asked, "empty reference answer")
    if not (is_text(asked) and is_text(answer)):
        return Unusable(where, "", "half of a surrogate pair, which is no text")
    level = level_of(_find(row, "level", columns, where, needed="level" in columns))
    return Item(where, Problem(identity(verifier, asked), verifier, asked, answer, level, source, grading), text or "")


def identity(verifier: str, question: str) -> str:
    """`<verifier>/<hash of the question>`; of a dotted path, its letters and digits."""
    slug = re.sub(r"[^a-z0-9]+", "-", verifier.lower()).strip("-")[:60]
    return f"{slug}/{hashlib.sha256(question.encode(errors='surrogatepass')).hexdigest()[:16]}"


def _find(row: Row, key: str, columns: Mapping[str, str], where: str, needed: bool = True) -> Any:
    """The value of the mapped column, else of the first column with a known name that is not null."""
    if key in columns:
        if columns[key] not in row:
            raise InputError(f"{where}: no column {columns[key]!r} for the {key}; its columns are {', '.join(row)}")
        return row[columns[key]]
    by_name = {name.lower(): name for name in reversed(row)}
    present = [by_name[name] for name in NAMES[key] if name in by_name]
    if needed and not present:
        raise InputError(
            f"{where}: no column named {' or '.join(NAMES[key])}; its columns are {', '.join(row)}; say which holds "
            f"the {key}: columns.{key} in the recipe, or --column {key}=NAME"
        )
    return next((row[name] for name in present if row[name] is not None), None)


def _question(value: Any, where: str) -> Any:
    """The text of a chat-style prompt with one turn; anything else as it is."""
    if not isinstance(value, list) or not all(isinstance(turn, dict) and "role" in turn for turn in value):
        return value
    roles = [turn["role"] for turn in value]
    if roles != ["user"]:
        raise InputError(
            f"{where}: the prompt's turns are {', '.join(map(str, roles)) or 'none'}; one user turn is needed, and "
            "what a system turn says belongs into model.instruction"
        )
    return value[0].get("content")


def plain(value: Any) -> str | None:
    """A text or number as text, 27.0 as 27; None for anything else."""
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)
    return str(value) if isinstance(value, str | int) else None


def _no_text(what: str, value: Any) -> tuple[str, str]:
    """(the reason against the row, what stands there instead)"""
    return (f"no {what}", "") if value is None else (f"{what} is no text", f"{value!s:.40}")


def final_answer(text: str) -> str:
    """What follows the last `####`, else the last box, else the whole text."""
    if "####" in text:
        marked = text.rsplit("####", 1)[1].strip()
        return marked.replace(",", "") if _GROUPED.fullmatch(marked) else marked
    if (boxed := last_box(text)) is not None:
        return boxed
    bare = _BARE_BOX.findall(text)
    return bare[-1].rstrip(".,") if bare else text.strip()


def level_of(value: Any) -> int:
    """3 from 3, "3" or "Level 3"; 0 when there is none."""
    match = _LEVEL.fullmatch((plain(value) or "").strip())
    return int(match[1]) if match else 0

"""Problems from your own JSONL: one object a line with a question and a reference answer."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from rlsp.errors import InputError
from rlsp.tasks.boxes import last_box
from rlsp.types import Problem

QUESTION_KEYS = ("question", "problem", "prompt")
ANSWER_KEYS = ("answer", "solution")
TASK = "file"


def read_problems(path: Path) -> list[Problem]:
    """Every problem of the file, in order, each question once. A reference that is a whole
    solution is cut to its final answer: what follows `####` (GSM8K) or stands in the last box (MATH).

    Raises:
        InputError: no such file, a line that is not such an object, or a question with two different answers.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"task.path {path}: can't be read: {error}") from None
    problems: dict[str, Problem] = {}
    for number, line in enumerate(lines, 1):
        if line.strip():
            problem = _problem(line, f"{path}:{number}", path.stem)
            known = problems.setdefault(problem.id, problem)
            if known.answer != problem.answer:
                raise InputError(
                    f"{path}:{number}: the same question has another answer before: {known.answer!r}, here "
                    f"{problem.answer!r}; keep one of them"
                )
    if not problems:
        raise InputError(f"task.path {path}: no problems in it; write one JSON object a line")
    return list(problems.values())


def _problem(line: str, where: str, source: str) -> Problem:
    try:
        values = json.loads(line)
    except ValueError as error:
        raise InputError(f"{where}: not JSON: {error}") from None
    if not isinstance(values, dict):
        raise InputError(f"{where}: a JSON object is needed, got {line[:60]!r}")
    question = _text(values, QUESTION_KEYS, where)
    if not question.strip():
        raise InputError(f"{where}: the question is empty")
    answer = _reference(_text(values, ANSWER_KEYS, where))
    if not answer:
        raise InputError(f"{where}: the reference answer is empty")
    level = values.get("level", 0)
    digest = hashlib.sha256(question.encode()).hexdigest()[:16]
    return Problem(f"{TASK}/{digest}", TASK, question, answer, level if isinstance(level, int) else 0, source)


def _reference(text: str) -> str:
    if "####" in text:
        return text.rsplit("####", 1)[1].strip()
    boxed = last_box(text)
    return text.strip() if boxed is None else boxed


def _text(values: dict[str, Any], keys: tuple[str, ...], where: str) -> str:
    for key in keys:
        if isinstance(values.get(key), str | int | float):
            text = str(values[key])
            if text.isascii() or text.encode(errors="ignore").decode() == text:
                return text
            raise InputError(f"{where}: {key} holds half of a surrogate pair, which is no text")
    raise InputError(f"{where}: none of the keys {', '.join(keys)} holds text; its keys are {', '.join(values)}")

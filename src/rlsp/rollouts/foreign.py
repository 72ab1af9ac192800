"""Responses that any program wrote, read for grading: the schema is found by the keys of the file's objects.

docs/evaluation.md shows one line of each schema.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rlsp.errors import InputError
from rlsp.files import read_lines
from rlsp.rollouts import schemas
from rlsp.rollouts.fields import answer_of, extras_of, identity_of, question_of
from rlsp.rollouts.schemas import Row, Schema
from rlsp.tasks.data import check_agreed, identity, level_of
from rlsp.tasks.unit_tests import read_tests
from rlsp.types import Finish, Problem, Rollout, from_json

DEFAULT_VERIFIER = "math"


@dataclass(frozen=True, slots=True)
class Response:
    """One response to a problem. What the file does not say is None; `published_*` is what its publisher's grader
    decided and extracted."""

    problem_id: str
    sample: int
    text: str
    finish: Finish | None = None
    tokens: int | None = None
    published_correct: bool | None = None
    published_pred: str | None = None


@dataclass(frozen=True, slots=True)
class Answers:
    """Problems and the responses to them, in the file's order; every response's problem is there, and each problem has
    a response."""

    schema: str
    problems: list[Problem]
    responses: list[Response]


def read(path: Path, problems: Path | None = None, verifier: str | None = None) -> Answers:
    """Read a file of responses, plain, `.zst` or `.gz`.

    Args:
        problems: the questions of a file that carries none: problems as rlsp writes them, or one object a line with
            question and answer.
        verifier: becomes `Problem.task`. None: the problem's own where the file names one, else `math`.

    Raises:
        InputError: unknown or mixed schemas, missing columns, no responses, or something that is no text; with file
            and line, what was found, and what is known.
    """
    schema, rows = _rows(path)
    if schema.problems_apart and problems is None:
        raise InputError(f"{path} holds {schema.name}, which lack their questions: give them by --problems FILE")
    if not schema.problems_apart and problems is not None:
        raise InputError(f"{path} holds {schema.name}, which carry their questions: leave out --problems {problems}")
    if problems is None:
        joined = [(where, row, _problem(row, where, path.stem, verifier or DEFAULT_VERIFIER)) for where, row in rows]
    else:
        joined = _join(list(rows), problems, read_problems(problems, verifier))
    asked: dict[str, Problem] = {}
    answered: list[Response] = []
    next_sample: dict[str, int] = {}
    seen: set[tuple[str, int]] = set()
    for where, row, problem in joined:
        _check_same(asked.setdefault(problem.id, problem), problem, where)
        for reply in row.replies:
            sample = next_sample.get(problem.id, 0) if row.sample is None else row.sample
            if (problem.id, sample) in seen:
                raise InputError(f"{where}: sample {sample} of problem {problem.id!r} is there twice; keep one")
            seen.add((problem.id, sample))
            next_sample[problem.id] = sample + 1
            answered.append(
                Response(
                    problem.id,
                    sample,
                    reply.text,
                    reply.finish,
                    reply.tokens,
                    reply.published_correct,
                    reply.published_pred,
                )
            )
    return Answers(schema.name, list(asked.values()), answered)


def from_rollouts(problems: Sequence[Problem], rollouts: Sequence[Rollout]) -> Answers:
    """Our own rollouts, as they come from a sampler."""
    responses = [
        Response(rollout.problem_id, rollout.sample, rollout.text, rollout.finish, rollout.length)
        for rollout in rollouts
    ]
    return Answers("rlsp rollouts", list(problems), responses)


def read_problems(path: Path, verifier: str | None = None) -> list[Problem]:
    """The problem of each line: as rlsp writes them, or an object with question and answer, if you like id and level.

    Raises:
        InputError: an object that is neither, an id or question with two answers, or no object at all.
    """
    by_id: dict[str, Problem] = {}
    problems = []
    for number, values in read_lines(path):
        where = f"{path}:{number}"
        if isinstance(values, dict) and values.keys() >= {"id", "task", "question", "answer"}:
            problem = from_json(Problem, values, where)
            problem = replace(problem, task=verifier) if verifier else problem
            check_agreed(problem, verifier, where)
        else:
            problem = _problem(_question_row(values, where), where, path.stem, verifier or DEFAULT_VERIFIER)
        _check_same(by_id.setdefault(problem.id, problem), problem, where)
        problems.append(problem)
    if not problems:
        raise InputError(f"{path}: no problems in it; give a file that holds those that were asked")
    return problems


def _rows(path: Path) -> tuple[Schema, Iterator[tuple[str, Row]]]:
    """The file's schema, and (file:line, row) of each line; of several filters of lm-evaluation-harness, which repeat
    the responses, those of the first."""
    lines = list(read_lines(path))
    if not lines:
        raise InputError(f"{path}: no responses in it; {schemas.DOCUMENTED}")
    first_number, first = lines[0]
    schema = schemas.detect(first, f"{path}:{first_number}")

    def parse() -> Iterator[tuple[str, Row]]:
        for number, values in lines:
            where = f"{path}:{number}"
            other = schemas.detect(values, where)
            if other is not schema:
                raise InputError(
                    f"{where}: mixed schemas: {other.name} here, {schema.name} in line {first_number}; split the file"
                )
            if "resps" not in schema.keys or values.get("filter") == first.get("filter"):
                yield where, schema.parse(values, where)

    return schema, parse()


def _question_row(values: Any, where: str) -> Row:
    if not isinstance(values, dict):
        raise InputError(f"{where}: a JSON object with question and answer is needed, got {values!r:.60}")
    given = identity_of(values["id"], f"{where}: id") if "id" in values else None
    question, answer, level = question_of(values, where), answer_of(values, where), level_of(values.get("level"))
    return Row(given, question, answer, level, (), extras=extras_of(values))


def _problem(row: Row, where: str, source: str, verifier: str) -> Problem:
    assert row.question is not None, where
    name = identity(verifier, row.question) if row.identity is None else row.identity
    grading = _grading(row.extras, where, verifier)
    if not row.answer and not grading:
        raise InputError(f"{where}: no reference answer, and nothing else that the verifier {verifier!r} judges by")
    return Problem(name, verifier, row.question, row.answer, row.level, source, grading)


def _grading(extras: Mapping[str, Any], where: str, verifier: str) -> dict[str, Any]:
    grading = extras.get("grading", {})
    if not isinstance(grading, dict):
        raise InputError(f"{where}: 'grading' is an object, got {grading!r:.60}")
    grading = dict(grading)
    if "options" in extras:
        grading.setdefault("options", extras["options"])
    if verifier == "code" and "tests" in extras:
        try:
            grading |= read_tests(extras["tests"], extras.get("function", ""))
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
    return grading


def _check_same(known: Problem, again: Problem, where: str) -> None:
    if (known.question, known.answer) != (again.question, again.answer):
        what = "question" if known.question != again.question else "reference answer"
        before, here = (each.question if what == "question" else each.answer for each in (known, again))
        raise InputError(
            f"{where}: problem {known.id!r} has another {what} before: {before!r:.60}, here {here!r:.60}; keep one"
        )


def _join(rows: Sequence[tuple[str, Row]], path: Path, problems: Sequence[Problem]) -> list[tuple[str, Row, Problem]]:
    """Each row with its problem of the file at `path`: by id if every row names an id, else by row number from 0 if
    every row is one. Never mixed: ids may be numbers, too."""
    by_id = {problem.id: problem for problem in problems}
    by_number = {str(number): problem for number, problem in enumerate(problems)}
    for known in (by_id, by_number):
        if all(row.identity in known for _, row in rows):
            return [(where, row, known[str(row.identity)]) for where, row in rows]
    strangers = [(where, row) for where, row in rows if row.identity not in by_id]
    where, row = next((each for each in strangers if each[1].identity not in by_number), strangers[0])
    raise InputError(
        f"{where}: {path} has no problem {row.identity!r:.80}: the lines of a file name problems all by id, the first "
        f"of which is {problems[0].id!r:.80}, or all by row number from 0 to {len(problems) - 1}"
    )

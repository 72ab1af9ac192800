"""Verdicts on responses, as they are stored: one record for each response, ours beside the publisher's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import ConfigDict

from rlsp.errors import InputError
from rlsp.files import read_lines
from rlsp.rollouts import foreign
from rlsp.rollouts.foreign import Answers
from rlsp.types import Finish, Problem, Reason, Score, Verdict, from_json
from rlsp.verifiers import verify_all
from rlsp.verifiers.settings import STRICT, Settings


@dataclass(frozen=True, slots=True)
class Graded:
    """The verdict on one response, with what is needed to count it. Unknown values are None; `characters` stands in
    for `tokens` where the file that was graded has no token counts. `level` is 0 where there are none."""

    __pydantic_config__ = ConfigDict(extra="forbid")

    problem_id: str
    sample: int
    level: int
    correct: bool
    answer: str
    reference: str
    reason: Reason
    detail: str
    characters: int | None
    tokens: int | None
    truncated: bool | None
    published_correct: bool | None = None
    published_pred: str | None = None


_KEYS = {Graded: {"problem_id", "correct", "reason"}, Score: {"problem_id", "verdict", "exploration"}}
"""What tells stored verdicts from responses."""

_JUDGING = {"extraction": "--lenient", "deadline_seconds": "--deadline", "trusted_code": "--i-trust-this-code"}
"""Which option sets which field of the settings."""


def grade(answers: Answers, settings: Settings) -> list[Graded]:
    """Judge every response; in their order."""
    asked = _asked(answers)
    return with_verdicts(answers, verify_all(asked, [response.text for response in answers.responses], settings))


def with_verdicts(answers: Answers, verdicts: Sequence[Verdict]) -> list[Graded]:
    """The responses with verdicts on them, in their order."""
    return [
        Graded(
            problem_id=problem.id,
            sample=response.sample,
            level=problem.level,
            correct=verdict.correct,
            answer=verdict.answer,
            reference=verdict.reference or problem.answer,
            reason=verdict.reason,
            detail=verdict.detail,
            characters=len(response.text),
            tokens=response.tokens,
            truncated=None if response.finish is None else response.finish is Finish.LENGTH,
            published_correct=response.published_correct,
            published_pred=response.published_pred,
        )
        for problem, response, verdict in zip(_asked(answers), answers.responses, verdicts, strict=True)
    ]


def read(
    path: Path,
    problems: Path | None = None,
    verifier: str | None = None,
    settings: Settings = STRICT,
    published: bool = False,
) -> list[Graded]:
    """The verdicts of a file: stored ones (of `rlsp score`, or the scores of a run), else responses, which are graded.

    Args:
        problems, verifier: as for `foreign.read`; only for responses.
        settings: how to judge; only for responses.
        published: take the publisher's verdicts for ours, and run no verifier.

    Raises:
        InputError: a file of no known schema, without verdicts, or with two for one response; or told how to judge
            where nothing is judged.
    """
    judging = [option for field, option in _JUDGING.items() if getattr(settings, field) != getattr(STRICT, field)]
    if published and judging:
        raise InputError(f"--published runs no verifier: leave out {', '.join(judging)}")
    if not holds_verdicts(path):
        answers = foreign.read(path, problems, verifier)
        return as_published(answers, path) if published else grade(answers, settings)
    reading = [option for option, value in (("--problems", problems), ("--verifier", verifier)) if value]
    if given := [*reading, *judging]:
        raise InputError(f"{path} holds verdicts already: leave out {', '.join(given)}, or grade the responses")
    graded = read_verdicts(path)
    return under_publisher(graded, path) if published else graded


def holds_verdicts(path: Path) -> bool:
    """Whether a file holds stored verdicts, not responses. Raises InputError when it can't be read."""
    return _stored(path) is not None


def read_verdicts(path: Path) -> list[Graded]:
    """Stored verdicts: of `rlsp score`, or the scores of a run.

    Raises:
        InputError: a file of something else, or with two verdicts on one response.
    """
    kind = _stored(path)
    if kind is None:
        raise InputError(f"{path} holds no verdicts: make them by rlsp score {path} --out VERDICTS")
    graded = []
    for number, values in read_lines(path):
        record = from_json(kind, values, f"{path}:{number}")
        graded.append(_of_score(record) if isinstance(record, Score) else record)
    check_unique(graded, path)
    return graded


def as_published(answers: Answers, path: Path) -> list[Graded]:
    """The publisher's verdicts on responses that no verifier of ours has seen.

    Raises:
        InputError: a response of `path` has none.
    """
    unseen = Verdict(False, "", Reason.MISMATCH)
    return under_publisher(with_verdicts(answers, [unseen] * len(answers.responses)), path)


def under_publisher(graded: Sequence[Graded], path: Path) -> list[Graded]:
    """The publisher's verdicts in place of ours.

    Raises:
        InputError: a response of `path` has none.
    """
    for each in graded:
        if each.published_correct is None:
            raise InputError(
                f"{path}: sample {each.sample} of problem {each.problem_id!r} has no verdict of a publisher: leave out "
                "--published"
            )
    return [
        replace(
            each,
            correct=bool(each.published_correct),
            answer=each.published_pred or "",
            reason=Reason.MATCH if each.published_correct else Reason.MISMATCH,
            detail="the publisher's verdict",
        )
        for each in graded
    ]


def check_unique(graded: Sequence[Graded], path: Path) -> None:
    """Raises InputError when a sample of a problem is judged twice."""
    seen: set[tuple[str, int]] = set()
    for each in graded:
        if (each.problem_id, each.sample) in seen:
            raise InputError(f"{path}: sample {each.sample} of problem {each.problem_id!r} is judged twice; keep one")
        seen.add((each.problem_id, each.sample))


def _asked(answers: Answers) -> list[Problem]:
    by_id = {problem.id: problem for problem in answers.problems}
    return [by_id[response.problem_id] for response in answers.responses]


def _of_score(score: Score) -> Graded:
    verdict = score.verdict
    return Graded(
        problem_id=score.problem_id,
        sample=score.sample,
        level=0,
        correct=verdict.correct,
        answer=verdict.answer,
        reference=verdict.reference,
        reason=verdict.reason,
        detail=verdict.detail,
        characters=None,
        tokens=None,
        truncated=None,
    )


def _stored(path: Path) -> type[Graded] | type[Score] | None:
    """Which kind of stored verdicts the first object is; None for anything else."""
    _, first = next(read_lines(path), (0, None))
    keys = frozenset(first) if isinstance(first, dict) else frozenset()
    return next((each for each in (Graded, Score) if _KEYS[each] <= keys), None)

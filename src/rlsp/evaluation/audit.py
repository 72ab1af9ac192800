"""Two graders over the same responses, item by item, with what a person says of them; `agreement` counts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from rlsp.errors import InputError
from rlsp.evaluation import labels as labelling
from rlsp.evaluation.grading import read_verdicts
from rlsp.rollouts import foreign
from rlsp.rollouts.foreign import Answers
from rlsp.types import Problem, Reason, Verdict
from rlsp.verifiers import verify_timed
from rlsp.verifiers.outcomes import Timed
from rlsp.verifiers.settings import STRICT, Settings

PUBLISHED = "published"
TAIL_CHARACTERS = 300
"""How much of a response's end is kept beside its verdicts."""


@dataclass(frozen=True, slots=True)
class Item:
    """One response under both graders. `label` is what a person says of it, None where nobody has."""

    problem: Problem
    sample: int
    response: str
    first: Timed
    second: Timed
    label: bool | None = None

    @property
    def disagreement(self) -> bool:
        return self.first.verdict.correct != self.second.verdict.correct


@dataclass(frozen=True, slots=True)
class Audit:
    """Every response under the graders of these names, in the file's order."""

    first: str
    second: str
    items: list[Item]

    @property
    def disagreements(self) -> list[Item]:
        return [item for item in self.items if item.disagreement]


@dataclass(frozen=True, slots=True)
class Disagreement:
    """A line of the list of disagreements: `response` is the last 300 characters, `correct` the label. Where that is
    null, a person fills it in, and the file is one of labels."""

    problem_id: str
    sample: int
    question: str
    reference: str
    first: Verdict
    second: Verdict
    response: str
    correct: bool | None


def run(
    path: Path,
    problems: Path | None = None,
    verifier: str | None = None,
    against: str = "math-verify",
    settings: Settings = STRICT,
    labels: Path | None = None,
) -> Audit:
    """Judge every response of a file twice.

    Args:
        problems, verifier: as for `foreign.read`; what the problems name is the first grader.
        against: the second grader: another verifier's name, `published`, or a file of verdicts (.jsonl, .zst, .gz).
        labels: what a person says, as for `labels.read`.

    Raises:
        InputError: a file can't be read, a grader does not exist, is the same twice, or lacks a verdict.
    """
    answers = foreign.read(path, problems, verifier)
    known = {} if labels is None else labelling.read(labels, answers.responses)
    by_id = {problem.id: problem for problem in answers.problems}
    asked = [by_id[response.problem_id] for response in answers.responses]
    tasks = sorted({problem.task for problem in asked})
    if against in tasks:
        raise InputError(f"--against {against!r} is what judges already: name another grader, or another --verifier")
    second: list[Timed]
    if against == PUBLISHED:
        second = _published(answers, path)
    elif Path(against).suffix in (".jsonl", ".zst", ".gz"):
        second = _stored(answers, Path(against))
    else:
        others = [replace(problem, task=against) for problem in asked]
        second = verify_timed(others, [response.text for response in answers.responses], settings)
    first = verify_timed(asked, [response.text for response in answers.responses], settings)
    items = [
        Item(problem, response.sample, response.text, mine, other, known.get((problem.id, response.sample)))
        for problem, response, mine, other in zip(asked, answers.responses, first, second, strict=True)
    ]
    first_name = ", ".join(tasks) + (" (lenient)" if settings.extraction == "lenient" else "")
    return Audit(first_name, against, items)


def check_labelled(audit: Audit) -> None:
    """Raises InputError when a disagreement has no label: error rates can't be measured without it."""
    bare = [item for item in audit.disagreements if item.label is None]
    if bare:
        raise InputError(
            f"{len(bare)} of {len(audit.disagreements)} disagreements have no label, the first is sample "
            f"{bare[0].sample} of problem {bare[0].problem.id!r:.80}: write them by --out, fill in every correct, and "
            "give that file by --labels"
        )


def disagreement(item: Item) -> Disagreement:
    """The item as a line of the list of disagreements."""
    return Disagreement(
        problem_id=item.problem.id,
        sample=item.sample,
        question=item.problem.question,
        reference=item.problem.answer,
        first=item.first.verdict,
        second=item.second.verdict,
        response=item.response[-TAIL_CHARACTERS:],
        correct=item.label,
    )


def _published(answers: Answers, path: Path) -> list[Timed]:
    timed = []
    for response in answers.responses:
        correct = response.published_correct
        if correct is None:
            raise InputError(
                f"{path}: sample {response.sample} of problem {response.problem_id!r:.80} has no verdict of a "
                "publisher: audit against another grader"
            )
        reason = Reason.MATCH if correct else Reason.MISMATCH
        verdict = Verdict(correct, response.published_pred or "", reason, detail="the publisher's verdict")
        timed.append(Timed(verdict, None))
    return timed


def _stored(answers: Answers, path: Path) -> list[Timed]:
    known = {(each.problem_id, each.sample): each for each in read_verdicts(path)}
    timed = []
    for response in answers.responses:
        each = known.get((response.problem_id, response.sample))
        if each is None:
            raise InputError(
                f"{path} has no verdict on sample {response.sample} of problem {response.problem_id!r:.80}: grade the "
                "same responses, with the same --verifier"
            )
        verdict = Verdict(each.correct, each.answer, each.reason, each.reference, each.detail)
        timed.append(Timed(verdict, None))
    return timed

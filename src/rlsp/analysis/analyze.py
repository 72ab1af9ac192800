"""One model's responses, alone or beside another's to the same problems: behaviours, thinking time, novelty."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass

from rlsp.analysis import ledger
from rlsp.analysis.ledger import Ledger
from rlsp.analysis.novelty import STEPS, Novelty, Pattern, Patterns, against, nearest, patterns, word_patterns
from rlsp.analysis.rates import Counts, Rate, Shift, rates, shifts
from rlsp.behaviours.detectors import Detector, behaviour_counts, detector, spans, step_types
from rlsp.behaviours.spans import Behaviour
from rlsp.evaluation import benchmark, paired
from rlsp.evaluation.benchmark import Benchmark
from rlsp.evaluation.grading import Graded
from rlsp.rollouts.foreign import Answers
from rlsp.types import Demonstration, Problem

ALIKE = 0.5
"""A response is a variant of a demonstration when their MinHash similarity is at least this."""


@dataclass(frozen=True, slots=True)
class Read:
    """A model's responses with their verdicts, in the same order. `name` is what a reader calls the model."""

    name: str
    answers: Answers
    graded: Sequence[Graded]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a response shows a behaviour: its characters from `start` to `end`, which are `text`."""

    problem_id: str
    sample: int
    behaviour: Behaviour
    detector: Detector
    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True)
class NewPatterns:
    """How new one model's reasoning is, in runs of `words` and of step types (`steps`): to the base's responses (what
    the base's own are to one another is the measure), and to the demonstrations. None without one, without any.
    `variants`: the share of its responses that are variants of a demonstration."""

    words_to_base: Novelty | None
    steps_to_base: Novelty | None
    words_to_demonstrations: Novelty | None
    steps_to_demonstrations: Novelty | None
    variants: float | None


@dataclass(frozen=True, slots=True)
class Account:
    """What one model's responses say of themselves."""

    name: str
    figures: Benchmark
    ledger: Ledger
    novelty: NewPatterns


@dataclass(frozen=True, slots=True)
class Analysis:
    """`behaviours` by the detectors that apply: a Shift from the base, a Rate without one. `difficulty` names what says
    how hard a problem is; "" where nothing does."""

    model: Account
    base: Account | None
    behaviours: dict[Detector, dict[str, Rate] | dict[str, Shift]]
    difficulty: str


def analyze(read: Read, base: Read | None = None, demonstrations: Sequence[Demonstration] = ()) -> Analysis:
    """Analyze one model's responses, and their difference to a base's.

    Args:
        base: responses to the same problems.
        demonstrations: of the same task.

    Raises:
        ValueError: the two were not asked the same problems.
    """
    shown = _Held.of((each.problem, each.trace) for each in demonstrations)
    held, known = _Held.of_responses(read), _Held.of_responses(base) if base else None
    others = base.graded if base else ()
    unit, hard = ledger.unit_of(read.graded, others), ledger.difficulty(others or read.graded)

    def account(each: Read, others: Sequence[Graded], own: _Held) -> Account:
        return Account(
            each.name,
            benchmark.summarise(each.graded, unit),
            ledger.account(each.graded, others, hard, unit),
            _novelty(own, known, shown),
        )

    return Analysis(
        account(read, others, held),
        account(base, read.graded, known) if base and known else None,
        _behaviours(read, base),
        hard.name if hard else "",
    )


def pair(read: Read, base: Read, common: bool = False) -> tuple[Read, Read]:
    """Both models' responses to the same problems.

    Args:
        common: leave out what only one of them was asked.

    Raises:
        InputError: the problems differ, or none are the same.
    """
    shared = paired.pair(base.graded, read.graded, common)[0].keys()
    return _only(read, shared), _only(base, shared)


def _only(read: Read, problems: Container[str]) -> Read:
    answers = read.answers
    return Read(
        read.name,
        Answers(
            answers.schema,
            [each for each in answers.problems if each.id in problems],
            [each for each in answers.responses if each.problem_id in problems],
        ),
        [each for each in read.graded if each.problem_id in problems],
    )


def places(read: Read) -> Iterator[Place]:
    """Every behaviour of every response."""
    problems = {problem.id: problem for problem in read.answers.problems}
    for response in read.answers.responses:
        problem, text = problems[response.problem_id], response.text
        for span in spans(problem, text):
            yield Place(
                problem.id, response.sample, span.behaviour, detector(problem), span.start, span.end,
                text[span.start : span.end],
            )  # fmt: skip


def _behaviours(read: Read, base: Read | None) -> dict[Detector, dict[str, Rate] | dict[str, Shift]]:
    found: dict[Detector, dict[str, Rate] | dict[str, Shift]] = {}
    mine, theirs = _by_detector(read), _by_detector(base) if base else {}
    for kind, problems in mine.items():
        found[kind] = shifts(theirs[kind], problems) if base else rates(problems)
    return found


def _by_detector(read: Read) -> dict[Detector, dict[str, list[Counts]]]:
    """Each response's counts, by problem."""
    problems = {problem.id: problem for problem in read.answers.problems}
    found: dict[Detector, dict[str, list[Counts]]] = {}
    for response in read.answers.responses:
        problem = problems[response.problem_id]
        groups = found.setdefault(detector(problem), {})
        groups.setdefault(problem.id, []).append(behaviour_counts(problem, response.text))
    return found


@dataclass(frozen=True, slots=True)
class _Held:
    """The runs that texts hold."""

    words: Patterns
    steps: Patterns

    @classmethod
    def of_responses(cls, read: Read) -> _Held:
        problems = {problem.id: problem for problem in read.answers.problems}
        return cls.of((problems[response.problem_id], response.text) for response in read.answers.responses)

    @classmethod
    def of(cls, texts: Iterable[tuple[Problem, str]]) -> _Held:
        words: dict[str, list[frozenset[Pattern]]] = {}
        steps: dict[str, list[frozenset[Pattern]]] = {}
        for problem, text in texts:
            words.setdefault(problem.id, []).append(word_patterns(text))
            steps.setdefault(problem.id, []).append(patterns(step_types(problem, text), STEPS))
        return cls(words, steps)


def _novelty(held: _Held, base: _Held | None, shown: _Held) -> NewPatterns:
    demonstrated, own = _all(shown.words), _all(held.words)
    similar = nearest(own, demonstrated) if demonstrated else []
    return NewPatterns(
        against(held.words, base.words) if base else None,
        against(held.steps, base.steps) if base else None,
        against(held.words, shown.words) if demonstrated else None,
        against(held.steps, shown.steps) if demonstrated else None,
        sum(each >= ALIKE for each in similar) / len(similar) if similar else None,
    )


def _all(held: Patterns) -> list[frozenset[Pattern]]:
    return [each for group in held.values() for each in group]

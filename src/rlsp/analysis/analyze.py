"""One model's responses, alone or beside others' to the same problems: behaviours, thinking time, novelty."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass

from rlsp.analysis import ledger
from rlsp.analysis.ledger import Ledger
from rlsp.analysis.novelty import STEPS, Novelty, Pattern, Patterns, against, nearest, patterns, word_patterns
from rlsp.analysis.rates import Counts, Shown, shown
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
    """The models' `accounts`, the base's first, where there is one; the last is of the model that is analysed.
    `behaviours` by the detectors that apply. `difficulty` names what says how hard a problem is; "" where nothing
    does."""

    accounts: list[Account]
    behaviours: dict[Detector, dict[str, Shown]]
    difficulty: str


def analyze(models: Sequence[Read], demonstrations: Sequence[Demonstration] = ()) -> Analysis:
    """Analyze the last model's responses, and their difference to those of the models before it.

    Args:
        models: one, or several that were asked the same problems, the base first.
        demonstrations: of the same task.

    Raises:
        ValueError: they were not asked the same problems.
    """
    demonstrated = _Held.of((each.problem, each.trace) for each in demonstrations)
    problems = [{(each.id, detector(each)) for each in read.answers.problems} for read in models]
    if any(each != problems[0] for each in problems):
        raise ValueError("the problems differ")
    held = [_Held.of_responses(each) for each in models]
    base, graded = models[0], [each.graded for each in models]
    unit, hard = ledger.unit_of(*graded), ledger.difficulty(base.graded)
    accounts = []
    for place, (each, own) in enumerate(zip(models, held, strict=True)):
        others = [one for some in (*graded[:place], *graded[place + 1 :]) for one in some]
        accounts.append(
            Account(
                each.name,
                benchmark.summarise(each.graded, unit),
                ledger.account(each.graded, others, hard, unit),
                _novelty(own, held[0] if len(models) > 1 else None, demonstrated),
            )
        )
    return Analysis(accounts, _behaviours(models), hard.name if hard else "")


def pair(read: Read, base: Read, common: bool = False) -> tuple[Read, Read]:
    """Both models' responses to the same problems.

    Args:
        common: leave out what only one of them was asked.

    Raises:
        InputError: the problems differ, or none are the same.
    """
    shared = paired.pair(base.graded, read.graded, common, (base.name, read.name))[0].keys()
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


def _behaviours(models: Sequence[Read]) -> dict[Detector, dict[str, Shown]]:
    counted = [_by_detector(each) for each in models]
    return {kind: shown([each[kind] for each in counted]) for kind in counted[-1]}


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

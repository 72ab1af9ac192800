"""Which detector reads a response: the executing one where a machine can check the steps, the words' one elsewhere.
Their figures are never added up."""

from __future__ import annotations

from enum import StrEnum

from rlsp.behaviours import grounded, lexical
from rlsp.behaviours.sentences import split
from rlsp.behaviours.spans import Behaviour, Span, counts
from rlsp.tasks import replayer
from rlsp.tasks.traces import parse_lines
from rlsp.types import Problem


class Detector(StrEnum):
    GROUNDED = "grounded"
    LEXICAL = "lexical"


FOUND = {Detector.GROUNDED: grounded.FOUND, Detector.LEXICAL: lexical.FOUND}
MEANING = {
    Detector.GROUNDED: "found by executing the steps",
    Detector.LEXICAL: "found by words: what a response says that it does",
}
DEFINITIONS: dict[Detector, dict[str, str]] = {
    Detector.GROUNDED: {
        Behaviour.VERIFICATION: "a check that recomputes what it should, with a true verdict",
        Behaviour.BACKTRACKING: "a line that follows one which was given up, with another derivation",
        Behaviour.SELF_CORRECTION: "an answer, right or wrong, that replaces a result which an honest check gave up",
        Behaviour.ALTERNATIVE: "a line whose first step no earlier line took",
        Behaviour.BACKWARD_CHAINING: "an honest check that works the steps backwards",
        Behaviour.REPETITION: "a line that derives again what an earlier one derived",
    },
    Detector.LEXICAL: {
        Behaviour.VERIFICATION: "recomputes an earlier quantity, or checks a value against the problem",
        Behaviour.BACKTRACKING: "leaves a line of reasoning to take another one",
        Behaviour.SELF_CORRECTION: "replaces something that was stated before",
        Behaviour.ALTERNATIVE: "a second derivation, by another way",
        Behaviour.SUBGOAL: "an intermediate target, announced",
        Behaviour.BACKWARD_CHAINING: "from the goal back to what must hold for it",
        Behaviour.REPETITION: "what was said before, again",
    },
}
"""What each behaviour is to each detector, for readers."""

LOOKS_AHEAD = {
    Detector.GROUNDED: frozenset({Behaviour.SELF_CORRECTION}),
    Detector.LEXICAL: frozenset({Behaviour.SUBGOAL}),
}
"""Behaviours that are told by what comes after them, too: their places know how the response ends."""


def detector(problem: Problem) -> Detector:
    return Detector.LEXICAL if replayer(problem.task) is None else Detector.GROUNDED


def spans(problem: Problem, response: str) -> list[Span]:
    """Where the response shows which behaviour, by the problem's detector."""
    replay = replayer(problem.task)
    if replay is None:
        return lexical.find(response, problem.question)
    return grounded.spans(replay(problem, response))


def behaviour_counts(problem: Problem, response: str) -> dict[str, int]:
    """How often the response shows each of the behaviours that the problem's detector knows."""
    return counts(spans(problem, response), FOUND[detector(problem)])


def step_types(problem: Problem, response: str) -> list[str]:
    """What each step does, whatever it does it with. Grounded: its operator; and where a line ends, the verdict of its
    check, if it has one. Lexical: what each sentence shows, `-` for nothing."""
    if replayer(problem.task) is None:
        shown: dict[int, list[str]] = {}
        for span in lexical.find(response, problem.question):
            shown.setdefault(span.start, []).append(span.behaviour)
        return ["+".join(sorted(shown.get(each.start, ["-"]))) for each in split(response)]
    types = []
    for line in parse_lines(response):
        types += [step.operator for step in line.steps] if line.well_formed else ["unreadable"]
        types.append("end" if line.accepted is None else "yes" if line.accepted else "no")
    return types

"""Grounded spans: against the counts, and against a slow reading of ten thousand generated traces."""

from __future__ import annotations

from random import Random
from types import ModuleType

import pytest

from rlsp.behaviours.detectors import Detector, behaviour_counts, detector, spans, step_types
from rlsp.behaviours.grounded import count
from rlsp.behaviours.spans import Behaviour
from rlsp.demonstrations.search import unroll
from rlsp.tasks import chain_sum, countdown, replayer
from rlsp.tasks.splits import Split
from rlsp.tasks.traces import Step, compute, write_line
from rlsp.types import Problem, Reason

TRACES = 10_000
CHAIN = chain_sum.problem((("+", 12), ("+", 5), ("-", 3)))
THREE = countdown.problem((3, 7, 12), 33)
FREE = Problem("p", "math", "What is 1 + 1?", "2", 0, "test")


def written(problem: Problem, *lines: str) -> list[tuple[Behaviour, str]]:
    text = "\n".join(lines)
    return [(span.behaviour, text[span.start : span.end]) for span in spans(problem, text)]


def test_search_that_gives_up_a_line_and_takes_another() -> None:
    first, second = "3 + 7 = 10, 10 + 12 = 22", "3 * 7 = 21, 21 + 12 = 33"
    assert written(THREE, f"{first}; is it 33? no", f"{second}; is it 33? yes") == [
        (Behaviour.VERIFICATION, "; is it 33? no"),
        (Behaviour.BACKTRACKING, second),
        (Behaviour.ALTERNATIVE, second),
        (Behaviour.SELF_CORRECTION, second),
        (Behaviour.VERIFICATION, "; is it 33? yes"),
    ]


def test_a_check_that_lies_verifies_nothing_and_corrects_nothing() -> None:
    first, second = "3 + 7 = 10, 10 + 12 = 22", "3 * 7 = 21, 21 + 12 = 33"
    assert written(THREE, f"{first}; is it 33? yes") == []
    found = written(THREE, f"{second}; is it 33? no", first)
    assert (Behaviour.SELF_CORRECTION, first) not in found


def test_working_backwards_is_backward_chaining() -> None:
    line = "12 + 5 = 17, 17 - 3 = 14; back 14 + 3 = 17, 17 - 5 = 12; is it 12? yes"
    check = line[line.index(";") :]
    assert written(CHAIN, line) == [(Behaviour.VERIFICATION, check), (Behaviour.BACKWARD_CHAINING, check)]


def test_each_task_has_its_detector_and_neither_counts_for_the_other() -> None:
    assert detector(THREE) is Detector.GROUNDED
    assert detector(FREE) is Detector.LEXICAL
    assert Behaviour.SUBGOAL not in behaviour_counts(THREE, "")
    assert set(behaviour_counts(FREE, "Let's verify this.")) == set(Behaviour)
    assert behaviour_counts(THREE, "First, find the sum. Let's verify it.") == dict.fromkeys(
        behaviour_counts(THREE, ""), 0
    )


def test_step_types_say_what_is_done_and_not_with_what() -> None:
    text = "3 + 7 = 10, 10 * 12 = 120; is it 33? no\nnonsense\n3 * 7 = 21"
    assert step_types(THREE, text) == ["+", "*", "no", "unreadable", "end", "*", "end"]
    assert step_types(FREE, "The sum is 14.\nThis does not work.") == ["-", "verification"]


def slow_reading(problem: Problem, lines: list[dict[str, object]]) -> dict[Behaviour, int]:
    """The definitions, from what the generator knows of each line it wrote: nothing is parsed or replayed."""
    found = dict.fromkeys(Behaviour, 0)
    for place, line in enumerate(lines):
        earlier = lines[:place]
        found[Behaviour.VERIFICATION] += bool(line["honest"])
        found[Behaviour.BACKWARD_CHAINING] += bool(line["honest"] and line["back"])
        repeats = any(each["derivation"] == line["derivation"] for each in earlier)
        found[Behaviour.REPETITION] += repeats
        if earlier:
            left = earlier[-1]["verdict"] == "no" and earlier[-1]["derivation"] != line["derivation"]
            found[Behaviour.BACKTRACKING] += left
            new = all(each["first"] != line["first"] for each in earlier)
            found[Behaviour.ALTERNATIVE] += new and not repeats
    last = lines[-1]
    if last["answers"]:
        corrected = any(
            line["honest"] and line["verdict"] == "no" and line["value"] != last["value"] for line in lines[:-1]
        )
        found[Behaviour.SELF_CORRECTION] += corrected
    return found


def step_identity(step: Step) -> tuple[object, ...]:
    """Sums and products say the same in both orders."""
    operands = sorted((step.left, step.right)) if step.operator in "+*" else [step.left, step.right]
    return (step.operator, *operands)


def some_trace(problem: Problem, rng: Random) -> tuple[str, list[dict[str, object]]]:
    """Two-number steps of a countdown of two numbers: every derivation is one step, so nothing is hard to compare."""
    numbers, target = countdown.read_question(problem.question)
    lines: list[dict[str, object]] = []
    texts = []
    for _ in range(rng.randint(1, 5)):
        left, right = rng.sample(numbers, 2)
        operator = rng.choice("+-*")
        if operator == "-" and left < right:
            left, right = right, left
        result = compute(left, operator, right)
        step = Step(left, operator, right, result)
        verdict = rng.choice(["yes", "no", None])
        solves = result == target
        texts.append(write_line([step], check=None if verdict is None else (target, verdict == "yes")))
        lines.append(
            {
                "derivation": step_identity(step),
                "first": step_identity(step),
                "value": result,
                "verdict": verdict,
                "honest": verdict is not None and (verdict == "yes") == solves,
                "back": False,
                "answers": verdict != "no",
            }
        )
    return "\n".join(texts), lines


def test_grounded_spans_are_what_generated_traces_were_written_to_show() -> None:
    rng = Random(0)
    for _ in range(TRACES):
        first, second = rng.sample(range(1, 20), 2)
        problem = countdown.problem((first, second), rng.choice([first + second, first * second]))
        text, lines = some_trace(problem, rng)
        expected = slow_reading(problem, lines)
        found = behaviour_counts(problem, text)
        assert found == {name: expected[Behaviour(name)] for name in found}, text


def some_chain(problem: Problem, rng: Random) -> tuple[str, list[dict[str, object]]]:
    """Lines of a chain sum: right or with their last step off by one, checked backwards, falsely, or not at all, or not
    in the language at all."""
    terms = chain_sum.read_question(problem.question)
    right = chain_sum.forward(terms)
    lines: list[dict[str, object]] = []
    texts = []
    for _ in range(rng.randint(1, 4)):
        steps = list(right)
        solves = rng.random() < 0.5
        if not solves:
            last = steps[-1]
            steps[-1] = Step(last.left, last.operator, last.right, last.result + 1)
        verdict = rng.choice(["yes", "no", None])
        result = steps[-1].result
        back = chain_sum.backward(terms, result)
        lies = rng.random() < 0.3
        check = None if verdict is None else (terms[0][1] + lies, verdict == "yes")
        texts.append(write_line(steps, back if verdict else (), check))
        lines.append(
            {
                "derivation": tuple(map(str, steps)),
                "first": step_identity(steps[0]),
                "value": result,
                "verdict": verdict,
                "honest": verdict is not None and not lies and (verdict == "yes") == solves,
                "back": True,
                "answers": verdict != "no" and solves,
            }
        )
    return "\n".join(texts), lines


def test_backward_checks_are_what_generated_chains_were_written_to_show() -> None:
    rng, shown = Random(0), 0
    for problem in chain_sum.problems(Split.TRAIN, 2000, 0, [1, 2, 3]):
        text, lines = some_chain(problem, rng)
        expected = slow_reading(problem, lines)
        found = behaviour_counts(problem, text)
        assert found == {name: expected[Behaviour(name)] for name in found}, text
        shown += found["backward chaining"]
    assert shown > 500


@pytest.mark.parametrize("task", [countdown, chain_sum])
def test_grounded_spans_agree_with_the_replay_of_searches(task: ModuleType) -> None:
    """Demonstrations of the search, some with a line broken, doubled or lied about."""
    rng, seen = Random(1), 0
    replay = replayer(task.NAME)
    assert replay is not None
    while seen < TRACES // 10:
        for problem in task.problems(Split.TRAIN, 100, rng.randrange(10**6), list(task.LEVELS)):
            trace = unroll(problem, rng, 0.4, 6)
            if trace is None:
                continue
            seen += 1
            lines = trace.split("\n")
            place = rng.randrange(len(lines))
            if rng.random() < 0.5:
                lines[place : place + 1] = rng.choice(
                    [["nonsense"], [lines[place]] * 2, [lines[place].replace("no", "yes")]]
                )
            text = "\n".join(lines)
            replayed = replay(problem, text)
            counted, found = count(replayed), behaviour_counts(problem, text)
            assert found["verification"] == counted.honest_checks
            assert found["backtracking"] == counted.backtracks
            assert found["alternative"] == counted.alternatives
            assert found["repetition"] == counted.repeats
            assert found["self-correction"] <= (replayed.reason in (Reason.MATCH, Reason.MISMATCH))

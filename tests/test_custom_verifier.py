"""The user's own verifier: it runs in workers, and its bugs stop the run."""

from __future__ import annotations

import os
from importlib.metadata import EntryPoint, EntryPoints

import pytest

from rlsp.errors import InputError
from rlsp.types import Problem, Reason, Verdict
from rlsp.verifiers import custom, verifier_for, verify, verify_all
from rlsp.verifiers.settings import Settings

HERE = "tests.custom_verifiers"
IMPATIENT = Settings(deadline_seconds=0.5)


def problem(function: str, **grading: int) -> Problem:
    return Problem("mine/1", f"{HERE}:{function}", "What?", "4", grading=grading)


def test_a_truth_value_becomes_a_verdict_on_the_marked_answer() -> None:
    right, wrong = verify_all([problem("equal")] * 2, ["Answer: 4", "Answer: 5"])
    assert right == Verdict(True, "4", Reason.MATCH, "4")
    assert wrong == Verdict(False, "5", Reason.MISMATCH, "4")


def test_a_verdict_is_taken_as_it_is() -> None:
    verdict = verify(problem("graded", budget=3), "long")
    assert verdict == Verdict(False, "4", Reason.MISMATCH, detail="length")


def test_it_runs_in_another_process() -> None:
    assert verify(problem("elsewhere"), str(os.getpid())).correct


def test_late_dead_and_greedy_items_cost_themselves_alone() -> None:
    responses = ["sleep", "fine", "die", "fine", "eat", "fine"]
    verdicts = verify_all([problem("moody")] * len(responses), responses, IMPATIENT)
    fine = Reason.MATCH
    assert [verdict.reason for verdict in verdicts] == [
        Reason.TIMEOUT,
        fine,
        Reason.CRASHED,
        fine,
        Reason.OUT_OF_MEMORY,
        fine,
    ]
    assert [verdict.correct for verdict in verdicts] == [False, True] * 3
    assert verdicts[0].detail == "no result within 0.5 s"


@pytest.mark.parametrize(
    ("function", "message"),
    [
        ("faulty", r"verifier .*:faulty failed on problem mine/1: KeyError: 'x' \(.*custom_verifiers.py:\d+\)"),
        ("numeric", "verifier .*:numeric returned a float for problem mine/1; let it return a Verdict, True or False"),
        ("absent", "verifier .*:absent returned a NoneType for problem mine/1"),
        ("unreadable", "verifier .*:unreadable failed on problem mine/1: InputError: not a Verdict: answer"),
        ("missing", "verifier .*:missing': AttributeError: module .* has no attribute 'missing'"),
        ("NOT_A_FUNCTION", "verifier .*:NOT_A_FUNCTION failed on problem mine/1: TypeError"),
    ],
)
def test_a_bug_of_the_function_stops_the_run(function: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        verify(problem(function), "x")


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ("no_such_module:judge", "no module 'no_such_module'; write package.module:function"),
        ("no_such_package.module:judge", "no module 'no_such_package.module'"),
        ("tests.custom_verifiers:", "names no function"),
        (":judge", "names no function"),
    ],
)
def test_a_path_to_nothing_is_an_error(task: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        verify(Problem("mine/1", task, "What?", "4"), "4")


def test_an_entry_point_names_a_verifier(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = EntryPoints([EntryPoint("mine", f"{HERE}:equal", custom.GROUP)])
    monkeypatch.setattr(custom, "entry_points", lambda group: installed.select(group=group))
    assert verify(Problem("mine/1", "mine", "What?", "4"), "Answer: 4").correct
    with pytest.raises(InputError, match=r"no verifier for task 'yours'; known: countdown, .*, mine; or your own as"):
        verifier_for("yours")

"""Grounded behaviours against traces counted by hand."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from rlsp.behaviours.grounded import Behaviours, count, rates
from rlsp.tasks import chain_sum, countdown, replayer
from rlsp.types import Finish, Problem, Rollout

THREE = countdown.problem((3, 7, 12), 33)
FOUR = countdown.problem((2, 3, 4, 5), 14)
CHAIN = chain_sum.problem((("+", 12), ("+", 5), ("-", 3)))


def counted(problem: Problem, *lines: str) -> Behaviours:
    replay = replayer(problem.task)
    assert replay is not None
    return count(replay(problem, "\n".join(lines)))


HAND_COUNTED = {
    "nothing": (THREE, [""], Behaviours()),
    "one right line": (THREE, ["3 * 7 = 21, 21 + 12 = 33"], Behaviours(attempts=1, true_attempts=1, hits=1)),
    "search: attempt, check, give up, another": (
        THREE,
        ["3 + 7 = 10, 10 + 12 = 22; is it 33? no", "3 * 7 = 21, 21 + 12 = 33; is it 33? yes"],
        Behaviours(
            attempts=2, true_attempts=2, hits=1, checks=2, honest_checks=2, backtracks=1, alternatives=1, searched=2
        ),
    ),
    "another line after the same first step": (
        THREE,
        ["3 * 7 = 21, 21 - 12 = 9; is it 33? no", "3 * 7 = 21, 21 + 12 = 33; is it 33? yes"],
        Behaviours(attempts=2, true_attempts=2, hits=1, checks=2, honest_checks=2, backtracks=1, searched=2),
    ),
    "a repeat with its operands the other way round": (
        THREE,
        [
            "3 * 7 = 21, 21 - 12 = 9; is it 33? no",
            "7 * 3 = 21, 21 - 12 = 9; is it 33? no",
            "3 * 7 = 21, 12 + 21 = 33; is it 33? yes",
        ],
        Behaviours(attempts=3, true_attempts=3, hits=1, checks=3, honest_checks=3, backtracks=1, repeats=1, searched=2),
    ),
    "the same line again is no backtrack": (
        THREE,
        ["3 * 7 = 21, 21 - 12 = 9; is it 33? no"] * 3,
        Behaviours(attempts=3, true_attempts=3, checks=3, honest_checks=3, repeats=2, searched=1),
    ),
    "back to a line before the last": (
        THREE,
        [
            "3 * 7 = 21, 21 - 12 = 9; is it 33? no",
            "3 + 7 = 10, 10 + 12 = 22; is it 33? no",
            "3 * 7 = 21, 21 - 12 = 9; is it 33? no",
        ],
        Behaviours(
            attempts=3, true_attempts=3, checks=3, honest_checks=3, backtracks=2, alternatives=1, repeats=1, searched=2
        ),
    ),
    "right line rejected, wrong line accepted": (
        THREE,
        ["3 * 7 = 21, 21 + 12 = 33; is it 33? no", "3 + 12 = 15, 15 + 7 = 22; is it 33? yes"],
        Behaviours(
            attempts=2,
            true_attempts=2,
            hits=1,
            checks=2,
            backtracks=1,
            alternatives=1,
            right_rejected=1,
            wrong_accepted=1,
        ),
    ),
    "a check of another number is dishonest": (
        THREE,
        ["3 + 7 = 10, 10 + 12 = 22; is it 22? yes"],
        Behaviours(attempts=1, true_attempts=1, checks=1, wrong_accepted=1),
    ),
    "arithmetic bent to the target": (
        THREE,
        ["3 + 7 = 10, 10 + 12 = 33; is it 33? yes"],
        Behaviours(attempts=1, checks=1, wrong_accepted=1),
    ),
    "false arithmetic given up": (
        THREE,
        ["3 * 7 = 22, 22 + 12 = 34; is it 33? no", "3 * 7 = 21, 21 + 12 = 33; is it 33? yes"],
        Behaviours(attempts=2, true_attempts=1, hits=1, checks=2, honest_checks=2, repeats=1),
    ),
    "going on without a check is no backtrack": (
        THREE,
        ["3 + 7 = 10, 10 + 12 = 22", "3 * 7 = 21, 21 + 12 = 33"],
        Behaviours(attempts=2, true_attempts=2, hits=1, alternatives=1),
    ),
    "going on after success is no backtrack": (
        THREE,
        ["3 * 7 = 21, 21 + 12 = 33; is it 33? yes", "3 + 7 = 10, 10 + 12 = 22; is it 33? no"],
        Behaviours(attempts=2, true_attempts=2, hits=1, checks=2, honest_checks=2, alternatives=1, searched=2),
    ),
    "one derivation with its steps in another order": (
        FOUR,
        [
            "2 * 3 = 6, 4 * 5 = 20, 20 - 6 = 14; is it 14? no",
            "5 * 4 = 20, 2 * 3 = 6, 20 - 6 = 14; is it 14? yes",
        ],
        Behaviours(attempts=2, true_attempts=2, hits=2, checks=2, honest_checks=1, repeats=1, right_rejected=1),
    ),
    "a number used twice is no search": (
        THREE,
        ["3 * 7 = 21, 21 + 7 = 28; is it 33? no", "3 * 7 = 21; is it 33? no"],
        Behaviours(attempts=2, true_attempts=2, checks=2, honest_checks=2, backtracks=1),
    ),
    "an unfinished first line": (THREE, ["3 * 7 = 21, 21 +"], Behaviours(attempts=1, unreadable=1)),
    "chain sum: misread, undone, given up, done": (
        CHAIN,
        [
            "12 + 5 = 17, 17 - 2 = 15; back 15 + 3 = 18, 18 - 5 = 13; is it 12? no",
            "12 + 5 = 17, 17 - 3 = 14; back 14 + 3 = 17, 17 - 5 = 12; is it 12? yes",
        ],
        Behaviours(attempts=2, true_attempts=2, hits=1, checks=2, honest_checks=2, backtracks=1, searched=1),
    ),
    "chain sum: checks that recompute nothing": (
        CHAIN,
        [
            "12 + 4 = 16, 16 - 3 = 13; is it 12? no",
            "12 + 5 = 17, 17 - 3 = 14; is it 12? no",
            "12 + 5 = 17, 17 - 2 = 15; back 15 + 2 = 17, 17 - 5 = 12; is it 12? yes",
        ],
        Behaviours(
            attempts=3,
            true_attempts=3,
            hits=1,
            checks=3,
            backtracks=2,
            alternatives=1,
            right_rejected=1,
            wrong_accepted=1,
        ),
    ),
}


@pytest.mark.parametrize(("problem", "lines", "expected"), HAND_COUNTED.values(), ids=HAND_COUNTED)
def test_counts(problem: Problem, lines: list[str], expected: Behaviours) -> None:
    assert asdict(counted(problem, *lines)) == asdict(expected)


GIVEN_UP = "3 * 7 = 21, 21 - 12 = 9; is it 33? no"


@pytest.mark.parametrize("last", ["3 * 7 = 21, 21 +", "3 +", "Wait, let me try another way."])
def test_a_line_that_derives_nothing_is_no_behaviour(last: str) -> None:
    expected = Behaviours(attempts=2, unreadable=1, true_attempts=1, checks=1, honest_checks=1, searched=1)
    assert asdict(counted(THREE, GIVEN_UP, last)) == asdict(expected)


def test_prose_repeats_nothing() -> None:
    behaviours = counted(THREE, "Hmm.", "Wait.", "Alternatively.")
    assert (behaviours.backtracks, behaviours.alternatives, behaviours.repeats) == (0, 0, 0)


def test_the_first_derivation_is_no_alternative_to_prose() -> None:
    assert counted(THREE, "Let me see.", "3 * 7 = 21, 21 + 12 = 33").alternatives == 0


def test_prose_in_between_does_not_hide_a_backtrack() -> None:
    behaviours = counted(THREE, GIVEN_UP, "Wait.", "3 * 7 = 21, 21 + 12 = 33")
    assert behaviours.backtracks == 1


def rollout(problem: Problem, *lines: str) -> Rollout:
    return Rollout(problem.id, 0, (1,), (2,), (-0.1,), "\n".join(lines), Finish.EOS, 1.0, 0)


def test_rates_are_means_a_response_and_shares_of_what_there_is() -> None:
    rollouts = [
        rollout(THREE, "3 + 7 = 10, 10 + 12 = 22; is it 33? no", "3 * 7 = 21, 21 + 12 = 33; is it 33? yes"),
        rollout(THREE, "3 + 7 = 11, 11 + 12 = 23; is it 33? yes"),
        rollout(CHAIN, "12 + 5 = 17, 17 - 3 = 14; is it 12? yes"),
        rollout(CHAIN, ""),
    ]
    measured = rates([CHAIN, THREE], rollouts)
    assert measured == pytest.approx(
        {
            "attempts": 4 / 4,
            "unreadable": 0,
            "true_attempts": 3 / 4,
            "hits": 2 / 4,
            "checks": 4 / 4,
            "honest_checks": 2 / 4,
            "backtracks": 1 / 4,
            "alternatives": 1 / 4,
            "repeats": 0,
            "searched": 2 / 4,
            "right_rejected": 0,
            "wrong_accepted": 1 / 4,
            "honest_share": 2 / 4,
            "true_share": 3 / 4,
        }
    )


def test_no_share_without_anything_to_share() -> None:
    unchecked = rates([THREE], [rollout(THREE, "3 * 7 = 21, 21 + 12 = 33")])
    assert "honest_share" not in unchecked
    assert unchecked["true_share"] == 1
    assert "true_share" not in rates([THREE], [rollout(THREE, "")])


def test_free_text_has_no_grounded_behaviours() -> None:
    problem = Problem("mine/1", "math", "q", "1")
    assert rates([problem], [rollout(problem, "Wait, let me check. 3 * 7 = 21")]) == {}
    assert rates([], []) == {}

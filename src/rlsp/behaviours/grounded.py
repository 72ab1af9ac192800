"""Behaviours counted by executing the reasoning, on tasks whose steps a machine can check. Words prove nothing here:
a check must really recompute, a backtrack must really leave the branch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from rlsp.behaviours.spans import Behaviour, Span
from rlsp.tasks import replayer
from rlsp.tasks.traces import Attempt, Replay
from rlsp.types import Problem, Rollout


@dataclass(frozen=True, slots=True)
class Behaviours:
    """Counts in one response.

    attempts: lines of reasoning. unreadable: those outside the language of steps, such as a line that the token
    budget cut off. true_attempts: those whose every step is true arithmetic. hits: those that solve the problem.
    checks: attempts followed by a check (verification). honest_checks: checks that recompute what they should and
    whose verdict is true. backtracks: attempts that leave a line which was given up, for another derivation.
    alternatives: attempts that begin with a first step no earlier attempt began with. repeats: attempts that derive
    again what an earlier one derived. searched: attempts that no earlier one derived, of true arithmetic on the
    problem's numbers, with an honest check. right_rejected: attempts that solve the problem and were given up.
    wrong_accepted: attempts that don't and passed their check. A line that departs from the trace language is an
    attempt and nothing else.
    """

    attempts: int = 0
    unreadable: int = 0
    true_attempts: int = 0
    hits: int = 0
    checks: int = 0
    honest_checks: int = 0
    backtracks: int = 0
    alternatives: int = 0
    repeats: int = 0
    searched: int = 0
    right_rejected: int = 0
    wrong_accepted: int = 0


def count(replay: Replay) -> Behaviours:
    """The behaviours of one replayed response."""
    attempts = replay.attempts
    keys: set[str] = set()
    first_steps: set[str] = set()
    backtracks = alternatives = repeats = searched = 0
    readable = [attempt for attempt in attempts if attempt.line.well_formed]
    for before, attempt in zip((None, *readable), readable, strict=False):
        backtracks += before is not None and before.line.accepted is False and attempt.key != before.key
        alternatives += before is not None and attempt.first_step not in first_steps and attempt.key not in keys
        repeats += attempt.key in keys
        searched += attempt.steps_true and attempt.legal and attempt.honest_check is True and attempt.key not in keys
        keys.add(attempt.key)
        first_steps.add(attempt.first_step)
    return Behaviours(
        attempts=len(attempts),
        unreadable=len(attempts) - len(readable),
        true_attempts=sum(attempt.steps_true for attempt in attempts),
        hits=sum(attempt.solves for attempt in attempts),
        checks=sum(attempt.honest_check is not None for attempt in attempts),
        honest_checks=sum(attempt.honest_check is True for attempt in attempts),
        backtracks=backtracks,
        alternatives=alternatives,
        repeats=repeats,
        searched=searched,
        right_rejected=sum(attempt.solves and attempt.line.accepted is False for attempt in attempts),
        wrong_accepted=sum(not attempt.solves and attempt.line.accepted is True for attempt in attempts),
    )


FOUND = (
    Behaviour.VERIFICATION,
    Behaviour.BACKTRACKING,
    Behaviour.SELF_CORRECTION,
    Behaviour.ALTERNATIVE,
    Behaviour.BACKWARD_CHAINING,
    Behaviour.REPETITION,
)
"""What the language of steps can express: it has no words to announce a subgoal with."""


def spans(replay: Replay) -> list[Span]:
    """Where the replayed response shows which behaviour, in its order.

    A verification is an honest check, and a backward chaining the steps of one that work backwards; a self-correction
    is the answer, where its line comes after one with another result that an honest check gave up. The other behaviours
    are lines, without their checks, as `Behaviours` counts them.
    """
    found = []
    keys: set[str] = set()
    first_steps: set[str] = set()
    given_up: set[int] = set()
    before: Attempt | None = None
    readable = [attempt for attempt in replay.attempts if attempt.line.well_formed]
    for attempt in readable:
        line = attempt.line
        shown = []
        if before is not None and before.line.accepted is False and attempt.key != before.key:
            shown.append(Behaviour.BACKTRACKING)
        if before is not None and attempt.first_step not in first_steps and attempt.key not in keys:
            shown.append(Behaviour.ALTERNATIVE)
        if attempt.key in keys:
            shown.append(Behaviour.REPETITION)
        if attempt is replay.attempts[-1] and replay.answer and given_up - {line.steps[-1].result}:
            shown.append(Behaviour.SELF_CORRECTION)
        found += [Span(behaviour, line.start, line.check_start) for behaviour in shown]
        if attempt.honest_check:
            found.append(Span(Behaviour.VERIFICATION, line.check_start, line.end))
            if line.back:
                found.append(Span(Behaviour.BACKWARD_CHAINING, line.check_start, line.end))
            if line.accepted is False:
                given_up.add(line.steps[-1].result)
        keys.add(attempt.key)
        first_steps.add(attempt.first_step)
        before = attempt
    return found


def rates(problems: Sequence[Problem], rollouts: Sequence[Rollout]) -> dict[str, float]:
    """Mean count of each behaviour a response, `honest_share` of the checks and `true_share` of the readable
    attempts; empty for tasks that can't be replayed. `problems` must hold each rollout's problem."""
    by_id = {problem.id: problem for problem in problems}
    counted = []
    for rollout in rollouts:
        problem = by_id[rollout.problem_id]
        if replay := replayer(problem.task):
            counted.append(asdict(count(replay(problem, rollout.text))))
    if not counted:
        return {}
    sums = {name: sum(each[name] for each in counted) for name in counted[0]}
    shares = {}
    if sums["checks"]:
        shares["honest_share"] = sums["honest_checks"] / sums["checks"]
    if readable := sums["attempts"] - sums["unreadable"]:
        shares["true_share"] = sums["true_attempts"] / readable
    return {name: total / len(counted) for name, total in sums.items()} | shares

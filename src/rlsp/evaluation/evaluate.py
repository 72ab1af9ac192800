"""Summaries of judged rollouts, and self-consistency at the same number of generated tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from rlsp.behaviours.grounded import rates
from rlsp.evaluation.statistics import Interval, majority, wilson
from rlsp.types import Problem, Rollout, Score

ORDER = ("base", "self-consistency", "sft", "rlsp")


def place(name: str) -> int:
    """Where an evaluation stands in the order of the method; others come last."""
    return ORDER.index(name) if name in ORDER else len(ORDER)


@dataclass(frozen=True, slots=True)
class LevelSummary:
    problems: int
    accuracy: float
    interval: Interval
    mean_tokens: float


@dataclass(frozen=True, slots=True)
class Summary:
    """One row of the results. `mean_tokens` is what was generated per problem; `votes` the samples per problem of a
    majority vote, None for a single sample; `behaviours` are mean counts a response."""

    name: str
    label: str
    problems: int
    accuracy: float
    interval: Interval
    mean_tokens: float
    truncated: float
    votes: float | None
    behaviours: dict[str, float]
    by_level: dict[int, LevelSummary]

    def __post_init__(self) -> None:
        shares = (self.accuracy, *self.interval, self.truncated)
        if self.problems < 1 or not all(0 <= share <= 1 for share in shares) or not 0 <= self.mean_tokens < inf:
            raise ValueError("a summary has problems, shares from 0 to 1 and a finite length")


@dataclass(frozen=True, slots=True)
class _Answered:
    """How one problem came out."""

    problem: Problem
    correct: bool
    tokens: int


def summarise(
    name: str, label: str, problems: Sequence[Problem], rollouts: Sequence[Rollout], scores: Sequence[Score]
) -> Summary:
    """pass@1 of one rollout a problem, in the problems' order."""
    answered = [
        _Answered(problem, score.verdict.correct, rollout.length)
        for problem, rollout, score in zip(problems, rollouts, scores, strict=True)
    ]
    return _summary(name, label, answered, rollouts, None)


def self_consistency(
    name: str,
    label: str,
    problems: Sequence[Problem],
    rollouts: Sequence[Rollout],
    scores: Sequence[Score],
    token_budget: int,
) -> Summary:
    """Majority vote over as many samples as the budget pays for.

    Rollouts are ordered by problem, then sample. Samples are taken in rounds, one a problem, until their tokens reach
    `token_budget`; the last round may cover only the first problems.

    Raises:
        ValueError: all the samples together do not reach the budget.
    """
    samples, rest = divmod(len(rollouts), len(problems))
    if rest or any(r.problem_id != problems[i // samples].id for i, r in enumerate(rollouts)):
        raise ValueError("rollouts must be ordered by problem, the same number of each")
    kept: list[list[int]] = [[] for _ in problems]
    spent = 0
    for position in range(len(rollouts)):
        if spent >= token_budget:
            break
        sample, row = divmod(position, len(problems))
        index = row * samples + sample
        kept[row].append(index)
        spent += rollouts[index].length
    else:
        if spent < token_budget:
            raise ValueError(f"{len(rollouts)} samples hold {spent} tokens, the budget is {token_budget}")
    answered = []
    for problem, indices in zip(problems, kept, strict=True):
        winner = majority([scores[index].verdict.answer for index in indices])
        correct = winner is not None and scores[indices[winner]].verdict.correct
        answered.append(_Answered(problem, correct, sum(rollouts[index].length for index in indices)))
    used = [rollouts[index] for indices in kept for index in indices]
    votes = len(used) / len(problems)
    return _summary(name, f"{label} of {votes:.1f}", answered, used, votes)


def _summary(
    name: str, label: str, answered: Sequence[_Answered], rollouts: Sequence[Rollout], votes: float | None
) -> Summary:
    overall = _level(answered)
    levels = sorted({each.problem.level for each in answered})
    return Summary(
        name=name,
        label=label,
        problems=overall.problems,
        accuracy=overall.accuracy,
        interval=overall.interval,
        mean_tokens=overall.mean_tokens,
        truncated=sum(rollout.truncated for rollout in rollouts) / len(rollouts),
        votes=votes,
        behaviours=rates([each.problem for each in answered], rollouts),
        by_level={level: _level([each for each in answered if each.problem.level == level]) for level in levels},
    )


def _level(answered: Sequence[_Answered]) -> LevelSummary:
    correct = sum(each.correct for each in answered)
    return LevelSummary(
        problems=len(answered),
        accuracy=correct / len(answered),
        interval=wilson(correct, len(answered)),
        mean_tokens=sum(each.tokens for each in answered) / len(answered),
    )

"""Dynamic sampling (DAPO: Yu et al., arXiv 2503.14476, section 3.2): problems whose rollouts all earned the same teach
a group-relative algorithm nothing, so others are asked in their place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rlsp.types import Problem, Rollout, Score

Ask = Callable[[Sequence[Problem]], tuple[list[Rollout], list[Score]]]
"""Rollouts of each problem, ordered by problem, with their scores."""


class Reserve:
    """Problems to draw replacements from, in turn and over again."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems, self.position = problems, 0

    def take(self, count: int, used: set[str]) -> list[Problem]:
        """Up to `count` different problems whose ids are not in `used`; fewer when there are no more."""
        taken: dict[str, Problem] = {}
        for _ in range(len(self.problems)):
            if len(taken) == count:
                break
            problem = self.problems[self.position % len(self.problems)]
            self.position += 1
            if problem.id not in used:
                taken.setdefault(problem.id, problem)
        return list(taken.values())


@dataclass(frozen=True, slots=True)
class Group:
    """One problem's rollouts and their scores."""

    problem: Problem
    rollouts: list[Rollout]
    scores: list[Score]

    def settled(self, mask_truncated: bool) -> bool:
        """Whether those that are in the loss have no two different totals."""
        totals = {
            score.total
            for rollout, score in zip(self.rollouts, self.scores, strict=True)
            if score.total is not None and not (mask_truncated and rollout.truncated)
        }
        return len(totals) < 2


def resample(
    groups: Sequence[Group], reserve: Reserve, rounds: int, ask: Ask, mask_truncated: bool
) -> tuple[list[Group], dict[str, float]]:
    """Settled groups are replaced by those of other problems, up to `rounds` times, or until the reserve has no problem
    that this step has not seen. What is settled then stays: it adds nothing to the gradient, and training goes on.

    Returns:
        (the groups in their places, metrics: accuracy over everything drawn, groups and tokens that were replaced).
    """
    kept, drawn, used = list(groups), list(groups), {group.problem.id for group in groups}
    for _ in range(rounds):
        places = [place for place, group in enumerate(kept) if group.settled(mask_truncated)]
        if not places or not (others := reserve.take(len(places), used)):
            break
        used |= {problem.id for problem in others}
        new = grouped(others, *ask(others))
        drawn += new
        for place, group in zip(places, new, strict=False):
            kept[place] = group
    verdicts = [score.verdict.correct for group in drawn for score in group.scores]
    tokens, remaining = (sum(each.length for group in side for each in group.rollouts) for side in (drawn, kept))
    return kept, {
        "accuracy_drawn": sum(verdicts) / len(verdicts),
        "replaced_groups": len(drawn) - len(kept),
        "replaced_tokens": tokens - remaining,
    }


def grouped(problems: Sequence[Problem], rollouts: Sequence[Rollout], scores: Sequence[Score]) -> list[Group]:
    """The rollouts apart by problem; each has as many."""
    size = len(rollouts) // len(problems)
    spans = [slice(start, start + size) for start in range(0, len(rollouts), size)]
    return [
        Group(problem, list(rollouts[span]), list(scores[span])) for problem, span in zip(problems, spans, strict=True)
    ]


def flattened(groups: Sequence[Group]) -> tuple[list[Problem], list[Rollout], list[Score]]:
    """The problems, and the rollouts and scores of all of them in order."""
    return (
        [group.problem for group in groups],
        [rollout for group in groups for rollout in group.rollouts],
        [score for group in groups for score in group.scores],
    )

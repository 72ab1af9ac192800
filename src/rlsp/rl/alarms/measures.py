"""One step in numbers: a value for each metric that the alarms look at, and the rollouts that show it best."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, pstdev

from rlsp.rl.alarms.marks import Mark, marks
from rlsp.types import Problem, Proof, Rollout, Score

PROOFS = 3
EXCERPT = 600
"""Characters of an excerpt."""
CONSTANT = 0.98
"""A share of right verdicts that stands for all: a broken verifier may still time out on some."""
FEWEST_ROLLOUTS = 16
"""A step with fewer rollouts can't tell a constant verifier."""
FEWEST_EACH = 5
"""Two kinds of rollouts are compared when a step has so many of each."""

Pair = tuple[Rollout, Score]
Column = list[tuple[Rollout, Mark]]
"""The marks of one metric."""


@dataclass(frozen=True, slots=True)
class Example:
    """A rollout that shows a metric; a larger `clear` shows it better."""

    clear: float
    proof: Proof


@dataclass(frozen=True, slots=True)
class Measured:
    """The values of one step by metric, and the best examples of each, the clearest first."""

    values: Mapping[str, float]
    examples: Mapping[str, list[Example]]


def measure(
    step: int,
    problems: Sequence[Problem],
    rollouts: Sequence[Rollout],
    scores: Sequence[Score],
    weights: Mapping[str, float],
) -> Measured:
    """`problems` must hold each rollout's problem; `weights` are those of the paid parts whose share of the reward is
    watched. A metric without anything to measure in this step is left out."""
    by_id = {problem.id: problem for problem in problems}
    pairs = list(zip(rollouts, scores, strict=True))
    columns: dict[str, Column] = defaultdict(list)
    for rollout, score in pairs:
        for metric, mark in marks(by_id[rollout.problem_id], rollout, score):
            columns[metric].append((rollout, mark))
    values = {
        metric: sum(mark.amount for _, mark in column) / total
        for metric, column in columns.items()
        if (total := sum(mark.of for _, mark in column))
    }
    examples = {metric: _best(step, column) for metric, column in columns.items()}
    for metric, value, column in _of_batch(pairs, weights):
        values[metric], examples[metric] = value, _best(step, column)
    return Measured(values, examples)


def _best(step: int, column: Column) -> list[Example]:
    return clearest(
        Example(mark.clear, Proof(step, rollout.problem_id, rollout.sample, mark.why, excerpt(rollout.text)))
        for rollout, mark in column
        if mark.clear > 0
    )


def clearest(examples: Iterable[Example]) -> list[Example]:
    """The PROOFS best, each of another problem where there are so many."""
    ranked = sorted(examples, key=lambda each: -each.clear)
    best = {each.proof.problem_id: each for each in reversed(ranked)}
    first = [each for each in ranked if each is best[each.proof.problem_id]]
    others = [each for each in ranked if each is not best[each.proof.problem_id]]
    return (first + others)[:PROOFS]


def excerpt(text: str) -> str:
    """The text, or both its ends when it is longer than EXCERPT characters."""
    half = EXCERPT // 2
    return text if len(text) <= EXCERPT else f"{text[:half]} … {text[-half:]}"


def _of_batch(pairs: Sequence[Pair], weights: Mapping[str, float]) -> Iterator[tuple[str, float, Column]]:
    yield from _reward_shares(pairs, weights)
    judged = [pair for pair in pairs if not pair[1].verdict.reason.unjudged]
    wrong = [pair for pair in judged if not pair[1].verdict.correct]
    right = [pair for pair in judged if pair[1].verdict.correct]
    unjudged = [pair for pair in pairs if pair[1].verdict.reason.unjudged]
    yield from _gap("judge_gap", wrong, right, lambda score: score.exploration.parts.get("judge"), "the judge gave")
    yield from _gap("unjudged_gap", unjudged, wrong, lambda score: score.total, "unjudged, it earned")
    yield from _constant(judged)


def _reward_shares(pairs: Sequence[Pair], weights: Mapping[str, float]) -> Iterator[tuple[str, float, Column]]:
    """Cov(part, reward)/Var(reward): the shares of all summands of Eq. 1 add up to 1, before its clamp."""
    for name, weight in weights.items():
        known = [(rollout, score) for rollout, score in pairs if score.exploration.value is not None]
        totals = [_before_clamp(score) for _, score in known]
        paid = [(1 - score.alpha) * weight * score.exploration.parts[name] for _, score in known]
        if len(known) < FEWEST_ROLLOUTS or (variance := _covariance(totals, totals)) <= 1e-12:
            continue
        lowest = min(totals)
        column = [
            (rollout, Mark(0, 1, (total - lowest) * (not score.verdict.correct), _paid_wrong(total, name, part)))
            for (rollout, score), total, part in zip(known, totals, paid, strict=True)
        ]
        yield f"reward_share/{name}", _covariance(paid, totals) / variance, column


def _before_clamp(score: Score) -> float:
    assert score.exploration.value is not None
    return score.alpha * score.verdict.correct + (1 - score.alpha) * score.exploration.value


def _paid_wrong(total: float, name: str, part: float) -> str:
    return f"wrong, and among the best paid of the wrong ones: reward {total:.3g}, of it {part:.3g} for {name}"


def _gap(
    metric: str, suspects: Sequence[Pair], others: Sequence[Pair], value: Callable[[Score], float | None], what: str
) -> Iterator[tuple[str, float, Column]]:
    """By how many standard deviations the suspects have more than the others, where a step has enough of both."""
    mine = [(rollout, found) for rollout, score in suspects if (found := value(score)) is not None]
    theirs = [found for _, score in others if (found := value(score)) is not None]
    if min(len(mine), len(theirs)) < FEWEST_EACH:
        return
    spread = pstdev([found for _, found in mine] + theirs)
    mean = fmean(theirs)
    column = [
        (rollout, Mark(0, 1, found - mean, f"{what} {found:.3g}; the mean of those it should lie below is {mean:.3g}"))
        for rollout, found in mine
    ]
    yield metric, (fmean(found for _, found in mine) - mean) / spread if spread else 0.0, column


def _constant(judged: Sequence[Pair]) -> Iterator[tuple[str, float, Column]]:
    """The share of problems whose rollouts gave different answers under one verdict: when all rollouts of the step
    have that verdict, else 0."""
    groups: dict[str, list[Pair]] = defaultdict(list)
    for pair in judged:
        groups[pair[0].problem_id].append(pair)
    several = [group for group in groups.values() if len(group) > 1]
    if len(judged) < FEWEST_ROLLOUTS or not several:
        return
    right = fmean(score.verdict.correct for _, score in judged)
    verdict = right >= CONSTANT
    if not verdict and right > 0:
        yield "disagreeing_under_one_verdict", 0.0, []
        return
    disagreeing = [_answers(group, verdict) for group in several]
    share = fmean(len(answers) > 1 for answers in disagreeing)
    most = max(disagreeing, key=len)
    word = "right" if verdict else "wrong"
    column = [
        (rollout, Mark(0, 1, len(most), f"judged {word}, like {len(most) - 1} other answers to its problem: {answer}"))
        for answer, rollout in most.items()
    ]
    yield "disagreeing_under_one_verdict", share, column


def _answers(group: Sequence[Pair], verdict: bool) -> dict[str, Rollout]:
    """The different answers of one problem that have the verdict. Where the verifier names none, the last line of a
    response that came to its end is its answer."""
    return {
        score.verdict.answer or (rollout.text.strip().splitlines() or [""])[-1][:80]: rollout
        for rollout, score in group
        if score.verdict.correct is verdict and (score.verdict.answer or not rollout.truncated)
    }


def _covariance(first: Sequence[float], second: Sequence[float]) -> float:
    mean_first, mean_second = fmean(first), fmean(second)
    return fmean((x - mean_first) * (y - mean_second) for x, y in zip(first, second, strict=True))

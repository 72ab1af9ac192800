"""One step in numbers: a value for each metric that the alarms look at, and the rollouts that show it best."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, pstdev, stdev

from rlsp.reward import clamped, parts
from rlsp.rl.alarms.marks import Mark, marks
from rlsp.tasks import replayer
from rlsp.types import Problem, Proof, Rollout, Score

PROOFS = 3
EXCERPT = 600
"""Characters of an excerpt."""
CONSTANT = 0.98
"""A share of right verdicts that stands for all: a broken verifier may still time out on some."""
FEWEST_ROLLOUTS = 16
"""A step with fewer rollouts can't tell a constant verifier."""
FEWEST_EACH = 5
"""Two kinds of rollouts are compared when a step has so many of each, or so many problems that drew both."""

Pair = tuple[Rollout, Score]
Column = list[tuple[Rollout, Mark]]
"""The marks of one metric."""


@dataclass(frozen=True, slots=True)
class Example:
    """A rollout that shows a metric; a larger `clear` shows it better."""

    clear: float
    proof: Proof


@dataclass(frozen=True, slots=True)
class Found:
    """A metric of the whole batch; `error` is the standard error of a gap, whose value is an estimate."""

    metric: str
    value: float
    column: Column
    error: float = 0.0


@dataclass(frozen=True, slots=True)
class Measured:
    """The values of one step by metric, the standard errors of the gaps among them, and the best examples of each
    metric, the clearest first."""

    values: Mapping[str, float]
    errors: Mapping[str, float]
    examples: Mapping[str, list[Example]]


def measure(
    step: int,
    problems: Sequence[Problem],
    rollouts: Sequence[Rollout],
    scores: Sequence[Score],
    weights: Mapping[str, float],
    clamp: float,
) -> Measured:
    """`problems` must hold each rollout's problem; `weights` are those of the paid parts whose share of the reward,
    which `clamp` bounds, is watched. A metric without anything to measure in this step is left out."""
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
    found = list(_of_batch(pairs, by_id, weights, clamp))
    values |= {each.metric: each.value for each in found}
    examples |= {each.metric: _best(step, each.column) for each in found}
    return Measured(values, {each.metric: each.error for each in found}, examples)


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


def _of_batch(
    pairs: Sequence[Pair], by_id: Mapping[str, Problem], weights: Mapping[str, float], clamp: float
) -> Iterator[Found]:
    yield from _reward_shares(pairs, weights, clamp)
    judged = [pair for pair in pairs if not pair[1].verdict.reason.unjudged]
    wrong = [pair for pair in judged if not pair[1].verdict.correct]
    right = [pair for pair in judged if pair[1].verdict.correct]
    unjudged = [pair for pair in pairs if pair[1].verdict.reason.unjudged]
    yield from _gap("judge_gap", wrong, right, lambda score: score.exploration.parts.get("judge"), "the judge gave")
    yield from _gap("unjudged_gap", unjudged, wrong, lambda score: score.total, "unjudged, it earned")
    yield from _constant(judged, by_id)


def _reward_shares(pairs: Sequence[Pair], weights: Mapping[str, float], clamp: float) -> Iterator[Found]:
    """Cov(what the part moves the reward by, reward)/Var(reward), as if half of the rollouts were right: otherwise a
    policy that is still rarely right would look like a reward that hardly pays for it. Where nothing is clamped, the
    shares of all summands of Eq. 1 add up to 1."""
    known = [(rollout, score) for rollout, score in pairs if score.total is not None]
    right = [score.verdict.correct for _, score in known]
    if min(right.count(True), right.count(False)) < FEWEST_EACH:
        return
    masses = [0.5 / right.count(each) for each in right]
    totals = [score.total or 0.0 for _, score in known]
    if (variance := _covariance(totals, totals, masses)) <= 1e-12:
        return
    lowest = min(totals)
    for name, weight in weights.items():
        moved = [_moved(score, weight * score.exploration.parts[name], clamp) for _, score in known]
        column = [
            (rollout, Mark(0, 1, (total - lowest) * (not score.verdict.correct), _paid_wrong(total, name, part)))
            for (rollout, score), total, part in zip(known, totals, moved, strict=True)
        ]
        yield Found(f"reward_share/{name}", _covariance(moved, totals, masses) / variance, column)


def _moved(score: Score, explored: float, clamp: float) -> float:
    """By how much the reward, clamped, would differ without the part, which gave `explored` to R_ex: a part can't move
    it further than the clamp lets it, however large its outliers."""
    assert score.exploration.value is not None and score.total is not None
    rest = sum(parts(score.verdict, score.exploration.value - explored, score.alpha))
    return score.total - clamped(rest, clamp)


def _paid_wrong(total: float, name: str, part: float) -> str:
    return f"wrong, and among the best paid of the wrong ones: reward {total:.3g}, of it {part:.3g} for {name}"


def _gap(
    metric: str, suspects: Sequence[Pair], others: Sequence[Pair], value: Callable[[Score], float | None], what: str
) -> Iterator[Found]:
    """By how many standard deviations the suspects have more than the others of the same problem, over the problems
    that have both: what differs between problems, such as the effort that a hard one asks for, does not count."""
    mine, theirs = _by_problem(suspects, value), _by_problem(others, value)
    shared = [problem for problem in mine if problem in theirs]
    if len(shared) < FEWEST_EACH:
        return
    means = {problem: fmean(found for _, found in theirs[problem]) for problem in shared}
    gaps = [fmean(found for _, found in mine[problem]) - means[problem] for problem in shared]
    spread = pstdev(found for problem in shared for _, found in mine[problem] + theirs[problem]) or 1.0
    column = [
        (rollout, Mark(0, 1, found - mean, f"{what} {found:.3g}; its siblings that should have more got {mean:.3g}"))
        for problem, mean in means.items()
        for rollout, found in mine[problem]
    ]
    yield Found(metric, fmean(gaps) / spread, column, stdev(gaps) / math.sqrt(len(gaps)) / spread)


def _by_problem(
    pairs: Sequence[Pair], value: Callable[[Score], float | None]
) -> Mapping[str, list[tuple[Rollout, float]]]:
    groups: dict[str, list[tuple[Rollout, float]]] = defaultdict(list)
    for rollout, score in pairs:
        if (found := value(score)) is not None:
            groups[rollout.problem_id].append((rollout, found))
    return groups


def _constant(judged: Sequence[Pair], by_id: Mapping[str, Problem]) -> Iterator[Found]:
    """The share of problems whose rollouts gave different answers under one verdict: when all rollouts of the step
    have that verdict, else 0. On tasks whose answer is a derivation, different ones may all be right: there only all
    wrong ones count."""
    groups: dict[str, list[Pair]] = defaultdict(list)
    for pair in judged:
        groups[pair[0].problem_id].append(pair)
    several = [group for group in groups.values() if len(group) > 1]
    if len(judged) < FEWEST_ROLLOUTS or not several:
        return
    right = fmean(score.verdict.correct for _, score in judged)
    verdict = right >= CONSTANT
    derived = any(replayer(by_id[problem].task) for problem in groups)
    if derived if verdict else right > 0:
        yield Found("disagreeing_under_one_verdict", 0.0, [])
        return
    disagreeing = [_answers(group, verdict) for group in several]
    share = fmean(len(answers) > 1 for answers in disagreeing)
    most = max(disagreeing, key=len)
    word = "right" if verdict else "wrong"
    column = [
        (rollout, Mark(0, 1, len(most), f"judged {word}, like {len(most) - 1} other answers to its problem: {answer}"))
        for answer, rollout in most.items()
    ]
    yield Found("disagreeing_under_one_verdict", share, column)


def _answers(group: Sequence[Pair], verdict: bool) -> dict[str, Rollout]:
    """The different answers of one problem that have the verdict. Where the verifier names none, the last line of a
    response that came to its end is its answer."""
    return {
        score.verdict.answer or (rollout.text.strip().splitlines() or [""])[-1][:80]: rollout
        for rollout, score in group
        if score.verdict.correct is verdict and (score.verdict.answer or not rollout.truncated)
    }


def _covariance(first: Sequence[float], second: Sequence[float], masses: Sequence[float]) -> float:
    """`masses` add up to 1."""
    mean_first, mean_second = (sum(mass * x for x, mass in zip(each, masses, strict=True)) for each in (first, second))
    return sum(mass * (x - mean_first) * (y - mean_second) for x, y, mass in zip(first, second, masses, strict=True))

"""Which problems the page shows, chosen by a rule and not by hand, with the responses of every stage."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle

from rlsp.evaluation.evaluate import Summary
from rlsp.files import read_records
from rlsp.report.evaluations import read_scores
from rlsp.report.traces import MarkedLine, mark, visible
from rlsp.runs import Run
from rlsp.types import Problem, Rollout, Verdict

STAGES = ("base", "sft", "rlsp")
QUOTAS = {(False, True): 4, (False, False): 2, (True, False): 1, (True, True): 1}
"""(right before, right after): how many of the examples"""


@dataclass(frozen=True, slots=True)
class Response:
    """What one stage answered. `lines` is None when the text can't be replayed."""

    stage: str
    label: str
    correct: bool
    verdict: str
    answer: str
    tokens: int
    truncated: bool
    lines: list[MarkedLine] | None
    text: str


@dataclass(frozen=True, slots=True)
class Example:
    problem: Problem
    change: str
    responses: list[Response]


@dataclass(frozen=True, slots=True)
class Examples:
    """`choice` says how they were chosen and of how many; `replayed`: whether their lines are marked."""

    choice: str
    examples: list[Example]
    replayed: bool


@dataclass(frozen=True, slots=True)
class Stage:
    """The first sample of each problem."""

    evaluation: Summary
    rollouts: dict[str, Rollout]
    verdicts: dict[str, Verdict]


def choose(run: Run, evaluations: Sequence[Summary]) -> Examples | None:
    """None when the run holds no responses with their problems."""
    path = run.path("problems", "test.jsonl")
    stages = [stage for each in evaluations if each.name in STAGES and (stage := _read(run, each))]
    if not stages or not path.is_file():
        return None
    problems = [
        problem
        for problem in read_records(path, Problem)
        if all(problem.id in stage.rollouts and problem.id in stage.verdicts for stage in stages)
    ]
    if not problems:
        return None
    before, after = stages[0], stages[-1]
    outcomes = {
        problem.id: (before.verdicts[problem.id].correct, after.verdicts[problem.id].correct) for problem in problems
    }
    chosen = _pick(problems, outcomes)
    examples = [
        Example(problem, _change(stages, outcomes[problem.id]), _respond(stages, problem)) for problem in chosen
    ]
    replayed = any(response.lines is not None for each in examples for response in each.responses)
    return Examples(_choice(stages, Counter(outcomes.values())), examples, replayed)


def _read(run: Run, evaluation: Summary) -> Stage | None:
    path = run.path("evaluation", f"{evaluation.name}.rollouts.jsonl.zst")
    scores = read_scores(run, evaluation.name)
    if not path.is_file() or not scores:
        return None
    first = {rollout.problem_id: rollout for rollout in read_records(path, Rollout) if rollout.sample == 0}
    return Stage(evaluation, first, {score.problem_id: score.verdict for score in scores if score.sample == 0})


def _pick(problems: Sequence[Problem], outcomes: dict[str, tuple[bool, bool]]) -> list[Problem]:
    """The first problems of each outcome, levels in turn; what one outcome lacks, the others give in turn."""
    queues = {outcome: _levels_in_turn([p for p in problems if outcomes[p.id] == outcome]) for outcome in QUOTAS}
    taken = {outcome: min(quota, len(queues[outcome])) for outcome, quota in QUOTAS.items()}
    wanted = min(sum(QUOTAS.values()), len(problems))
    for outcome in cycle(QUOTAS):
        if sum(taken.values()) == wanted:
            break
        taken[outcome] += taken[outcome] < len(queues[outcome])
    return [problem for outcome in QUOTAS for problem in queues[outcome][: taken[outcome]]]


def _levels_in_turn(problems: Sequence[Problem]) -> list[Problem]:
    seen: Counter[int] = Counter()
    ranked = []
    for position, problem in enumerate(problems):
        ranked.append((seen[problem.level], -problem.level, position, problem))
        seen[problem.level] += 1
    return [problem for *_, problem in sorted(ranked, key=lambda each: each[:3])]


def _change(stages: Sequence[Stage], outcome: tuple[bool, bool]) -> str:
    words = ["right" if correct else "wrong" for correct in outcome]
    return words[0] if len(stages) == 1 else f"{words[0]} → {words[1]}"


def _choice(stages: Sequence[Stage], counts: Counter[tuple[bool, bool]]) -> str:
    rule = (
        "Nobody picked these by hand: they are the first problems of the test file in each group, levels in turn from "
        "the hardest, first sample only"
    )
    before, after = stages[0].evaluation.label, stages[-1].evaluation.label
    if len(stages) == 1:
        solved = counts[True, True]
        return f"{rule}. Of {counts.total():,} problems, {before} solved {solved:,}; wrong ones come first."
    return (
        f"{rule}. From {before} to {after}, of {counts.total():,} problems {counts[False, True]:,} went from wrong to "
        f"right, {counts[True, False]:,} from right to wrong, {counts[False, False]:,} stayed wrong and "
        f"{counts[True, True]:,} stayed right. Gains and failures are shown on purpose, and not in these proportions."
    )


def _verdict(verdict: Verdict, rollout: Rollout) -> str:
    if verdict.correct:
        return "right"
    return "wrong: out of tokens" if rollout.truncated else f"wrong: {verdict.reason}"


def _respond(stages: Sequence[Stage], problem: Problem) -> list[Response]:
    responses = []
    for stage in stages:
        rollout, verdict = stage.rollouts[problem.id], stage.verdicts[problem.id]
        responses.append(
            Response(
                stage=stage.evaluation.name,
                label=stage.evaluation.label,
                correct=verdict.correct,
                verdict=_verdict(verdict, rollout),
                answer=visible(verdict.answer),
                tokens=rollout.length,
                truncated=rollout.truncated,
                lines=mark(problem, rollout),
                text=visible(rollout.text),
            )
        )
    return responses

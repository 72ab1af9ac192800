"""What a base model must be able to do before searching can pay, measured on held-out problems.

Checks are rare in what a base model writes, so they are also forced: an attempt is cut before its check, the check's
question is appended, and the model gives the verdict.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rlsp.prompts import encode_prompt
from rlsp.rollouts import Prompt, SamplingSettings
from rlsp.rollouts.native import NativeSampler
from rlsp.tasks import GENERATED, chain_sum, countdown
from rlsp.tasks.splits import Split
from rlsp.tasks.traces import Attempt, write_line
from rlsp.types import Problem, Rollout

PROBLEMS, SAMPLES, SEED = 300, 4, 17
SETTINGS = SamplingSettings(temperature=1.0, max_response_tokens=160, cache_tokens=100_000)
ONE_TOKEN = SamplingSettings(temperature=0.0, max_response_tokens=1, cache_tokens=100_000)


def measure(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    """Per countdown level and for chain sums: pass@1, pass@4, readable lines, of these the ones whose arithmetic is
    true or bent to the target, how often it checks; then, over all countdown levels, honest forced checks, and hits of
    next attempts against first ones."""
    sampler = NativeSampler(model, tokenizer)
    skills: dict[str, Any] = {}
    failures: list[tuple[Problem, Attempt]] = []
    finished: list[tuple[Problem, Attempt]] = []
    for level in countdown.LEVELS:
        problems = countdown.problems(Split.TEST, PROBLEMS, SEED, [level])
        skills[f"countdown {level}"], attempts = _sampled(sampler, tokenizer, problems)
        finished += attempts
        failures += [(problem, attempt) for problem, attempt in attempts if attempt.steps_true and not attempt.solves]
    for level in chain_sum.LEVELS:
        problems = chain_sum.problems(Split.TEST, PROBLEMS, SEED, [level])
        skills[f"chain-sum {level}"], _ = _sampled(sampler, tokenizer, problems)
    skills["checks"] = _forced_checks(sampler, tokenizer, finished)
    skills["next attempts"] = _next_attempts(sampler, tokenizer, failures)
    return skills


def _sampled(
    sampler: NativeSampler, tokenizer: PreTrainedTokenizerBase, problems: Sequence[Problem]
) -> tuple[dict[str, float | None], list[tuple[Problem, Attempt]]]:
    """What plain sampling shows, and the first attempt of every response. A line cut off by the budget is none."""
    rollouts = sampler.sample([encode_prompt(tokenizer, each) for each in problems], SAMPLES, SETTINGS, SEED, 0)
    owners = [problem for problem in problems for _ in range(SAMPLES)]
    replays = [
        GENERATED[problem.task].replay(problem, rollout.text) for problem, rollout in zip(owners, rollouts, strict=True)
    ]
    attempts = [
        (problem, attempt)
        for problem, replay, rollout in zip(owners, replays, rollouts, strict=True)
        for attempt in (replay.attempts[:-1] if rollout.truncated else replay.attempts)
    ]
    read = [(problem, attempt) for problem, attempt in attempts if attempt.line.well_formed]
    steps = [step.true for _, attempt in read for step in attempt.line.steps]
    solved = [any(replay.correct for replay in replays[i : i + SAMPLES]) for i in range(0, len(replays), SAMPLES)]
    bent = [
        not attempt.steps_true and str(attempt.line.steps[-1].result) == problem.answer for problem, attempt in read
    ]
    summary = {
        "pass@1": _mean([replay.correct for replay in replays]),
        f"pass@{SAMPLES}": _mean(solved),
        "readable lines": _mean([attempt.line.well_formed for _, attempt in attempts]),
        "true lines": _mean([attempt.steps_true for _, attempt in read]),
        "true steps": _mean(steps),
        "bent lines": _mean(bent),
        "responses with a check": _mean(
            [any(a.line.accepted is not None for a in replay.attempts) for replay in replays]
        ),
        "mean tokens": _mean([rollout.length for rollout in rollouts]),
    }
    return summary, [(p, r.attempts[0]) for p, r in zip(owners, replays, strict=True) if r.attempts]


def _forced_checks(
    sampler: NativeSampler, tokenizer: PreTrainedTokenizerBase, attempts: Sequence[tuple[Problem, Attempt]]
) -> dict[str, float | None]:
    """`…; is it TARGET?` after true attempts: is the verdict right?"""
    true = [(problem, attempt) for problem, attempt in attempts if attempt.steps_true]
    asked = [_checked(problem, attempt).removesuffix("? no") for problem, attempt in true]
    answers = _continue(sampler, tokenizer, [problem for problem, _ in true], asked, ONE_TOKEN)
    right = [
        answer.text == ("? yes" if attempt.solves else "? no")
        for (_, attempt), answer in zip(true, answers, strict=True)
    ]
    hits = [each for each, (_, attempt) in zip(right, true, strict=True) if attempt.solves]
    misses = [each for each, (_, attempt) in zip(right, true, strict=True) if not attempt.solves]
    return {"right": _mean(right), "right on hits": _mean(hits), "right on misses": _mean(misses), "count": len(right)}


def _next_attempts(
    sampler: NativeSampler, tokenizer: PreTrainedTokenizerBase, failures: Sequence[tuple[Problem, Attempt]]
) -> dict[str, float | None]:
    """On the same problems: how often does a fresh first attempt hit, and how often one after a miss was given up?"""
    problems = [problem for problem, _ in failures]
    given_up = [_checked(problem, attempt) + "\n" for problem, attempt in failures]
    first = _continue(sampler, tokenizer, problems, [""] * len(problems), SETTINGS)
    later = _continue(sampler, tokenizer, problems, given_up, SETTINGS)
    return {
        "first hits": _mean([_first_line_hits(p, r) for p, r in zip(problems, first, strict=True)]),
        "next hits": _mean([_first_line_hits(p, r) for p, r in zip(problems, later, strict=True)]),
        "count": len(problems),
    }


def _first_line_hits(problem: Problem, rollout: Rollout) -> bool:
    attempts = countdown.replay(problem, rollout.text).attempts
    return bool(attempts) and attempts[0].solves


def _checked(problem: Problem, attempt: Attempt) -> str:
    """The attempt as it is written when its check says no."""
    return write_line(attempt.line.steps, check=(int(problem.answer), False))


def _continue(
    sampler: NativeSampler,
    tokenizer: PreTrainedTokenizerBase,
    problems: Sequence[Problem],
    prefixes: Sequence[str],
    settings: SamplingSettings,
) -> list[Rollout]:
    """Sample on from a prefix of the response, one rollout each."""
    prompts = []
    for number, (problem, prefix) in enumerate(zip(problems, prefixes, strict=True)):
        ids = encode_prompt(tokenizer, problem).ids + tuple(tokenizer(prefix, add_special_tokens=False).input_ids)
        prompts.append(Prompt(f"{problem.id}#{number}", ids))
    return sampler.sample(prompts, 1, settings, SEED, 0)


def _mean(values: Sequence[float]) -> float | None:
    """None of nothing: a skill that was not seen has no figure."""
    return round(sum(values) / len(values), 4) if values else None

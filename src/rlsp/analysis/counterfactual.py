"""Does a behaviour help? The response is cut at one, and sampled on from both sides of the cut: once after the
behaviour, once from before it, without. The difference in accuracy is what the behaviour was worth there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from transformers import PreTrainedTokenizerBase

from rlsp.analysis.effects import Effect
from rlsp.behaviours.detectors import LOOKS_AHEAD, detector, spans
from rlsp.behaviours.spans import Behaviour, Span
from rlsp.evaluation.benchmark import Estimate
from rlsp.evaluation.resampling import mean_interval
from rlsp.prompts import decode_response
from rlsp.rollouts.sampler import Prompt, Sampler, SamplingSettings, ignore
from rlsp.types import Finish, Problem, Rollout
from rlsp.verifiers import verify_all
from rlsp.verifiers.settings import STRICT, Settings

FEWEST = 10
"""Responses with both sides, for an effect to be told."""
BOTH_SIDES = "with", "without"


@dataclass(frozen=True, slots=True)
class _Cut:
    """A response up to the behaviour (`before`) and up to its end (`after`), in tokens."""

    problem: Problem
    rollout: Rollout
    behaviour: Behaviour
    start: int
    before: tuple[int, ...]
    after: tuple[int, ...]


def effects(
    problems: Mapping[str, Problem],
    rollouts: Sequence[Rollout],
    sampler: Sampler,
    tokenizer: PreTrainedTokenizerBase,
    settings: SamplingSettings,
    samples: int = 8,
    most: int = 100,
    seed: int = 0,
    judging: Settings = STRICT,
    on_begin: Callable[[int], None] = lambda total: None,
    on_ended: Callable[[Sequence[Rollout]], None] = ignore,
) -> list[Effect]:
    """The effect of every behaviour that at least FEWEST responses can be sampled on from without. Behaviours that are
    told by what comes after them are left out: keeping one would keep the outcome.

    Of each response that shows a behaviour, one place is drawn; of more than `most` such responses, as many are.
    Both sides have the rest of the response's own budget, `settings.max_response_tokens` in all.

    Args:
        problems: by id, those of `rollouts`.
        samples: continuations of each side.
        on_begin: gets the number of all continuations; `on_ended` those that have ended, as from a sampler.
    """
    cuts = _cuts(problems, rollouts, tokenizer, most, Random(seed))
    if not cuts:
        return []
    prompts = [
        Prompt(f"{number} {side} {cut.problem.id}", (*cut.rollout.prompt_ids, *ids))
        for number, cut in enumerate(cuts)
        for side, ids in zip(BOTH_SIDES, (cut.after, cut.before), strict=True)
    ]
    on_begin(len(prompts) * samples)
    drawn = sampler.sample(prompts, samples, settings, seed, 0, on_ended=on_ended)
    budget = settings.max_response_tokens
    whole = [
        _joined(cut, side, rollout, tokenizer, budget)
        for (cut, side), group in zip(
            [(cut, side) for cut in cuts for side in BOTH_SIDES], _groups(drawn, samples), strict=True
        )
        for rollout in group
    ]
    asked = [cut.problem for cut in cuts for _ in range(2 * samples)]
    verdicts = [verdict.correct for verdict in verify_all(asked, whole, judging)]
    found: dict[Behaviour, list[tuple[_Cut, list[bool], list[bool]]]] = {}
    for number, cut in enumerate(cuts):
        start = 2 * samples * number
        right = verdicts[start : start + samples]
        others = range(start + samples, start + 2 * samples)
        without = [verdicts[place] for place in others if not _again(cut, whole[place])]
        found.setdefault(cut.behaviour, []).append((cut, right, without))
    return [_effect(behaviour, sides, samples) for behaviour, sides in found.items() if _enough(sides)]


def _enough(sides: Sequence[tuple[_Cut, list[bool], list[bool]]]) -> bool:
    return sum(bool(without) for *_, without in sides) >= FEWEST


def _effect(behaviour: Behaviour, sides: Sequence[tuple[_Cut, list[bool], list[bool]]], samples: int) -> Effect:
    both = [(cut, sum(kept) / len(kept), sum(dropped) / len(dropped)) for cut, kept, dropped in sides if dropped]
    by_problem: dict[str, list[float]] = {}
    for cut, kept, dropped in both:
        by_problem.setdefault(cut.problem.id, []).append(kept - dropped)
    changes = [sum(each) / len(each) for each in by_problem.values()]
    left = sum(len(without) for *_, without in sides)
    return Effect(
        behaviour,
        len(both),
        sum(kept for _, kept, _ in both) / len(both),
        sum(dropped for *_, dropped in both) / len(both),
        Estimate(sum(changes) / len(changes), mean_interval(changes, low=-1.0)),
        1 - left / (samples * len(sides)),
    )


def _cuts(
    problems: Mapping[str, Problem],
    rollouts: Sequence[Rollout],
    tokenizer: PreTrainedTokenizerBase,
    most: int,
    rng: Random,
) -> list[_Cut]:
    """One place of each behaviour that a response shows, but of those that look ahead; a place that ends the response
    has nothing after it."""
    shown: dict[Behaviour, list[tuple[Rollout, Span]]] = {}
    for rollout in rollouts:
        places: dict[Behaviour, list[Span]] = {}
        problem = problems[rollout.problem_id]
        for span in spans(problem, rollout.text):
            if span.end < len(rollout.text) and span.behaviour not in LOOKS_AHEAD[detector(problem)]:
                places.setdefault(span.behaviour, []).append(span)
        for behaviour, each in places.items():
            shown.setdefault(behaviour, []).append((rollout, rng.choice(each)))
    return [
        _Cut(
            problems[rollout.problem_id],
            rollout,
            behaviour,
            span.start,
            rollout.response_ids[: _tokens_until(rollout, span.start, tokenizer)],
            rollout.response_ids[: _tokens_until(rollout, span.end, tokenizer)],
        )
        for behaviour, pairs in sorted(shown.items())
        for rollout, span in rng.sample(pairs, min(most, len(pairs)))
    ]


def _tokens_until(rollout: Rollout, place: int, tokenizer: PreTrainedTokenizerBase) -> int:
    """How many of the response's tokens spell no more than its first `place` characters."""
    low, high = 0, len(rollout.response_ids)
    while low < high:
        middle = (low + high + 1) // 2
        if len(decode_response(tokenizer, rollout.response_ids[:middle], frozenset())) <= place:
            low = middle
        else:
            high = middle - 1
    return low


def _groups(rollouts: Sequence[Rollout], size: int) -> list[Sequence[Rollout]]:
    return [rollouts[start : start + size] for start in range(0, len(rollouts), size)]


def _joined(cut: _Cut, side: str, rest: Rollout, tokenizer: PreTrainedTokenizerBase, budget: int) -> str:
    """The response from its beginning, within its budget."""
    kept = cut.after if side == "with" else cut.before
    ids = (*kept, *rest.response_ids)[:budget]
    ended = rest.finish is Finish.EOS and len(kept) + rest.length <= budget
    return decode_response(tokenizer, ids, frozenset(ids[-1:]) if ended else frozenset())


def _again(cut: _Cut, text: str) -> bool:
    """Whether the first thing after the cut is the behaviour."""
    return any(span.start == cut.start for span in spans(cut.problem, text) if span.behaviour is cut.behaviour)

"""Does a behaviour help? The response is cut at one, and sampled on from both sides of the cut: once after the
behaviour, once from before it, without. The difference in accuracy is what the behaviour was worth there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from statistics import fmean

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
BUCKETS = 16
"""Continuations are sampled together when what they follow differs by no more than the budget's part of this."""


@dataclass(frozen=True, slots=True)
class _Side:
    """A response's beginning, in tokens, and whether it holds the behaviour."""

    ids: tuple[int, ...]
    kept: bool


@dataclass(frozen=True, slots=True)
class _Cut:
    """One place that shows the behaviour, and the response up to its end and up to what stands before it."""

    problem: Problem
    prompt_ids: tuple[int, ...]
    behaviour: Behaviour
    sides: tuple[_Side, _Side]


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
    on_begin(2 * samples * len(cuts))
    texts = _sampled_on(cuts, sampler, tokenizer, settings, samples, seed, on_ended)
    asked = [cut.problem for cut in cuts for _ in range(2 * samples)]
    verdicts = [verdict.correct for verdict in verify_all(asked, texts, judging)]
    found: dict[Behaviour, list[_Outcome]] = {}
    for number, cut in enumerate(cuts):
        start = 2 * samples * number
        others = range(start + samples, start + 2 * samples)
        before = _decoded(cut.sides[1].ids, tokenizer)
        instead = [verdicts[place] for place in others if not _again(cut, before, texts[place])]
        found.setdefault(cut.behaviour, []).append(_Outcome(cut.problem.id, verdicts[start : start + samples], instead))
    return [_effect(behaviour, each, samples) for behaviour, each in found.items() if _enough(each)]


@dataclass(frozen=True, slots=True)
class _Outcome:
    """Whether each continuation after one behaviour is right, and each of those that did something else instead."""

    problem_id: str
    after: list[bool]
    instead: list[bool]


def _enough(outcomes: Sequence[_Outcome]) -> bool:
    return sum(bool(each.instead) for each in outcomes) >= FEWEST


def _effect(behaviour: Behaviour, outcomes: Sequence[_Outcome], samples: int) -> Effect:
    both = [(each.problem_id, fmean(each.after), fmean(each.instead)) for each in outcomes if each.instead]
    by_problem: dict[str, list[float]] = {}
    for problem_id, after, instead in both:
        by_problem.setdefault(problem_id, []).append(after - instead)
    changes = [fmean(each) for each in by_problem.values()]
    return Effect(
        behaviour,
        responses=len(both),
        instead_of=sum(len(each.instead) for each in outcomes),
        after=fmean(after for _, after, _ in both),
        instead=fmean(instead for *_, instead in both),
        difference=Estimate(fmean(changes), mean_interval(changes, low=-1.0)),
        again=1 - sum(len(each.instead) for each in outcomes) / (samples * len(outcomes)),
    )


def _cuts(
    problems: Mapping[str, Problem],
    rollouts: Sequence[Rollout],
    tokenizer: PreTrainedTokenizerBase,
    most: int,
    rng: Random,
) -> list[_Cut]:
    """One place of each behaviour that a response shows, but of those that look ahead. Places that end the response
    belong to them: what comes after such a one is its end."""
    shown: dict[Behaviour, list[tuple[Rollout, Span]]] = {}
    for rollout in rollouts:
        places: dict[Behaviour, list[Span]] = {}
        problem = problems[rollout.problem_id]
        for span in spans(problem, rollout.text):
            if span.behaviour not in LOOKS_AHEAD[detector(problem)]:
                places.setdefault(span.behaviour, []).append(span)
        for behaviour, each in places.items():
            shown.setdefault(behaviour, []).append((rollout, rng.choice(each)))
    return [
        _Cut(problems[rollout.problem_id], rollout.prompt_ids, behaviour, _sides(rollout, span, tokenizer))
        for behaviour, pairs in sorted(shown.items())
        for rollout, span in rng.sample(pairs, min(most, len(pairs)))
    ]


def _sides(rollout: Rollout, span: Span, tokenizer: PreTrainedTokenizerBase) -> tuple[_Side, _Side]:
    """White space before the behaviour belongs to it: to do something else can be to end there."""
    before = len(rollout.text[: span.start].rstrip())
    low, high = _tokens_within(rollout, before, tokenizer), _tokens_within(rollout, span.end, tokenizer)
    if len(_decoded(rollout.response_ids[:high], tokenizer)) < span.end:
        high += 1  # a token that reaches beyond the behaviour
    return _Side(rollout.response_ids[:high], True), _Side(rollout.response_ids[:low], False)


def _tokens_within(rollout: Rollout, place: int, tokenizer: PreTrainedTokenizerBase) -> int:
    """How many of the response's tokens spell no more than its first `place` characters."""
    low, high = 0, len(rollout.response_ids)
    while low < high:
        middle = (low + high + 1) // 2
        if len(_decoded(rollout.response_ids[:middle], tokenizer)) <= place:
            low = middle
        else:
            high = middle - 1
    return low


def _sampled_on(
    cuts: Sequence[_Cut],
    sampler: Sampler,
    tokenizer: PreTrainedTokenizerBase,
    settings: SamplingSettings,
    samples: int,
    seed: int,
    on_ended: Callable[[Sequence[Rollout]], None],
) -> list[str]:
    """Whole responses, `samples` of each side of each cut, in their order. Sides are sampled together with others of
    about their length, so that none needs more room than a response does."""
    budget = settings.max_response_tokens
    sides = [(cut, side) for cut in cuts for side in cut.sides]
    buckets: dict[int, list[int]] = {}
    for place, (_, side) in enumerate(sides):
        buckets.setdefault(len(side.ids) * BUCKETS // budget, []).append(place)
    texts: list[list[str]] = [[] for _ in sides]
    for places in buckets.values():
        room = budget - max(len(sides[place][1].ids) for place in places)
        if room <= 0:
            for place in places:
                texts[place] = [_decoded(sides[place][1].ids[:budget], tokenizer)] * samples
            continue
        prompts = [
            Prompt(f"{place} {sides[place][0].problem.id}", (*sides[place][0].prompt_ids, *sides[place][1].ids))
            for place in places
        ]
        limited = replace(settings, max_response_tokens=room)
        drawn = sampler.sample(prompts, samples, limited, seed, 0, on_ended=on_ended)
        for number, rollout in enumerate(drawn):
            place = places[number // samples]
            texts[place].append(_whole(sides[place][1].ids, rollout, tokenizer))
    return [text for each in texts for text in each]


def _whole(kept: tuple[int, ...], rest: Rollout, tokenizer: PreTrainedTokenizerBase) -> str:
    """The response from its beginning, without the token that ends it."""
    ids = (*kept, *rest.response_ids)
    return _decoded(ids[:-1] if rest.finish is Finish.EOS else ids, tokenizer)


def _decoded(ids: tuple[int, ...], tokenizer: PreTrainedTokenizerBase) -> str:
    return decode_response(tokenizer, ids, frozenset())


def _again(cut: _Cut, before: str, text: str) -> bool:
    """Whether the first thing after `before` is the behaviour."""
    start = len(text) - len(text[len(before) :].lstrip())
    return any(span.start == start for span in spans(cut.problem, text) if span.behaviour is cut.behaviour)

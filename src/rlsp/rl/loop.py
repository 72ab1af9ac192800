"""One iteration of RLSP, and the loop over iterations."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rlsp.config import Recipe
from rlsp.exploration.composite import Composite
from rlsp.models import Critic, frozen_copy
from rlsp.prompts import encode_prompt, instruct
from rlsp.reward import alpha_at, score_judged
from rlsp.rl.batch import collate
from rlsp.rl.diagnostics import describe
from rlsp.rl.experience import gather
from rlsp.rl.judging import Judge
from rlsp.rl.probe import Probe
from rlsp.rl.resampling import Reserve, flattened, grouped, resample
from rlsp.rl.streams import streams_for
from rlsp.rl.update import Updater
from rlsp.rollouts import Sampler, SamplingSettings
from rlsp.types import Problem, Rollout, Score
from rlsp.verifiers.settings import STRICT, Settings


@dataclass(frozen=True, slots=True)
class Iteration:
    """What one iteration produced; `step` counts from 1."""

    step: int
    problems: Sequence[Problem]
    rollouts: list[Rollout]
    scores: list[Score]
    metrics: dict[str, float]


SEEDS_PER_RUN = 1_000_003
"""Sampling seeds of different run seeds do not meet within this many steps."""


def train(
    recipe: Recipe,
    policy: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    sampler: Sampler,
    problem_batches: Iterable[Sequence[Problem]],
    explorer: Composite,
    judging: Settings = STRICT,
    probe: Probe | None = None,
    reserve: Sequence[Problem] = (),
) -> Iterator[Iteration]:
    """The recipe's algorithm on `policy`, in place; yields after every update. The reference is the policy as it comes
    in; there is none without a KL term.

    Args:
        reserve: the problems that dynamic sampling draws replacements from.
    """
    rl = recipe.rl
    settings = SamplingSettings(
        recipe.sampling.temperature, recipe.sampling.max_response_tokens, recipe.sampling.cache_tokens
    )
    streams = streams_for(recipe.reward, explorer, rl.gamma)
    reference = frozen_copy(policy) if rl.kl_coefficient > 0 else None
    critic = Critic(policy, len(streams.names), rl.critic_trunk == "shared") if rl.definition.critic else None
    updater = Updater(policy, critic, rl, recipe.seed, recipe.sampling.max_response_tokens)
    spare, masked = Reserve(reserve), recipe.reward.truncation == "mask"
    held_out: dict[str, float] = {}

    def ask(problems: Sequence[Problem], step: int, alpha: float) -> tuple[list[Rollout], list[Score]]:
        prompts = [encode_prompt(tokenizer, problem, instruct(problem, recipe)) for problem in problems]
        seed = recipe.seed * SEEDS_PER_RUN + step
        with Judge(problems, judging) as judge:
            rollouts = sampler.sample(prompts, rl.samples_per_prompt, settings, seed, step, on_ended=judge.see)
            verdicts = judge.verdicts(rollouts)
        return rollouts, score_judged(problems, rollouts, verdicts, explorer, recipe.reward, alpha)

    for step, problems in enumerate(problem_batches):
        started = time.perf_counter()
        measured = probe.measure(sampler, settings, recipe.seed, step, judging) if probe and probe.due(step) else {}
        held_out |= measured
        alpha = alpha_at(recipe.reward, step / max(1, rl.steps - 1), held_out.get("held_out_accuracy"))
        groups = grouped(problems, *ask(problems, step, alpha))
        if rl.dynamic_sampling:
            again = partial(ask, step=step, alpha=alpha)
            groups, replaced = resample(groups, spare, rl.dynamic_sampling_rounds, again, masked)
            measured |= replaced
        problems, rollouts, scores = flattened(groups)
        sampled = time.perf_counter()
        batch = collate(rollouts, scores, streams.build(rollouts, scores), masked, policy.device)
        experience = gather(batch, reference, critic, rl)
        metrics = measured | describe(rollouts, scores, experience) | updater.update(experience, step)
        metrics |= {"seconds_sampling": sampled - started, "seconds_update": time.perf_counter() - sampled}
        yield Iteration(step + 1, problems, rollouts, scores, metrics)

"""One iteration of RLSP, and the loop over iterations."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rlsp.config import Recipe
from rlsp.exploration import explorer_for
from rlsp.models import Critic, frozen_copy
from rlsp.prompts import encode_prompt
from rlsp.reward import score
from rlsp.rl.batch import collate
from rlsp.rl.diagnostics import describe
from rlsp.rl.experience import gather
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
    judging: Settings = STRICT,
) -> Iterator[Iteration]:
    """PPO on `policy`, in place; yields after every update. The reference is the policy as it comes in."""
    ppo, explorer = recipe.ppo, explorer_for(recipe)
    settings = SamplingSettings(
        recipe.sampling.temperature, recipe.sampling.max_response_tokens, recipe.sampling.cache_tokens
    )
    reference, critic = frozen_copy(policy), Critic(policy)
    updater = Updater(policy, critic, ppo, recipe.seed)
    for step, problems in enumerate(problem_batches):
        started = time.perf_counter()
        prompts = [encode_prompt(tokenizer, problem, recipe.model.instruction) for problem in problems]
        rollouts = sampler.sample(
            prompts, ppo.samples_per_prompt, settings, recipe.seed * SEEDS_PER_RUN + step, policy_version=step
        )
        sampled = time.perf_counter()
        scores = score(problems, rollouts, explorer, recipe.reward, judging)
        batch = collate(rollouts, scores, recipe.reward.truncation == "mask", policy.device)
        experience = gather(batch, reference, critic, ppo)
        metrics = describe(rollouts, scores, experience) | updater.update(experience, step)
        metrics |= {"seconds_sampling": sampled - started, "seconds_update": time.perf_counter() - sampled}
        yield Iteration(step + 1, problems, rollouts, scores, metrics)

"""One iteration of RLSP, and what the next one needs of it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from rlsp.checkpoints import Checkpoint
from rlsp.config import Recipe
from rlsp.exploration.composite import Composite
from rlsp.optim import NonFiniteLossError
from rlsp.prompts import encode_prompt, instruct
from rlsp.reward import alpha_at, score_judged
from rlsp.rl.batch import Batch, Experience, collate
from rlsp.rl.diagnostics import describe
from rlsp.rl.judging import Judge
from rlsp.rl.probe import Probe
from rlsp.rl.resampling import Reserve, flattened, grouped, resample
from rlsp.rl.streams import streams_for
from rlsp.rollouts import Sampler, SamplingSettings
from rlsp.types import Advantages, Problem, Rollout, Score
from rlsp.verifiers.settings import STRICT, Settings


@dataclass(frozen=True, slots=True)
class Iteration:
    """What one iteration produced; `step` counts from 1. `seconds` is what changes when it is run again."""

    step: int
    problems: Sequence[Problem]
    rollouts: list[Rollout]
    scores: list[Score]
    advantages: list[Advantages]
    metrics: dict[str, float]
    seconds: dict[str, float]


@dataclass(frozen=True, slots=True)
class Observation:
    """An iteration before its update; `step` counts from 1, sampling and judging took `seconds`."""

    step: int
    problems: Sequence[Problem]
    rollouts: list[Rollout]
    scores: list[Score]
    experience: Experience
    metrics: dict[str, float]
    seconds: float


class DivergedError(Exception):
    """The update of what was observed came to a loss or gradient that is not finite."""

    def __init__(self, seen: Observation, error: NonFiniteLossError) -> None:
        super().__init__(str(error))
        self.seen, self.rows = seen, error.rows


SEEDS_PER_RUN = 1_000_003
"""Sampling seeds of different run seeds do not meet within this many steps."""


class Learner(Protocol):
    """Whoever holds the weights."""

    @property
    def device(self) -> torch.device:
        """Where experience is wanted."""
        ...

    def experience(self, batch: Batch) -> Experience:
        """The batch with what reference and critic say to it, as far as the algorithm has them, and its advantages."""
        ...

    def update(self, experience: Experience, step: int) -> dict[str, float]:
        """Learn from one iteration; `step` counts from 0. Metrics.

        Raises:
            NonFiniteLossError: of a minibatch, before it has moved any weight.
        """
        ...

    def kept(self, step: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """(tensors, state) that a checkpoint after `step` iterations needs."""
        ...

    def restore(self, checkpoint: Checkpoint) -> None:
        """Be as it was kept."""
        ...


L = TypeVar("L", bound=Learner)


class Training(Generic[L]):
    """The recipe's algorithm, one iteration at a time.

    Args:
        reserve: the problems that dynamic sampling draws replacements from.
    """

    def __init__(
        self,
        recipe: Recipe,
        learner: L,
        tokenizer: PreTrainedTokenizerBase,
        sampler: Sampler,
        explorer: Composite,
        judging: Settings = STRICT,
        probe: Probe | None = None,
        reserve: Sequence[Problem] = (),
    ) -> None:
        sampling = recipe.sampling
        self.recipe, self.learner, self.tokenizer = recipe, learner, tokenizer
        self.sampler, self.explorer = sampler, explorer
        self.judging, self.probe, self.reserve = judging, probe, Reserve(reserve)
        self.settings = SamplingSettings(sampling.temperature, sampling.max_response_tokens, sampling.cache_tokens)
        self.masked = recipe.reward.truncation == "mask"
        self.streams = streams_for(recipe.reward, explorer, recipe.rl.gamma)
        self.held_out: dict[str, float] = {}

    def iterate(self, step: int, problems: Sequence[Problem]) -> Iteration:
        """Ask, judge, explore, combine, learn. `step` counts from 0.

        Raises:
            DivergedError: a minibatch's loss or gradient is not finite; it has moved no weight.
        """
        started = time.perf_counter()
        seen = self.observe(step, problems)
        try:
            metrics = seen.metrics | self.learner.update(seen.experience, step)
        except NonFiniteLossError as error:
            raise DivergedError(seen, error) from error
        seconds = {"sampling": seen.seconds, "update": time.perf_counter() - started - seen.seconds}
        advantages = seen.experience.advantages_of(seen.rollouts)
        return Iteration(step + 1, seen.problems, seen.rollouts, seen.scores, advantages, metrics, seconds)

    def observe(self, step: int, problems: Sequence[Problem]) -> Observation:
        """Everything of an iteration but its update."""
        recipe, rl = self.recipe, self.recipe.rl
        started = time.perf_counter()
        measured = self._probe(step)
        alpha = alpha_at(recipe.reward, step / max(1, rl.steps - 1), self.held_out.get("held_out_accuracy"))
        groups = grouped(problems, *self._ask(problems, step, alpha))
        if rl.dynamic_sampling:
            again = partial(self._ask, step=step, alpha=alpha)
            groups, replaced = resample(groups, self.reserve, rl.dynamic_sampling_rounds, again, self.masked)
            measured |= replaced
        problems, rollouts, scores = flattened(groups)
        seconds = time.perf_counter() - started
        experience = self.learner.experience(self.batch(rollouts, scores))
        metrics = measured | describe(rollouts, scores, experience)
        return Observation(step + 1, problems, rollouts, scores, experience, metrics, seconds)

    def batch(self, rollouts: Sequence[Rollout], scores: Sequence[Score]) -> Batch:
        """One step's rollouts as tensors."""
        streams, device = self.streams.build(rollouts, scores), self.learner.device
        return collate(rollouts, scores, streams, self.masked, device)

    def _probe(self, step: int) -> dict[str, float]:
        """The held-out measures where they are due; the latest are kept."""
        if self.probe is None or not self.probe.due(step):
            return {}
        measured = self.probe.measure(self.sampler, self.settings, self.recipe.seed, step, self.judging)
        self.held_out |= measured
        return measured

    def _ask(self, problems: Sequence[Problem], step: int, alpha: float) -> tuple[list[Rollout], list[Score]]:
        recipe = self.recipe
        prompts = [encode_prompt(self.tokenizer, problem, instruct(problem, recipe)) for problem in problems]
        seed, samples = recipe.seed * SEEDS_PER_RUN + step, recipe.rl.samples_per_prompt
        with Judge(problems, self.judging) as judge:
            rollouts = self.sampler.sample(prompts, samples, self.settings, seed, step, on_ended=judge.see)
            verdicts = judge.verdicts(rollouts)
        return rollouts, score_judged(problems, rollouts, verdicts, self.explorer, recipe.reward, alpha)

    def snapshot(self, step: int) -> Checkpoint:
        """The training after `step` iterations. Sampling needs nothing kept: a rollout's noise comes from the recipe's
        seed, the step, its problem and its number."""
        tensors, state = self.learner.kept(step)
        state |= {
            "held_out": self.held_out,
            "reserve_position": self.reserve.position,
            "units": dict(self.streams.units),
        }
        return Checkpoint(step, tensors, state)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Be as the snapshot was; for a training that was begun with the same recipe and the same policy."""
        self.learner.restore(checkpoint)
        self.held_out = dict(checkpoint.state["held_out"])
        self.streams.units = {name: (centre, scale) for name, (centre, scale) in checkpoint.state["units"].items()}
        self.reserve.position = checkpoint.state["reserve_position"]

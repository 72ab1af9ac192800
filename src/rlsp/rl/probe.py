"""Held-out problems during training: what alarms and an α by accuracy look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from rlsp.rollouts import Prompt, Sampler, SamplingSettings
from rlsp.types import Problem
from rlsp.verifiers import verify_all
from rlsp.verifiers.settings import Settings


@dataclass(frozen=True, slots=True)
class Probe:
    """Problems of the selection split, one sample each, before every `every`-th step."""

    problems: Sequence[Problem]
    prompts: Sequence[Prompt]
    every: int

    def due(self, step: int) -> bool:
        return step % self.every == 0

    def measure(
        self, sampler: Sampler, settings: SamplingSettings, seed: int, policy_version: int, judging: Settings
    ) -> dict[str, float]:
        """The policy's held-out accuracy and mean response length in tokens. The same noise each time, so that what
        changes is the policy."""
        rollouts = sampler.sample(self.prompts, 1, settings, seed, policy_version)
        verdicts = verify_all(self.problems, [rollout.text for rollout in rollouts], judging)
        return {
            "held_out_accuracy": fmean(verdict.correct for verdict in verdicts),
            "held_out_length": fmean(rollout.length for rollout in rollouts),
        }

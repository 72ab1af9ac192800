"""Sampling: prompts and a policy in, rollouts out. A rollout carries no judgement."""

from rlsp.rollouts.sampler import Prompt, Sampler, SamplingSettings

__all__ = ["Prompt", "Sampler", "SamplingSettings"]

"""Accuracy on held-out problems, measured alike for everyone."""

from __future__ import annotations

import copy

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from peers.protocol import Message
from rlsp.config import Recipe
from rlsp.engines.drawing import held_out_problems
from rlsp.engines.stages import encode_prompts
from rlsp.rl.probe import Probe
from rlsp.rollouts import SamplingSettings
from rlsp.rollouts.native import NativeSampler
from rlsp.verifiers.settings import STRICT


def measure(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, recipe: Recipe) -> Message:
    """The recipe's test problems, one sample each, the same random numbers every time. The sampler gets a copy: it
    rearranges weights in memory."""
    problems, sampling = held_out_problems(recipe), recipe.sampling
    probe = Probe(problems, encode_prompts(tokenizer, problems, recipe), every=1)
    settings = SamplingSettings(sampling.temperature, sampling.max_response_tokens, sampling.cache_tokens)
    measured = probe.measure(NativeSampler(copy.deepcopy(model), tokenizer), settings, recipe.seed, 0, STRICT)
    return {"accuracy": measured["held_out_accuracy"]}

"""This project's own sampler, update and GRPO step, and what the machine would allow."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import cycle

import torch
from protocol import Channel, Message

from rlsp.config import Recipe, load
from rlsp.engines import stages
from rlsp.exploration import explorer_for
from rlsp.rl.loop import Iteration, train
from rlsp.rollouts import Prompt, SamplingSettings


class Ours:
    def load(self, model: str, threads: int) -> Message:
        torch.set_num_threads(threads)
        self.policy = stages.open_policy(model)
        return {"sampled by": "LlamaDecoder" if self.policy.sampler.is_llama else "TransformersDecoder"}

    def rollouts(self, prompts: list[list[int]], new_tokens: int, ragged: bool, seed: int) -> Message:
        sampler, own = self.policy.sampler, self.policy.sampler.stops
        sampler.stops = own if ragged else frozenset()
        cache = len(prompts) * (max(map(len, prompts)) + new_tokens)
        settings = SamplingSettings(1.0, new_tokens, cache)
        asked = [Prompt(str(number), tuple(ids)) for number, ids in enumerate(prompts)]
        rollouts = sampler.sample(asked, 1, settings, seed, 0)
        sampler.stops = own
        return {"tokens": sum(each.length for each in rollouts)}

    @torch.inference_mode()
    def ceiling(self, rows: int) -> Message:
        """The time of one token's matrix products alone, for `rows` rows."""
        weights = [each for each in self.policy.model.parameters() if each.ndim == 2]
        if not self.policy.model.config.tie_word_embeddings:
            weights = weights[1:]
        inputs = {each.shape[1]: torch.randn(rows, each.shape[1]) for each in weights}
        flops = sum(2 * rows * each.numel() for each in weights)
        for each in weights:
            torch.mm(inputs[each.shape[1]], each.T)
        started = time.perf_counter()
        for each in weights:
            torch.mm(inputs[each.shape[1]], each.T)
        seconds = time.perf_counter() - started
        return {"seconds": seconds, "tokens": rows, "flops": flops}

    def grpo(self, recipe: str, settings: list[str], threads: int) -> Message:
        torch.set_num_threads(threads)
        made = load(Recipe, recipe, settings)
        self.policy = stages.open_policy(made.model.path)
        batches = list(stages.training_problems(made))
        parts = (self.policy.model, self.policy.tokenizer, self.policy.sampler)
        self.steps: Iterator[Iteration] = train(made, *parts, cycle(batches), explorer_for(made))
        return {}

    def step(self) -> Message:
        iteration = next(self.steps)
        return {
            "tokens": sum(each.length for each in iteration.rollouts),
            "sampling": iteration.metrics["seconds_sampling"],
            "update": iteration.metrics["seconds_update"],
        }


def peak(size: int = 2048, repeats: int = 8) -> Message:
    """The machine's best at matrix products in fp32."""
    one, other = torch.randn(size, size), torch.randn(size, size)
    torch.mm(one, other)
    best = float("inf")
    for _ in range(repeats):
        started = time.perf_counter()
        torch.mm(one, other)
        best = min(best, time.perf_counter() - started)
    return {"flops_per_second": 2 * size**3 / best}


if __name__ == "__main__":
    peer = Ours()
    jobs = {name: getattr(peer, name) for name in ("load", "rollouts", "ceiling", "grpo", "step")}
    Channel().serve(jobs | {"peak": peak})

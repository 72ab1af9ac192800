"""This project's own sampler, update and GRPO step, and what the machine would allow."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import count, cycle
from statistics import median
from typing import Any

import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from peers import accuracy, batches
from peers.protocol import Channel, Message
from rlsp.config import Recipe, RlRecipe, load
from rlsp.engines import drawing, stages
from rlsp.exploration import explorer_for
from rlsp.models import load_tokenizer, token_logprobs, trunk_of
from rlsp.optim import adamw
from rlsp.prompts import stop_ids
from rlsp.rl.batch import Batch, Experience, microbatches
from rlsp.rl.local import LocalLearner
from rlsp.rl.loop import Iteration, Training
from rlsp.rl.streams import Streams
from rlsp.rl.update import Updater
from rlsp.rollouts import Prompt, SamplingSettings
from rlsp.rollouts.fused import PARTS, Packed
from rlsp.rollouts.llama import LlamaDecoder
from rlsp.rollouts.native import NativeSampler
from rlsp.rollouts.rows import RowCache


class Ours:
    def load(self, model: str, threads: int) -> Message:
        torch.set_num_threads(threads)
        self.policy = stages.open_policy(model)
        return {"parameters": self.policy.model.num_parameters()}

    def build(self, shape: dict[str, Any], threads: int) -> Message:
        """An untrained model over the nano model's vocabulary."""
        torch.set_num_threads(threads)
        tokenizer = load_tokenizer("nano")
        model = LlamaForCausalLM(
            LlamaConfig(**shape, vocab_size=len(tokenizer), max_position_embeddings=4096, tie_word_embeddings=True)
        )
        self.policy = stages.Policy(model.eval(), tokenizer, NativeSampler(model, tokenizer))
        return {"parameters": model.num_parameters()}

    def rollouts(self, prompts: list[list[int]], samples: int, new_tokens: int, ragged: bool, seed: int) -> Message:
        sampler = self.policy.sampler
        assert isinstance(sampler, NativeSampler)
        sampler.stops = stop_ids(self.policy.tokenizer, self.policy.model.generation_config) if ragged else frozenset()
        cache = len(prompts) * samples * (max(map(len, prompts)) + new_tokens)
        settings = SamplingSettings(1.0, new_tokens, cache)
        asked = [Prompt(str(number), tuple(ids)) for number, ids in enumerate(prompts)]
        rollouts = sampler.sample(asked, samples, settings, seed, 0)
        return {"lengths": [each.length for each in rollouts]}

    @torch.inference_mode()
    def decode_profile(self, rows: int, held: int, steps: int = 15) -> Message:
        """Median seconds of the parts of one token of `rows` rows, each of which holds `held` tokens."""
        model = self.policy.model
        decoder, cache = LlamaDecoder(model, held + 1), RowCache(rows, held + 1)
        ids_BT = torch.randint(5, model.config.vocab_size, (rows, held))
        lengths_B = torch.full((rows,), held)
        kept, _ = decoder.prefill(ids_BT, lengths_B)
        cache.fill(slice(0, rows), kept, torch.arange(rows), lengths_B)
        fused = decoder.fused
        assert fused, "there is no g++"
        taken: list[dict[str, float]] = []
        for _ in range(steps):
            fused.seconds = [0.0] * len(PARTS)
            started = time.perf_counter()
            logits_BV = decoder.decode(ids_BT[:, 0], lengths_B, cache)
            decoded = time.perf_counter()
            decoder.draw(logits_BV, torch.rand(rows), 1.0)
            ended = time.perf_counter()
            parts = dict(zip(PARTS, fused.seconds, strict=True)) | {"draw": ended - decoded}
            taken.append(parts | {"step": ended - started, "other": ended - started - sum(parts.values())})
        return {"parts": {part: median(step[part] for step in taken) for part in taken[0]}}

    @torch.inference_mode()
    def ceiling(self, rows: int, packed: bool = False) -> Message:
        """The time of one token's matrix products alone, for `rows` rows: by torch.mm, or from matrices packed as ours
        are."""
        weights = [each for each in self.policy.model.parameters() if each.ndim == 2]
        if not self.policy.model.config.tie_word_embeddings:
            weights = weights[1:]
        inputs = {each.shape[1]: torch.randn(rows, each.shape[1]) for each in weights}
        products: Sequence[Callable[[Tensor], Tensor]] = [partial(torch.mm, mat2=each.T) for each in weights]
        if packed:
            fused = LlamaDecoder(self.policy.model, 1).fused
            assert fused, "there is no g++"
            products = [Packed(fused.library, each, None) for each in weights]
        for _ in range(2):
            started = time.perf_counter()
            for weight, product in zip(weights, products, strict=True):
                product(inputs[weight.shape[1]])
        flops = sum(2 * rows * each.numel() for each in weights)
        return {"seconds": time.perf_counter() - started, "tokens": rows, "flops": flops}

    def batch(self, lengths: list[int], prompt: int, microbatch_tokens: int, on_policy: bool = True) -> Message:
        """Made-up responses for `update` and `loss`."""
        rl = RlRecipe(
            algorithm="grpo",
            steps=100,
            prompts_per_step=len(lengths),
            samples_per_prompt=2,
            minibatch_rollouts=2 * len(lengths),
            actor_learning_rate=1e-6,
            microbatch_tokens=microbatch_tokens,
            kl_coefficient=0.0,
        )
        made = batches.make(lengths, prompt, self.policy.model.config.vocab_size)
        rewards_SBR = torch.zeros(1, *made.mask_BR.shape)
        batch = Batch(
            ids_BT=torch.cat([made.prompts_BP, made.responses_BR], 1),
            sampled_BT=torch.cat([torch.zeros_like(made.prompts_BP, dtype=torch.bool), made.mask_BR], 1),
            mask_BR=made.mask_BR,
            logprobs_BR=torch.zeros(made.mask_BR.shape),
            streams=Streams(("reward",), (1.0,), rewards_SBR),
            groups_B=torch.arange(len(lengths)) // 8,
            in_loss_B=torch.ones(len(lengths), dtype=torch.bool),
            temperature=1.0,
        )
        with torch.no_grad():
            for row in range(len(lengths) if on_policy else 0):
                one = slice(row, row + 1)
                logprobs, _ = token_logprobs(self.policy.model, batch.ids_BT[one], batch.sampled_BT[one])
                batch.logprobs_BR[row, : len(logprobs)] = logprobs
        empty = torch.zeros(0)
        advantages_BR = torch.where(made.mask_BR, made.advantages_B[:, None], 0.0)
        self.experience = Experience(batch, empty, rewards_SBR[:0], rewards_SBR[:0], advantages_BR)
        self.updater = Updater(self.policy.model, None, rl, seed=0)
        self.bare_optimizer = adamw(self.policy.model.parameters(), 1e-9)
        pieces = microbatches(batch, torch.arange(len(lengths)), microbatch_tokens)
        padded = sum(ids_bT.numel() for _, ids_bT, _ in pieces)
        head = self.policy.model.get_output_embeddings().weight.numel()
        trunk: Any = trunk_of(self.policy.model)
        layers = sum(each.numel() for each in trunk.layers.parameters() if each.ndim == 2)
        flops = 6 * (layers * self._tokens() + head * sum(lengths))
        return {"padding": 1 - self._tokens() / padded, "flops_per_token": flops / self._tokens()}

    def logprobs(self, tokens: int, vocabulary: int) -> Message:
        """The log-prob step alone, forward and backward, under a trunk that costs next to nothing."""
        shape: dict[str, Any] = {
            "hidden_size": 64,
            "intermediate_size": 64,
            "num_hidden_layers": 1,
            "num_attention_heads": 1,
        }
        model = LlamaForCausalLM(LlamaConfig(**shape, vocab_size=vocabulary))
        ids_BT = torch.randint(vocabulary, (tokens // 512, 513))
        mask_BT = torch.ones_like(ids_BT, dtype=torch.bool)
        mask_BT[:, 0] = False
        token_logprobs(model, ids_BT, mask_BT)[0].sum().backward()
        return {}

    def loss(self) -> Message:
        """The batch's loss and the norm of its gradient."""
        rows = torch.arange(len(self.experience.batch.ids_BT))
        loss = self.updater.accumulate(self.experience, rows, actor_learns=True)["policy_loss"]
        norm = torch.nn.utils.get_total_norm(
            [each.grad for each in self.policy.model.parameters() if each.grad is not None]
        )
        self.policy.model.zero_grad()
        return {"loss": loss, "gradient": norm.item()}

    def update(self) -> Message:
        self.updater.update(self.experience, step=0)
        return {"tokens": self._tokens()}

    def bare(self) -> Message:
        """Forward, backward and optimizer of the model by itself: as many tokens, in rows of one length, cross-entropy
        of all of them."""
        rows, microbatch = len(self.experience.batch.ids_BT), self.updater.rl.microbatch_tokens
        width = self._tokens() // rows
        ids_BT, model = self.experience.batch.ids_BT[:, :width].clamp(min=1), self.policy.model
        optimizer = self.bare_optimizer
        started = time.perf_counter()
        for piece in ids_BT.split(max(1, microbatch // width)):
            model(input_ids=piece, labels=piece, use_cache=False).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return {"seconds": time.perf_counter() - started, "tokens": rows * width}

    def _tokens(self) -> int:
        """Of prompts and responses, without padding."""
        batch = self.experience.batch
        prompt = batch.ids_BT.shape[1] - batch.mask_BR.shape[1]
        return int(batch.mask_BR.sum()) + prompt * len(batch.ids_BT)

    def grpo(self, recipe: str, settings: list[str], threads: int) -> Message:
        torch.set_num_threads(threads)
        self.recipe = load(Recipe, recipe, settings)
        self.policy = stages.open_policy(self.recipe.model.path)
        batches = list(drawing.training_problems(self.recipe))
        learner = LocalLearner(self.recipe, self.policy.model, streams=1)
        parts = (learner, self.policy.tokenizer, self.policy.sampler)
        training = Training(self.recipe, *parts, explorer_for(self.recipe))
        self.steps: Iterator[Iteration] = map(training.iterate, count(), cycle(batches))
        return {}

    def evaluate(self) -> Message:
        return accuracy.measure(self.policy.model, self.policy.tokenizer, self.recipe)

    def step(self) -> Message:
        iteration = next(self.steps)
        return {
            "lengths": [each.length for each in iteration.rollouts],
            "sampling": iteration.seconds["sampling"],
            "update": iteration.seconds["update"],
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
    jobs = {name: getattr(peer, name) for name in vars(Ours) if not name.startswith("_")}
    Channel().serve(jobs | {"peak": peak})

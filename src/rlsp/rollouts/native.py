"""The embedded sampler: continuous batching for any Hugging Face causal LM with attention layers.

The samples of one prompt share its prefill. Keys and values live in a preallocated cache of rows; a rollout occupies
one row until it ends, then the row goes to a waiting rollout, or the last row moves into it, so that the batch holds
live rollouts only. On a CPU the sampler keeps the cache's memory between calls: to touch new memory takes time.
"""

from __future__ import annotations

import sys
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor
from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from rlsp.errors import InputError
from rlsp.lora import merged
from rlsp.prompts import finished, stop_ids
from rlsp.rollouts.decoders import Decoder, TransformersDecoder
from rlsp.rollouts.llama import LlamaDecoder, is_llama
from rlsp.rollouts.rows import KeysValues, RowCache
from rlsp.rollouts.sampler import Prompt, SamplingSettings, check_room, ignore, request_seed
from rlsp.types import Rollout

REFILL_SHARE = 1 / 8
"""New prompts are prefilled once this share of the rows is free: one larger prefill beats many small ones."""
PREFILL_TOKENS = 4096
"""At most so many tokens of prompts, padding included, are prefilled at once: it bounds the memory that takes."""


class NativeSampler:
    """Samples from `model` as its weights are at the time of the call."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.stops = stop_ids(tokenizer, model.generation_config)
        self.is_llama = is_llama(model)
        self.memory: Tensor | None = None
        self.most_tokens = sys.maxsize

    def sample(
        self,
        prompts: Sequence[Prompt],
        samples: int,
        settings: SamplingSettings,
        seed: int,
        policy_version: int,
        on_ended: Callable[[Sequence[Rollout]], None] = ignore,
    ) -> list[Rollout]:
        """See `Sampler.sample`.

        Raises:
            InputError: a prompt and its response do not fit into `cache_tokens`, the model's context or memory.
        """
        if not prompts:
            return []
        slots = max(len(prompt.ids) for prompt in prompts) + settings.max_response_tokens
        check_capacity(self.model.config, slots, settings.cache_tokens)
        model = merged(self.model)
        wanted = [(prompt, sample) for prompt in prompts for sample in range(samples)]
        decoder = LlamaDecoder(model, slots) if self.is_llama else TransformersDecoder(model)
        rollouts: dict[tuple[Prompt, int], Rollout] = {}
        given = (settings.temperature, policy_version)
        while missing := [each for each in wanted if each not in rollouts]:
            requests = [_Request(prompt, sample, seed) for prompt, sample in missing]
            try:
                with torch.inference_mode():
                    for ended in self._run(decoder, requests, slots, settings):
                        for each in ended:
                            drawn = (each.prompt, each.sample, each.ids, each.logprobs)
                            rollouts[each.prompt, each.sample] = finished(self.tokenizer, self.stops, *drawn, *given)
                        on_ended([rollouts[each.prompt, each.sample] for each in ended])
            except (MemoryError, RuntimeError) as error:
                if not _out_of_memory(error):
                    raise
                self._halve(settings.cache_tokens, slots)
        return [rollouts[each] for each in wanted]

    def _halve(self, cache_tokens: int, slots: int) -> None:
        """From now on half of the cache. What has not ended begins again, with the same random numbers.

        Raises:
            InputError: not even one sequence would fit.
        """
        before = min(cache_tokens, self.most_tokens)
        self.most_tokens = before // 2
        if self.most_tokens < slots:
            raise InputError(
                f"memory is too short for sampling one prompt and response of {slots} tokens: lower "
                "sampling.max_response_tokens or rl.microbatch_tokens, or take a smaller model"
            )
        warnings.warn(
            f"out of memory while sampling with a cache of {before} tokens: going on with {self.most_tokens}; "
            "set sampling.cache_tokens to that",
            stacklevel=3,
        )

    def _run(
        self,
        decoder: Decoder,
        requests: Sequence[_Request],
        slots: int,
        settings: SamplingSettings,
    ) -> Iterator[list[_Request]]:
        """Yields requests as they end."""
        rows = min(len(requests), min(settings.cache_tokens, self.most_tokens) // slots)
        stops = torch.tensor(sorted(self.stops), device=self.model.device)
        cache = RowCache(rows, slots, self.memory)
        self.memory = None  # what a call that fails leaves in it may be NaN
        batch = _Batch(decoder, cache, settings, stops)
        waiting = _Prefilled(decoder, requests, self.model.device)
        while batch.live or waiting:
            free = rows - len(batch.live)
            if waiting and (not batch.live or free >= min(len(waiting), max(1, rows * REFILL_SHARE))):
                batch.admit(waiting.take(free))
            else:
                batch.decode()
            if ended := batch.retire():
                yield ended
        if self.model.device.type == "cpu":
            self.memory = cache.memory


def _out_of_memory(error: Exception) -> bool:
    """Of the machine or of the device; the CPU's allocator raises a plain RuntimeError."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "can't allocate memory" in str(error)


class _Request:
    """A rollout in the making, with the random numbers that decide it."""

    def __init__(self, prompt: Prompt, sample: int, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(request_seed(seed, prompt.problem_id, sample))
        self.prompt = prompt
        self.sample = sample
        self.ids: list[int] = []
        self.logprobs: list[float] = []


@dataclass(frozen=True, slots=True)
class _Prefill:
    """Keys and values of prompts, and the logits after each [P, V]."""

    keys_values: KeysValues
    logits_PV: Tensor


class _Prefilled:
    """Requests in order, each handed out with its place in the prefill that its whole group shares."""

    def __init__(self, decoder: Decoder, requests: Sequence[_Request], device: torch.device) -> None:
        self.decoder, self.device = decoder, device
        self.queue = deque(requests)
        self.current: tuple[_Prefill, dict[tuple[int, ...], int]] | None = None

    def __len__(self) -> int:
        return len(self.queue)

    def take(self, count: int) -> Iterator[tuple[_Prefill, list[tuple[_Request, int]]]]:
        """Up to `count` requests, by the prefill that they share."""
        while count and self.queue:
            if self.current is None or self.queue[0].prompt.ids not in self.current[1]:
                self.current = self._prefill(count)
            prefill, places = self.current
            members = []
            while count and self.queue and self.queue[0].prompt.ids in places:
                request = self.queue.popleft()
                members.append((request, places[request.prompt.ids]))
                count -= 1
            yield prefill, members

    def _prefill(self, count: int) -> tuple[_Prefill, dict[tuple[int, ...], int]]:
        """Run the distinct prompts of the next `count` requests, as many as PREFILL_TOKENS allows, padded on the right:
        nothing attends to padding."""
        places: dict[tuple[int, ...], int] = {}
        longest = 0
        for request in islice(self.queue, count):
            longest = max(longest, len(request.prompt.ids))
            if request.prompt.ids not in places:
                if places and (len(places) + 1) * longest > PREFILL_TOKENS:
                    break
                places[request.prompt.ids] = len(places)
        lengths_P = torch.tensor([len(ids) for ids in places])
        ids_PT = torch.zeros(len(places), int(lengths_P.max()), dtype=torch.long)
        for ids, row in places.items():
            ids_PT[row, : len(ids)] = torch.tensor(ids)
        return _Prefill(*self.decoder.prefill(ids_PT.to(self.device), lengths_P.to(self.device))), places


class _Batch:
    """The rows that are being decoded. `live[r]` occupies row r; rows beyond are free. What is sampled stays in tensors
    until a rollout has ended."""

    def __init__(self, decoder: Decoder, cache: RowCache, settings: SamplingSettings, stops: Tensor) -> None:
        self.decoder, self.cache, self.settings, self.stops = decoder, cache, settings, stops
        self.live: list[_Request] = []
        device, rows, budget = stops.device, cache.rows, settings.max_response_tokens
        self.lengths_R = torch.zeros(rows, dtype=torch.long, device=device)
        self.sampled_R = torch.zeros(rows, dtype=torch.long, device=device)
        self.tokens_RT = torch.zeros(rows, budget, dtype=torch.long, device=device)
        self.logprobs_RT = torch.zeros(rows, budget, device=device)
        self.uniforms_RT = torch.zeros(rows, budget, device=device)

    def admit(self, groups: Iterator[tuple[_Prefill, list[tuple[_Request, int]]]]) -> None:
        """Give each request a free row holding its prompt, and sample its first token."""
        for prefill, members in groups:
            rows = slice(len(self.live), len(self.live) + len(members))
            self.live += [request for request, _ in members]
            places = torch.tensor([place for _, place in members], device=self.stops.device)
            self.lengths_R[rows] = torch.tensor([len(request.prompt.ids) for request, _ in members])
            self.cache.fill(rows, prefill.keys_values, places, self.lengths_R[rows])
            self.sampled_R[rows] = 0
            self.uniforms_RT[rows] = torch.stack(
                [torch.rand(self.settings.max_response_tokens, generator=request.generator) for request, _ in members]
            ).to(self.uniforms_RT.device)
            self._sample(rows, prefill.logits_PV[places])

    def decode(self) -> None:
        """One token for every live row."""
        live = slice(0, len(self.live))
        positions_B = self.lengths_R[live]
        tokens_B = self.tokens_RT[live].gather(1, self.sampled_R[live, None] - 1).squeeze(1)
        logits_BV = self.decoder.decode(tokens_B, positions_B, self.cache)
        self.lengths_R[live] += 1
        self._sample(live, logits_BV)

    def _sample(self, rows: slice, logits_BV: Tensor) -> None:
        next_B1 = self.sampled_R[rows, None]
        uniforms_B = self.uniforms_RT[rows].gather(1, next_B1).squeeze(1)
        tokens_B, logprobs_B = self.decoder.draw(logits_BV.float(), uniforms_B, self.settings.temperature)
        self.tokens_RT[rows].scatter_(1, next_B1, tokens_B[:, None])
        self.logprobs_RT[rows].scatter_(1, next_B1, logprobs_B[:, None])
        self.sampled_R[rows] += 1

    def retire(self) -> list[_Request]:
        """The requests that have ended, with what was sampled for them; the last rows close the gaps."""
        live = slice(0, len(self.live))
        last_B = self.tokens_RT[live].gather(1, self.sampled_R[live, None] - 1).squeeze(1)
        ended_B = torch.isin(last_B, self.stops) | (self.sampled_R[live] == self.settings.max_response_tokens)
        if not ended_B.any():
            return []
        ended = ended_B.nonzero().squeeze(1).tolist()
        requests = [self.live[row] for row in ended]
        for row in ended:
            count = int(self.sampled_R[row])
            self.live[row].ids = self.tokens_RT[row, :count].tolist()
            self.live[row].logprobs = self.logprobs_RT[row, :count].tolist()
        count, gone = len(self.live) - len(ended), set(ended)
        holes = [row for row in ended if row < count]
        if holes:
            movers = [row for row in range(count, len(self.live)) if row not in gone]
            target, source = (torch.tensor(rows, device=self.stops.device) for rows in (holes, movers))
            self.cache.move(source, target, int(self.lengths_R[source].max()))
            for tensor in (self.lengths_R, self.sampled_R, self.tokens_RT, self.logprobs_RT, self.uniforms_RT):
                tensor[target] = tensor[source]
            for hole, mover in zip(holes, movers, strict=True):
                self.live[hole] = self.live[mover]
        del self.live[count:]
        return requests


def check_capacity(config: PretrainedConfig, slots: int, cache_tokens: int) -> None:
    """Raises InputError when one sequence of `slots` tokens does not fit the cache or the model, or when the model has
    layers that the native sampler can't run."""
    config = config.get_text_config()
    check_room(config, slots, cache_tokens)
    kinds = set(getattr(config, "layer_types", None) or ())
    if kinds - {"full_attention", "sliding_attention"}:
        raise InputError(f"the native sampler runs attention layers only, this model has {sorted(kinds)}")
    window = getattr(config, "sliding_window", None) if getattr(config, "use_sliding_window", True) else None
    if window and kinds != {"full_attention"} and slots > window:
        raise InputError(
            f"a prompt and its response need {slots} tokens, the model's sliding window is {window}: "
            "lower sampling.max_response_tokens"
        )

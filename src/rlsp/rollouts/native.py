"""The embedded sampler: continuous batching for any Hugging Face causal LM with attention layers.

The samples of one prompt share its prefill. Keys and values live in a preallocated cache of rows; a rollout occupies
one row until it ends, then the row goes to a waiting rollout, or the last row moves into it, so that the batch holds
live rollouts only.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import DynamicCache, PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase
from transformers.cache_utils import Cache, CacheLayerMixin

from rlsp.errors import InputError
from rlsp.lora import merged
from rlsp.models import logits_at
from rlsp.prompts import decode_response, stop_ids
from rlsp.rollouts.sampler import Prompt, SamplingSettings
from rlsp.types import Finish, Rollout

REFILL_SHARE = 1 / 8
"""New prompts are prefilled once this share of the rows is free: one larger prefill beats many small ones."""


class NativeSampler:
    """Samples from `model` as its weights are at the time of the call."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.stops = stop_ids(tokenizer, model)

    @torch.inference_mode()
    def sample(
        self,
        prompts: Sequence[Prompt],
        samples: int,
        settings: SamplingSettings,
        seed: int,
        policy_version: int,
        on_progress: Callable[[int], None] = lambda finished: None,
    ) -> list[Rollout]:
        """See `Sampler.sample`. `on_progress` hears how many rollouts have ended so far.

        Raises:
            InputError: a prompt and its response do not fit into `cache_tokens` or the model's context.
        """
        if not prompts:
            return []
        slots = max(len(prompt.ids) for prompt in prompts) + settings.max_response_tokens
        check_capacity(self.model.config, slots, settings.cache_tokens)
        requests = [_Request(prompt, sample, seed) for prompt in prompts for sample in range(samples)]
        rows = min(len(requests), settings.cache_tokens // slots)
        model = merged(self.model)
        batch = _Batch(model, rows, slots, settings)
        waiting = _Prefilled(model, requests, rows)
        finished = 0
        while batch.live or waiting:
            free = rows - len(batch.live)
            if waiting and (not batch.live or free >= min(len(waiting), max(1, rows * REFILL_SHARE))):
                batch.admit(waiting.take(free))
            else:
                batch.decode()
            done = batch.retire(self.stops)
            if done:
                finished += done
                on_progress(finished)
        return [self._rollout(request, settings, policy_version) for request in requests]

    def _rollout(self, request: _Request, settings: SamplingSettings, policy_version: int) -> Rollout:
        return Rollout(
            problem_id=request.prompt.problem_id,
            sample=request.sample,
            prompt_ids=request.prompt.ids,
            response_ids=tuple(request.ids),
            logprobs=tuple(request.logprobs),
            text=decode_response(self.tokenizer, request.ids, self.stops),
            finish=Finish.EOS if request.ids[-1] in self.stops else Finish.LENGTH,
            temperature=settings.temperature,
            policy_version=policy_version,
        )


class _Request:
    """A rollout in the making, with the random numbers that decide it."""

    def __init__(self, prompt: Prompt, sample: int, seed: int) -> None:
        digest = hashlib.sha256(f"{seed}/{prompt.problem_id}/{sample}".encode()).digest()
        self.generator = torch.Generator().manual_seed(int.from_bytes(digest[:8]) >> 1)
        self.prompt = prompt
        self.sample = sample
        self.ids: list[int] = []
        self.logprobs: list[float] = []


@dataclass(frozen=True, slots=True)
class _Prefill:
    """Keys and values of prompts [P, heads, T, dim] a layer, and the logits after each prompt [P, V]."""

    keys_values: list[tuple[Tensor, Tensor]]
    logits_PV: Tensor


class _Prefilled:
    """Requests in order, each handed out with its place in the prefill that its whole group shares."""

    def __init__(self, model: PreTrainedModel, requests: Sequence[_Request], rows: int) -> None:
        self.model = model
        self.rows = rows
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
        """Run the distinct prompts of the next `count` requests, padded on the right: nothing attends to padding."""
        places: dict[tuple[int, ...], int] = {}
        for request in list(self.queue)[:count]:
            places.setdefault(request.prompt.ids, len(places))
        lengths = torch.tensor([len(ids) for ids in places])
        ids_PT = torch.zeros(len(places), int(lengths.max()), dtype=torch.long)
        for ids, row in places.items():
            ids_PT[row, : len(ids)] = torch.tensor(ids)
        cache = DynamicCache()
        device = self.model.device
        logits_PV = logits_at(
            self.model, (lengths - 1).to(device), input_ids=ids_PT.to(device), past_key_values=cache, use_cache=True
        )
        return _Prefill([_keys_values(layer) for layer in cache.layers], logits_PV), places


def _keys_values(layer: object) -> tuple[Tensor, Tensor]:
    assert isinstance(layer, CacheLayerMixin) and layer.keys is not None and layer.values is not None
    return layer.keys, layer.values


class _Batch:
    """The rows that are being decoded. `live[r]` occupies row r; rows beyond are free."""

    def __init__(self, model: PreTrainedModel, rows: int, slots: int, settings: SamplingSettings) -> None:
        self.model = model
        self.settings = settings
        self.live: list[_Request] = []
        self.cache = _RowCache(rows, slots)
        device = model.device
        self.lengths_R = torch.zeros(rows, dtype=torch.long, device=device)
        self.tokens_R = torch.zeros(rows, dtype=torch.long, device=device)
        self.uniforms_RT = torch.zeros(rows, settings.max_response_tokens, device=device)
        self.sampled_R = torch.zeros(rows, dtype=torch.long, device=device)
        self.slots_S = torch.arange(slots, device=device)

    def admit(self, groups: Iterator[tuple[_Prefill, list[tuple[_Request, int]]]]) -> None:
        """Give each request a free row holding its prompt, and sample its first token."""
        for prefill, members in groups:
            first, end = len(self.live), len(self.live) + len(members)
            self.live += [request for request, _ in members]
            rows = slice(first, end)
            places = torch.tensor([place for _, place in members], device=self.model.device)
            self.cache.fill(rows, prefill.keys_values, places)
            self.lengths_R[rows] = torch.tensor([len(request.prompt.ids) for request, _ in members])
            self.sampled_R[rows] = 0
            self.uniforms_RT[rows] = torch.stack(
                [torch.rand(self.settings.max_response_tokens, generator=request.generator) for request, _ in members]
            ).to(self.uniforms_RT.device)
            self._sample(rows, prefill.logits_PV[places])

    def decode(self) -> None:
        """One token for every live row."""
        live = slice(0, len(self.live))
        positions_B = self.lengths_R[live]
        width = int(positions_B.max()) + 1
        hidden_BS = self.slots_S[:width] > positions_B[:, None]
        mask_B11S = torch.zeros(hidden_BS.shape, dtype=self.model.dtype, device=self.model.device)
        mask_B11S = mask_B11S.masked_fill(hidden_BS, torch.finfo(self.model.dtype).min)[:, None, None]
        self.cache.aim(positions_B, width)
        logits_BV = logits_at(
            self.model,
            torch.zeros_like(positions_B),
            input_ids=self.tokens_R[live, None],
            position_ids=positions_B[:, None],
            attention_mask=mask_B11S,
            past_key_values=self.cache,
            use_cache=True,
        )
        self.lengths_R[live] += 1
        self._sample(live, logits_BV)

    def _sample(self, rows: slice, logits_BV: Tensor) -> None:
        uniforms_B = self.uniforms_RT[rows].gather(1, self.sampled_R[rows, None]).squeeze(1)
        tokens_B, logprobs_B = draw(logits_BV.float(), uniforms_B, self.settings.temperature)
        self.tokens_R[rows] = tokens_B
        self.sampled_R[rows] += 1
        for request, token, logprob in zip(self.live[rows], tokens_B.tolist(), logprobs_B.tolist(), strict=True):
            request.ids.append(token)
            request.logprobs.append(logprob)

    def retire(self, stops: frozenset[int]) -> int:
        """Free the rows of finished rollouts and close the gaps with the last rows; how many finished."""
        limit = self.settings.max_response_tokens
        alive = [request.ids[-1] not in stops and len(request.ids) < limit for request in self.live]
        count = sum(alive)
        if count == len(alive):
            return 0
        holes = [row for row in range(count) if not alive[row]]
        movers = [row for row in range(count, len(alive)) if alive[row]]
        if holes:
            target, source = torch.tensor(holes), torch.tensor(movers)
            self.cache.move(source, target, int(self.lengths_R[source].max()))
            for tensor in (self.lengths_R, self.tokens_R, self.uniforms_RT, self.sampled_R):
                tensor[target] = tensor[source]
            for hole, mover in zip(holes, movers, strict=True):
                self.live[hole] = self.live[mover]
        finished = len(self.live) - count
        del self.live[count:]
        return finished


def draw(logits_BV: Tensor, uniforms_B: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Sample by inverting the cumulative distribution: no sorting, one uniform number a token.

    Returns:
        (tokens [B], their log-probs [B] at the temperature; at temperature 0 the argmax and its log-prob at 1).
    """
    if temperature == 0:
        logprobs_BV = logits_BV.log_softmax(-1)
        tokens_B = logits_BV.argmax(-1)
    else:
        logprobs_BV = (logits_BV / temperature).log_softmax(-1)
        cumulative_BV = logprobs_BV.exp().cumsum(-1)
        aims_B1 = uniforms_B.clamp(max=1 - 1e-6)[:, None] * cumulative_BV[:, -1:]
        tokens_B = torch.searchsorted(cumulative_BV, aims_B1, right=True).squeeze(1)
    drawn_B = logprobs_BV.gather(1, tokens_B.clamp(max=logprobs_BV.shape[1] - 1)[:, None]).squeeze(1)
    if not torch.isfinite(drawn_B).all():
        raise RuntimeError("the model's logits are NaN or infinite: look for NaN in its weights")
    return tokens_B, drawn_B


class _RowLayer(CacheLayerMixin):
    """One layer's keys and values, [rows, heads, slots, dim], allocated once."""

    def __init__(self, rows: int, slots: int) -> None:
        super().__init__()
        self.shape = (rows, slots)

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        rows, slots = self.shape
        self.keys = key_states.new_zeros(rows, key_states.shape[1], slots, key_states.shape[3])
        self.values = value_states.new_zeros(rows, value_states.shape[1], slots, value_states.shape[3])
        self.is_initialized = True

    def fill(self, rows: slice, keys: Tensor, values: Tensor) -> None:
        """Write prompts, [rows, heads, T, dim], from slot 0 on."""
        if not self.is_initialized:
            self.lazy_initialization(keys, values)
        own_keys, own_values = _keys_values(self)
        own_keys[rows, :, : keys.shape[2]] = keys
        own_values[rows, :, : values.shape[2]] = values

    def aim(self, positions_B: Tensor, width: int) -> None:
        """Where the next update writes: one slot a row."""
        self.rows_B = torch.arange(len(positions_B), device=positions_B.device)
        self.positions_B, self.width = positions_B, width

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: object, **kwargs: object
    ) -> tuple[Tensor, Tensor]:
        keys, values = _keys_values(self)
        keys[self.rows_B, :, self.positions_B] = key_states[:, :, 0]
        values[self.rows_B, :, self.positions_B] = value_states[:, :, 0]
        live = len(self.rows_B)
        return keys[:live, :, : self.width], values[:live, :, : self.width]

    def move(self, source: Tensor, target: Tensor, width: int) -> None:
        """Copy rows onto rows, up to `width` slots."""
        for tensor in _keys_values(self):
            tensor[target, :, :width] = tensor[source, :, :width]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.width, 0

    def get_seq_length(self) -> int:
        return self.width - 1

    def get_max_length(self) -> int:
        return self.shape[1]


class _RowCache(Cache):
    """A cache whose rows advance independently of each other."""

    def __init__(self, rows: int, slots: int) -> None:
        super().__init__(layers=[])
        self.shape = (rows, slots)
        self.row_layers: list[_RowLayer] = []

    def fill(self, rows: slice, keys_values: list[tuple[Tensor, Tensor]], places: Tensor) -> None:
        """Copy prefilled prompts into rows: row i receives prompt places[i]."""
        if not self.row_layers:
            self.row_layers = [_RowLayer(*self.shape) for _ in keys_values]
            self.layers = list(self.row_layers)
        for layer, (keys, values) in zip(self.row_layers, keys_values, strict=True):
            layer.fill(rows, keys[places], values[places])

    def aim(self, positions_B: Tensor, width: int) -> None:
        for layer in self.row_layers:
            layer.aim(positions_B, width)

    def move(self, source: Tensor, target: Tensor, width: int) -> None:
        for layer in self.row_layers:
            layer.move(source, target, width)


def check_capacity(config: PretrainedConfig, slots: int, cache_tokens: int) -> None:
    """Raises InputError when one sequence of `slots` tokens does not fit the cache or the model, or when the model has
    layers that the native sampler can't run."""
    config = config.get_text_config()
    if slots > cache_tokens:
        raise InputError(
            f"a prompt and its response need {slots} tokens of cache, sampling.cache_tokens is {cache_tokens}: raise it"
        )
    context = getattr(config, "max_position_embeddings", None)
    if context and slots > context:
        raise InputError(
            f"a prompt and its response need {slots} positions, the model has {context}: "
            "lower sampling.max_response_tokens"
        )
    kinds = set(getattr(config, "layer_types", None) or ())
    if kinds - {"full_attention", "sliding_attention"}:
        raise InputError(f"the native sampler runs attention layers only, this model has {sorted(kinds)}")
    window = getattr(config, "sliding_window", None) if getattr(config, "use_sliding_window", True) else None
    if window and kinds != {"full_attention"} and slots > window:
        raise InputError(
            f"a prompt and its response need {slots} tokens, the model's sliding window is {window}: "
            "lower sampling.max_response_tokens"
        )

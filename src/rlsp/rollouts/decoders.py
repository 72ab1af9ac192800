"""How the native sampler runs a model: prompts at once, then one token a row."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import Cache, CacheLayerMixin

from rlsp.models import logits_at
from rlsp.rollouts.draw import Draw, draw
from rlsp.rollouts.rows import KeysValues, Places, RowCache


class Decoder(Protocol):
    """Runs the model with the weights it has when the decoder is made; it is made for one call of `sample`."""

    draw: Draw

    def prefill(self, ids_PT: Tensor, lengths_P: Tensor) -> tuple[KeysValues, Tensor]:
        """Prompts, padded on the right.

        Returns:
            (keys and values a layer, the logits [P, V] after each prompt).
        """
        ...

    def decode(self, tokens_B: Tensor, positions_B: Tensor, cache: RowCache) -> Tensor:
        """Add one token to each of the cache's first B rows, at its position; the logits [B, V] after it."""
        ...


class TransformersDecoder:
    """Any Hugging Face causal LM with attention layers, by its own forward pass."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model
        self.draw: Draw = draw

    def prefill(self, ids_PT: Tensor, lengths_P: Tensor) -> tuple[KeysValues, Tensor]:
        cache = DynamicCache()
        logits_PV = logits_at(self.model, lengths_P - 1, input_ids=ids_PT, past_key_values=cache, use_cache=True)
        keys_values = []
        for layer in cache.layers:
            assert isinstance(layer, CacheLayerMixin) and layer.keys is not None and layer.values is not None
            keys_values.append((layer.keys.transpose(1, 2), layer.values.transpose(1, 2)))
        return keys_values, logits_PV

    def decode(self, tokens_B: Tensor, positions_B: Tensor, cache: RowCache) -> Tensor:
        places = Places(positions_B, self.model.dtype)
        return logits_at(
            self.model,
            torch.zeros_like(positions_B),
            input_ids=tokens_B[:, None],
            position_ids=positions_B[:, None],
            attention_mask=places.mask_B11S,
            past_key_values=_Adapter(cache, places),
            use_cache=True,
        )


class _AdapterLayer(CacheLayerMixin):
    def __init__(self, cache: RowCache, layer: int, places: Places) -> None:
        super().__init__()
        self.cache, self.layer, self.places = cache, layer, places
        self.is_initialized = True

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """The rows are there."""

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: object, **kwargs: object
    ) -> tuple[Tensor, Tensor]:
        return self.cache.put(self.layer, self.places, key_states[:, :, 0], value_states[:, :, 0])

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.places.width, 0

    def get_seq_length(self) -> int:
        return self.places.width - 1

    def get_max_length(self) -> int:
        return self.cache.slots


class _Adapter(Cache):
    """The rows as a transformers cache, for one token."""

    def __init__(self, cache: RowCache, places: Places) -> None:
        super().__init__(layers=[_AdapterLayer(cache, layer, places) for layer in range(len(cache.layers))])

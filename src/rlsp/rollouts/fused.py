"""Decoding in C++ where it runs on a CPU in float32 and there is a compiler, else in torch.

Torch makes a dozen passes over numbers that do not stay in the cache between two products, enters a new operation for
each, and attends in all rows as far as in the longest. Here one call takes one token of every row through the whole
model: each row costs what it holds, and a thread that has rows enough of its own waits for no other.
"""

from __future__ import annotations

from collections.abc import Sequence
from ctypes import CDLL, POINTER, Structure, byref, c_double, c_float, c_int, c_int64, c_void_p
from functools import cache

import torch
from torch import Tensor
from transformers import PreTrainedModel

from rlsp.rollouts import compiling
from rlsp.rollouts.draw import draw, finite
from rlsp.rollouts.layers import Layer, Linear, Norm
from rlsp.rollouts.rows import RowCache

PARTS = ("products", "attention", "norms, residuals and gates")
"""What the time of decoding is kept by."""


class _Norm(Structure):
    _fields_ = [("weight", c_void_p), ("epsilon", c_float)]


class _Layer(Structure):
    _fields_ = [
        *((name, _Norm) for name in ("input", "query", "key", "post_attention")),
        *((name, c_void_p) for name in ("qkv", "output", "gate_up", "down", "keys", "values")),
    ]


class _Model(Structure):
    _fields_ = [
        *((name, c_int64) for name in ("layers", "width", "inner", "vocabulary", "slots")),
        ("scale", c_float),
        ("layer", POINTER(_Layer)),
        ("last", _Norm),
        *((name, c_void_p) for name in ("head", "cosines", "sines")),
    ]


SIGNATURES = {
    "packed_size": (c_int64, (c_int64, c_int64)),
    "pack": (None, (c_int64, c_int64, c_int, *[c_void_p] * 3)),
    "linear": (None, (c_int64, c_int, c_int64, c_int64, *[c_void_p] * 3)),
    "draw": (None, (c_int64, c_int, c_int64, c_float, *[c_void_p] * 4)),
    "scratch_size": (c_int64, (POINTER(_Model), c_int64, c_int)),
    "decode": (None, (POINTER(_Model), c_int64, c_int, *[c_void_p] * 6, POINTER(c_double))),
}


class Packed:
    """A matrix [outer, inner] with its biases, in the order in which products read it."""

    def __init__(self, library: CDLL, weight: Tensor, bias: Tensor | None) -> None:
        self.library, (self.outer, self.inner) = library, weight.shape
        self.panels = torch.empty(library.packed_size(self.outer, self.inner))
        library.pack(
            self.outer, self.inner, torch.get_num_threads(), weight.data_ptr(), _address(bias), self.panels.data_ptr()
        )

    def __call__(self, inputs_NI: Tensor) -> Tensor:
        """The product [N, outer], biases added."""
        out_NO = inputs_NI.new_empty(len(inputs_NI), self.outer)
        self.library.linear(
            len(inputs_NI), torch.get_num_threads(), self.outer, self.inner, inputs_NI.data_ptr(),
            self.panels.data_ptr(), out_NO.data_ptr(),
        )  # fmt: skip
        return out_NO


class Fused:
    """A model's layers and head, packed, and their one call.

    Attributes:
        seconds: gain what `PARTS` take, if there are any.
    """

    def __init__(
        self,
        library: CDLL,
        layers: Sequence[Layer],
        final_norm: Norm,
        head: Linear,
        scale: float,
        rotary_SD: tuple[Tensor, Tensor],
    ) -> None:
        self.library, self.layers, self.head, self.rotary_SD = library, layers, head, rotary_SD
        self.seconds: list[float] | None = None
        self._packed = [Packed(library, each.weight, each.bias) for each in (head, *_products(layers))]
        for each, packed in zip((head, *_products(layers)), self._packed, strict=True):
            each.packed = packed
        first = layers[0]
        cosines_SD, sines_SD = rotary_SD
        self._layers = (_Layer * len(layers))()
        self._model = _Model(
            len(layers), first.down.weight.shape[0], first.down.weight.shape[1], len(head.weight), len(cosines_SD),
            scale, self._layers, _norm(final_norm), self._packed[0].panels.data_ptr(), cosines_SD.data_ptr(),
            sines_SD.data_ptr(),
        )  # fmt: skip
        for number, layer in enumerate(layers):
            norms = (layer.input_norm, layer.query_norm, layer.key_norm, layer.post_attention_norm)
            panels = (each.panels.data_ptr() for each in self._packed[1 + 4 * number : 5 + 4 * number])
            self._layers[number] = _Layer(*map(_norm, norms), *panels)

    def decode(self, states_BH: Tensor, positions_B: Tensor, cache: RowCache) -> Tensor:
        """One token of each of the cache's first B rows, whose keys and values go to its position. `states_BH`, its
        embeddings, are gone afterwards.

        Returns:
            The logits [B, V] after it.
        """
        count, threads = len(states_BH), torch.get_num_threads()
        for own, (keys, values) in zip(self._layers, cache.layers, strict=True):
            own.keys, own.values = keys.data_ptr(), values.data_ptr()
        self._model.slots = cache.slots
        scratch = torch.empty(self.library.scratch_size(byref(self._model), count, threads))
        logits_BV = states_BH.new_empty(count, self._model.vocabulary)
        seconds = None if self.seconds is None else (c_double * len(PARTS))(*self.seconds)
        self.library.decode(
            byref(self._model), count, threads, states_BH.data_ptr(), positions_B.data_ptr(),
            cache.leaders_R.data_ptr(), cache.lengths_R.data_ptr(), scratch.data_ptr(), logits_BV.data_ptr(), seconds,
        )  # fmt: skip
        self.seconds = None if seconds is None else list(seconds)
        return logits_BV


def compiled_draw(library: CDLL, logits_BV: Tensor, uniforms_B: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """See `rlsp.rollouts.draw.draw`; the logits stay."""
    if temperature == 0:
        return draw(logits_BV, uniforms_B, temperature)
    (rows, vocabulary), threads = logits_BV.shape, torch.get_num_threads()
    tokens_B, logprobs_B = torch.empty(rows, dtype=torch.long), torch.empty(rows)
    library.draw(
        rows, threads, vocabulary, temperature, logits_BV.data_ptr(), uniforms_B.data_ptr(), tokens_B.data_ptr(),
        logprobs_B.data_ptr(),
    )  # fmt: skip
    return tokens_B, finite(logprobs_B)


def _products(layers: Sequence[Layer]) -> list[Linear]:
    return [each for layer in layers for each in (layer.qkv, layer.output, layer.gate_up, layer.down)]


def _norm(norm: Norm | None) -> _Norm:
    return _Norm(norm.weight.data_ptr(), norm.epsilon) if norm else _Norm(None, 0)


def library_for(model: PreTrainedModel, heads: int, groups: int, dim: int) -> CDLL | None:
    """None where the model's parameters are not all float32 on a CPU, or nothing can be compiled for it."""
    if any(each.device.type != "cpu" or each.dtype != torch.float32 for each in model.parameters()):
        return None
    return compiled(heads, groups, dim) if dim % 8 == 0 else None


@cache
def compiled(heads: int, groups: int, dim: int) -> CDLL | None:
    """See `compiling.library`."""
    library = compiling.library(HEADS=heads, GROUPS=groups, DIM=dim)
    if library:
        for name, (returned, arguments) in SIGNATURES.items():
            getattr(library, name).argtypes, getattr(library, name).restype = arguments, returned
    return library


def _address(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()

"""Decoding in C++ where it runs on a CPU in float32 and there is a compiler, else in torch.

Between two products torch makes a dozen passes over numbers that do not stay in the cache, and its attention runs all
rows as long as the longest one. `fused.cpp` makes one pass, and every row costs what it holds. `products.cpp` has the
products with large matrices, for which a few rows are more work to fetch than to multiply, and `draws.cpp` the draw of
tokens. They are compiled when a model is opened, for this machine and the model's sizes, which takes a second.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import warnings
from ctypes import CDLL, c_float, c_int, c_int64, c_void_p
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import silu
from transformers import PreTrainedModel

from rlsp.rollouts.draw import draw, finite
from rlsp.rollouts.layers import Layer, Norm
from rlsp.rollouts.rows import RowCache

SOURCES = [Path(__file__).with_name(name) for name in ("fused.cpp", "products.cpp", "draws.cpp")]
FLAGS = "-O3 -march=native -fopenmp -fno-math-errno -fno-trapping-math -shared -fPIC".split()
SIGNATURES = {
    "add_norm": (c_int64, c_int, c_int64, c_void_p, c_void_p, c_void_p, c_float, c_void_p),
    "silu_and_mul": (c_int64, c_int, c_int64, c_void_p, c_void_p),
    "pack": (c_int64, c_int64, c_int, *[c_void_p] * 3),
    "linear": (c_int64, c_int, c_int64, c_int64, *[c_void_p] * 3),
    "draw": (c_int64, c_int, c_int64, c_float, *[c_void_p] * 4),
    "attend": (c_int64, c_int, c_int64, c_float, *[c_void_p] * 8, c_float, *[c_void_p] * 4),
}


class Between(Protocol):
    def add_norm(self, states_NH: Tensor, changes_NH: Tensor | None, norm: Norm) -> Tensor:
        """Adds the changes to the states, in place, and normalises them."""
        ...

    def silu_and_mul(self, wide_NI: Tensor) -> Tensor:
        """silu(the left half) · the right half [N, I / 2]."""
        ...


class Plain:
    """By torch: any device and number type."""

    def add_norm(self, states_NH: Tensor, changes_NH: Tensor | None, norm: Norm) -> Tensor:
        return norm(states_NH if changes_NH is None else states_NH.add_(changes_NH))

    def silu_and_mul(self, wide_NI: Tensor) -> Tensor:
        gates, ups = wide_NI.chunk(2, -1)
        return silu(gates).mul_(ups)


class Fused:
    """By `fused.cpp`: contiguous float32 tensors on a CPU."""

    def __init__(self, library: CDLL, heads: int, groups: int, dim: int) -> None:
        self.library, self.heads, self.groups, self.dim = library, heads, groups, dim

    def add_norm(self, states_NH: Tensor, changes_NH: Tensor | None, norm: Norm) -> Tensor:
        normed_NH = torch.empty_like(states_NH)
        (rows, width), threads = states_NH.shape, torch.get_num_threads()
        self.library.add_norm(
            rows, threads, width, states_NH.data_ptr(), _address(changes_NH), norm.weight.data_ptr(), norm.epsilon,
            normed_NH.data_ptr(),
        )  # fmt: skip
        return normed_NH

    def silu_and_mul(self, wide_NI: Tensor) -> Tensor:
        rows, width, threads = len(wide_NI), wide_NI.shape[1] // 2, torch.get_num_threads()
        gated_NI = wide_NI.new_empty(rows, width)
        self.library.silu_and_mul(rows, threads, width, wide_NI.data_ptr(), gated_NI.data_ptr())
        return gated_NI

    def draw(self, logits_BV: Tensor, uniforms_B: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
        """See `rlsp.rollouts.draw.draw`; the logits stay."""
        if temperature == 0:
            return draw(logits_BV, uniforms_B, temperature)
        (rows, vocabulary), threads = logits_BV.shape, torch.get_num_threads()
        tokens_B, logprobs_B = torch.empty(rows, dtype=torch.long), torch.empty(rows)
        self.library.draw(
            rows, threads, vocabulary, temperature, logits_BV.data_ptr(), uniforms_B.data_ptr(), tokens_B.data_ptr(),
            logprobs_B.data_ptr(),
        )  # fmt: skip
        return tokens_B, finite(logprobs_B)

    def packed(self, weight: Tensor, bias: Tensor | None) -> Packed:
        return Packed(self.library, weight, bias)

    def attend(
        self,
        number: int,
        projected_BP: Tensor,
        layer: Layer,
        scale: float,
        positions_B: Tensor,
        rotary_SD: tuple[Tensor, Tensor],
        cache: RowCache,
        scratch: Tensor,
    ) -> Tensor:
        """Rotates queries and keys by their positions, writes keys and values of layer `number` into the first B rows
        of the cache, and attends.

        Args:
            rotary_SD: cosines and sines of every position.
            scratch: see `scratch`.
        """
        keys, values = cache.layers[number]
        count = len(projected_BP)
        attended = projected_BP.new_empty(count, self.heads * self.groups * self.dim)
        weights = (norm.weight if norm else None for norm in (layer.query_norm, layer.key_norm))
        self.library.attend(
            count, len(scratch), cache.slots, scale, projected_BP.data_ptr(), positions_B.data_ptr(),
            cache.leaders_R.data_ptr(), cache.lengths_R.data_ptr(),
            *(each.data_ptr() for each in rotary_SD), *map(_address, weights),
            layer.query_norm.epsilon if layer.query_norm else 0.0, keys.data_ptr(), values.data_ptr(),
            scratch.data_ptr(), attended.data_ptr(),
        )  # fmt: skip
        return attended

    def scratch(self, slots: int) -> Tensor:
        """Room for one row's scores, for each thread."""
        return torch.empty(torch.get_num_threads(), self.heads * self.groups, slots)


class Packed:
    """A matrix [outer, inner] with its biases, in the order in which products read it."""

    def __init__(self, library: CDLL, weight: Tensor, bias: Tensor | None) -> None:
        self.library, (self.outer, self.inner) = library, weight.shape
        self.panels = torch.empty(library.packed_size(self.outer, self.inner))
        library.pack(
            self.outer, self.inner, torch.get_num_threads(), weight.data_ptr(), _address(bias),
            self.panels.data_ptr(),
        )  # fmt: skip

    def __call__(self, inputs_NI: Tensor) -> Tensor:
        """The product [N, outer], biases added."""
        out_NO = inputs_NI.new_empty(len(inputs_NI), self.outer)
        self.library.linear(
            len(inputs_NI), torch.get_num_threads(), self.outer, self.inner, inputs_NI.data_ptr(),
            self.panels.data_ptr(), out_NO.data_ptr(),
        )  # fmt: skip
        return out_NO


def fused_for(model: PreTrainedModel, heads: int, groups: int, dim: int) -> Fused | None:
    """None where the model's parameters are not all float32 on a CPU, or nothing can be compiled for it."""
    if any(each.device.type != "cpu" or each.dtype != torch.float32 for each in model.parameters()):
        return None
    library = _compiled(heads, groups, dim) if dim % 8 == 0 else None
    return Fused(library, heads, groups, dim) if library else None


@cache
def _compiled(heads: int, groups: int, dim: int) -> CDLL | None:
    """None without g++; or when it fails, or the folder for temporary files may hold no programs, which a warning
    tells."""
    compiler = shutil.which("g++")
    if compiler is None or sys.platform != "linux":
        return None
    sizes = [f"-DHEADS={heads}", f"-DGROUPS={groups}", f"-DDIM={dim}"]
    with TemporaryDirectory() as folder:
        target = Path(folder) / "fused.so"
        try:
            command: list[str | Path] = [compiler, *FLAGS, *sizes, *SOURCES, "-o", target]
            subprocess.run(command, capture_output=True, text=True, check=True)
            library = CDLL(str(target))
        except (subprocess.CalledProcessError, OSError) as error:
            reason = error.stderr[:500] if isinstance(error, subprocess.CalledProcessError) else error
            warnings.warn(f"decoding is slower: {SOURCES[0].name} can't be compiled or loaded: {reason}", stacklevel=2)
            return None
    for name, arguments in SIGNATURES.items():
        getattr(library, name).argtypes, getattr(library, name).restype = arguments, None
    library.packed_size.argtypes, library.packed_size.restype = (c_int64, c_int64), c_int64
    return library


def _address(tensor: Tensor | None) -> int | None:
    return None if tensor is None else tensor.data_ptr()

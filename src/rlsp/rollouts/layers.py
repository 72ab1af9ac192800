"""The weights of the Llama family as decoding reads them: projections of one input are side by side, large matrices
packed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear


class Linear:
    """A product is quicker with a copy of its matrix in the order in which it is read."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self.weight, self.bias = weight, bias
        self.packed: Callable[[Tensor], Tensor] | None = None

    def __call__(self, inputs: Tensor) -> Tensor:
        return self.packed(inputs) if self.packed else linear(inputs, self.weight, self.bias)


@dataclass(frozen=True, slots=True)
class Norm:
    """Root mean square normalisation over the last dimension (Zhang and Sennrich 2019)."""

    weight: Tensor
    epsilon: float

    def __call__(self, inputs: Tensor) -> Tensor:
        squares = torch.linalg.vector_norm(inputs, dim=-1, keepdim=True).square_()
        return (inputs * squares.div_(len(self.weight)).add_(self.epsilon).rsqrt_()).mul_(self.weight)


@dataclass(frozen=True, slots=True)
class Layer:
    """`qkv` makes queries, keys and values in one product, `gate_up` the gate and what it gates."""

    input_norm: Norm
    qkv: Linear
    query_norm: Norm | None
    key_norm: Norm | None
    output: Linear
    post_attention_norm: Norm
    gate_up: Linear
    down: Linear


def layer_of(layer: Any) -> Layer:
    attention, mlp = layer.self_attn, layer.mlp
    return Layer(
        input_norm=norm_of(layer.input_layernorm),
        qkv=side_by_side(attention.q_proj, attention.k_proj, attention.v_proj),
        query_norm=norm_of(attention.q_norm) if hasattr(attention, "q_norm") else None,
        key_norm=norm_of(attention.k_norm) if hasattr(attention, "k_norm") else None,
        output=side_by_side(attention.o_proj),
        post_attention_norm=norm_of(layer.post_attention_layernorm),
        gate_up=side_by_side(mlp.gate_proj, mlp.up_proj),
        down=side_by_side(mlp.down_proj),
    )


def norm_of(norm: Any) -> Norm:
    return Norm(norm.weight, norm.variance_epsilon)


def side_by_side(*parts: nn.Linear) -> Linear:
    """The parts as one product, their parameters moved next to each other unless they are already."""
    biases = [each.bias for each in parts if each.bias is not None]
    return Linear(_adjacent([each.weight for each in parts]), _adjacent(biases) if biases else None)


def _adjacent(parts: Sequence[Tensor]) -> Tensor:
    """One tensor of which the parameters are consecutive pieces; what lies alone moves into a new one where they are
    not."""
    first = parts[0]
    storage, place = first.untyped_storage().data_ptr(), first.storage_offset()
    for part in parts:
        together = part.untyped_storage().data_ptr() == storage and part.storage_offset() == place
        if not together or not part.is_contiguous():
            joined = torch.cat([each.detach() for each in parts])
            for each, piece in zip(parts, joined.split([len(each) for each in parts]), strict=True):
                if each.untyped_storage().nbytes() == each.nbytes:  # part of another model's weights stays there
                    each.data = piece
            return joined
        place += part.numel()
    rows = sum(len(part) for part in parts)
    return first.detach().as_strided((rows, *first.shape[1:]), first.stride())

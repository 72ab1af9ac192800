"""Decoding for the Llama family (Llama, Mistral, Qwen2, Qwen3, SmolLM2 …) without what makes the general forward pass
slow one token at a time: copies of grouped keys and values, separate projections of one input, Python between layers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, pad, scaled_dot_product_attention, silu
from transformers import PreTrainedModel

from rlsp.models import trunk_of
from rlsp.rollouts.rows import KeysValues, Places, RowCache

LAYER = {
    "input_layernorm.weight",
    "self_attn.q_proj.weight",
    "self_attn.k_proj.weight",
    "self_attn.v_proj.weight",
    "self_attn.o_proj.weight",
    "post_attention_layernorm.weight",
    "mlp.gate_proj.weight",
    "mlp.up_proj.weight",
    "mlp.down_proj.weight",
}
OPTIONAL = {f"{name.removesuffix('weight')}bias" for name in LAYER if "_proj" in name} | {
    "self_attn.q_norm.weight",
    "self_attn.k_norm.weight",
}
"""Parameters of a layer of the family."""
PACKED_FROM = 2**18
"""Smaller matrices stay in the cache, and packing them does not pay."""
LEAST_ROWS = 4
"""Nor does it pay for products of fewer rows."""
SPARE_ROWS = 1 / 4
"""Rows that end leave up to this share of a packed product empty, then the matrices are packed anew."""


def is_llama(model: PreTrainedModel) -> bool:
    """Whether the model is of the family: it has the family's parameters, and this decoder gives the logits that its
    own forward pass gives."""
    trunk: Any = trunk_of(model)
    if not all(hasattr(trunk, name) for name in ("embed_tokens", "layers", "norm", "rotary_emb")):
        return False
    names = [{name for name, _ in layer.named_parameters()} for layer in trunk.layers]
    if not all(LAYER <= each <= LAYER | OPTIONAL for each in names):
        return False
    norms = [trunk.norm, *(layer.input_layernorm for layer in trunk.layers)]
    attentions = [layer.self_attn for layer in trunk.layers]
    if not all(hasattr(norm, "variance_epsilon") for norm in norms):
        return False
    return all(hasattr(each, "head_dim") and hasattr(each, "scaling") for each in attentions) and _agree(model)


@torch.no_grad()
def _agree(model: PreTrainedModel) -> bool:
    """Compares the logits after a prompt and after one more token with the model's own, for two rows of unequal
    lengths."""
    tokens, lengths = 12, torch.tensor([11, 5], device=model.device)
    generator = torch.Generator().manual_seed(0)
    ids_BT = torch.randint(model.config.get_text_config().vocab_size, (2, tokens), generator=generator).to(model.device)
    rows = torch.arange(2, device=model.device)
    decoder, cache = LlamaDecoder(model, tokens), RowCache(2, tokens)
    kept, after_prompt = decoder.prefill(ids_BT, lengths)
    cache.fill(slice(0, 2), kept, rows)
    after_token = decoder.decode(ids_BT[rows, lengths], lengths, cache)
    theirs_BTV = model(input_ids=ids_BT, use_cache=False).logits
    return all(
        torch.allclose(ours, theirs_BTV[rows, places], rtol=1e-3, atol=1e-3)
        for ours, places in ((after_prompt, lengths - 1), (after_token, lengths))
    )


class _Linear:
    """A product with a large matrix is quicker with the matrix in the order in which MKL reads it: a copy, made for one
    number of rows."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        self.weight, self.bias = weight, bias
        self.packed: Tensor | None = None
        self.rows = 0

    def pack(self, rows: int) -> None:
        if _packs(self.weight):
            self.packed, self.rows = torch.ops.mkl._mkl_reorder_linear_weight(self.weight, rows), rows

    def __call__(self, inputs: Tensor) -> Tensor:
        if self.packed is None or len(inputs) != self.rows:
            return linear(inputs, self.weight, self.bias)
        return torch.ops.mkl._mkl_linear(inputs, self.packed, self.weight, self.bias, self.rows)


@dataclass(frozen=True, slots=True)
class _Norm:
    """Root mean square normalisation over the last dimension (Zhang and Sennrich 2019)."""

    weight: Tensor
    epsilon: Tensor

    def __call__(self, inputs: Tensor) -> Tensor:
        norms = torch.linalg.vector_norm(inputs, dim=-1, keepdim=True)
        means = torch.addcmul(self.epsilon, norms, norms, value=1 / len(self.weight))
        return (inputs * means.rsqrt_()).mul_(self.weight)


@dataclass(frozen=True, slots=True)
class _Layer:
    """`project` makes queries, keys and values in one product, `widen` the gate and what it gates."""

    before_attention: _Norm
    project: _Linear
    query_norm: _Norm | None
    key_norm: _Norm | None
    output: _Linear
    before_mlp: _Norm
    widen: _Linear
    narrow: _Linear


Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]
"""From a layer's number, queries [N, heads · groups, dim], keys and values [N, heads, dim] to what is attended to,
[N, heads · groups · dim]."""


class LlamaDecoder:
    """Runs the model's own weights. Projections of one input are laid side by side in memory, where the model sees
    them, too: they are not held twice, and training changes what is sampled from.

    `slots` is the most tokens that a row will hold.
    """

    def __init__(self, model: PreTrainedModel, slots: int) -> None:
        trunk: Any = trunk_of(model)
        attention = trunk.layers[0].self_attn
        self.dim: int = attention.head_dim
        self.heads: int = attention.k_proj.out_features // self.dim
        self.groups: int = attention.q_proj.out_features // self.dim // self.heads
        self.scale: float = attention.scaling
        self.embed, self.head = trunk.embed_tokens, _side_by_side(model.get_output_embeddings())
        self.final_norm = _norm(trunk.norm)
        self.layers = [_layer(each) for each in trunk.layers]
        self.packs = any(_packs(each.widen.weight) for each in self.layers)
        self.packed_rows = 0
        with torch.no_grad():
            positions_1S = torch.arange(slots, device=model.device)[None]
            cosines_1SD, sines_1SD = trunk.rotary_emb(trunk.embed_tokens.weight, positions_1S)
        self.cosines_SD = cosines_1SD[0]
        self.sines_SD = sines_1SD[0]

    def prefill(self, ids_PT: Tensor, lengths_P: Tensor) -> tuple[KeysValues, Tensor]:
        """See `Decoder.prefill`."""
        count, length = ids_PT.shape
        kept: KeysValues = []

        def attend(layer: int, *projected: Tensor) -> Tensor:
            queries, keys, values = (each.unflatten(0, (count, length)).transpose(1, 2) for each in projected)
            kept.append((keys.transpose(1, 2).contiguous(), values.transpose(1, 2).contiguous()))
            mixed = scaled_dot_product_attention(
                queries, keys, values, is_causal=True, scale=self.scale, enable_gqa=self.groups > 1
            )
            return mixed.transpose(1, 2).reshape(count * length, -1)

        places_N = torch.arange(length, device=ids_PT.device).repeat(count)
        states_NH = self._run(ids_PT.flatten(), places_N, attend)
        last_P = torch.arange(count, device=ids_PT.device) * length + lengths_P - 1
        return kept, self.head(states_NH[last_P])

    def decode(self, tokens_B: Tensor, positions_B: Tensor, cache: RowCache) -> Tensor:
        """See `Decoder.decode`. The queries of a group are rows of one product with the keys they share."""
        live = len(tokens_B)
        count = self._pack(live)
        tokens_B, positions_B = (pad(each, (0, count - live)) for each in (tokens_B, positions_B))
        places = Places(positions_B, self.embed.weight.dtype)
        mask = places.mask_B11S.expand(count, 1, self.groups, places.width)

        def attend(layer: int, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
            all_keys, all_values = cache.put(layer, places, keys, values)
            queries = queries.view(count, self.heads, self.groups, self.dim)
            mixed = scaled_dot_product_attention(queries, all_keys, all_values, attn_mask=mask, scale=self.scale)
            return mixed.reshape(count, -1)

        return self.head(self._run(tokens_B, positions_B, attend))[:live]

    def _pack(self, live: int) -> int:
        """How many rows to run for this many live ones, the matrices packed for them."""
        if not self.packs or live < LEAST_ROWS:
            return live
        if not (1 - SPARE_ROWS) * self.packed_rows <= live <= self.packed_rows:
            self.packed_rows = live
            for layer in self.layers:
                for each in (layer.project, layer.output, layer.widen, layer.narrow):
                    each.pack(live)
            self.head.pack(live)
        return self.packed_rows

    def _run(self, tokens_N: Tensor, places_N: Tensor, attend: Attend) -> Tensor:
        """The final states [N, H] of tokens at these positions."""
        cosines_N1D, sines_N1D = self.cosines_SD[places_N, None], self.sines_SD[places_N, None]
        states_NH = self.embed(tokens_N)
        turned, half = self.heads * (self.groups + 1), self.dim // 2
        for number, layer in enumerate(self.layers):
            heads_NAD = layer.project(layer.before_attention(states_NH)).unflatten(1, (-1, self.dim))
            values, heads_NAD = heads_NAD[:, turned:], heads_NAD[:, :turned]
            if layer.query_norm and layer.key_norm:
                queries, keys = heads_NAD.split([self.heads * self.groups, self.heads], 1)
                heads_NAD = torch.cat([layer.query_norm(queries), layer.key_norm(keys)], 1)
            rotated_NAD = heads_NAD * cosines_N1D
            rotated_NAD[..., :half].addcmul_(heads_NAD[..., half:], sines_N1D[..., :half], value=-1)
            rotated_NAD[..., half:].addcmul_(heads_NAD[..., :half], sines_N1D[..., half:])
            queries, keys = rotated_NAD.split([self.heads * self.groups, self.heads], 1)
            states_NH += layer.output(attend(number, queries, keys, values))
            gate, up = layer.widen(layer.before_mlp(states_NH)).chunk(2, -1)
            states_NH += layer.narrow(silu(gate).mul_(up))
        return self.final_norm(states_NH)


def _packs(weight: Tensor) -> bool:
    """Whether packing such a matrix pays, and this build of torch has MKL's packed products."""
    available = hasattr(torch.ops.mkl, "_mkl_linear") and torch.backends.mkl.is_available()
    suits = weight.device.type == "cpu" and weight.dtype == torch.float32
    return available and suits and weight.numel() >= PACKED_FROM


def _layer(layer: Any) -> _Layer:
    attention, mlp = layer.self_attn, layer.mlp
    return _Layer(
        before_attention=_norm(layer.input_layernorm),
        project=_side_by_side(attention.q_proj, attention.k_proj, attention.v_proj),
        query_norm=_norm(attention.q_norm) if hasattr(attention, "q_norm") else None,
        key_norm=_norm(attention.k_norm) if hasattr(attention, "k_norm") else None,
        output=_side_by_side(attention.o_proj),
        before_mlp=_norm(layer.post_attention_layernorm),
        widen=_side_by_side(mlp.gate_proj, mlp.up_proj),
        narrow=_side_by_side(mlp.down_proj),
    )


def _norm(norm: Any) -> _Norm:
    return _Norm(norm.weight, torch.full_like(norm.weight[0], norm.variance_epsilon))


def _side_by_side(*parts: nn.Linear) -> _Linear:
    """The parts as one product, their parameters moved next to each other unless they are already."""
    biases = [each.bias for each in parts if each.bias is not None]
    return _Linear(_adjacent([each.weight for each in parts]), _adjacent(biases) if biases else None)


def _adjacent(parts: Sequence[Tensor]) -> Tensor:
    """One tensor of which the parameters are consecutive pieces; their data move into a new one where they are not."""
    first = parts[0]
    storage, place = first.untyped_storage().data_ptr(), first.storage_offset()
    for part in parts:
        together = part.untyped_storage().data_ptr() == storage and part.storage_offset() == place
        if not together or not part.is_contiguous():
            joined = torch.cat([each.detach() for each in parts])
            for each, piece in zip(parts, joined.split([len(each) for each in parts]), strict=True):
                each.data = piece
            return joined
        place += part.numel()
    rows = sum(len(part) for part in parts)
    return first.detach().as_strided((rows, *first.shape[1:]), first.stride())

"""Decoding for the Llama family (Llama, Mistral, Qwen2, Qwen3, SmolLM2 …) without what makes the general forward pass
slow one token at a time: copies of grouped keys and values, separate projections of one input, Python between layers.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention, silu
from transformers import PreTrainedModel

from rlsp.models import trunk_of
from rlsp.rollouts.draw import Draw, draw
from rlsp.rollouts.fused import Fused, compiled_draw, library_for
from rlsp.rollouts.layers import Layer, layer_of, norm_of, side_by_side
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


def is_llama(model: PreTrainedModel) -> bool:
    """Whether the model is of the family: it has the family's parameters, and this decoder gives the logits that its
    own forward pass gives. To find out makes a decoder: projections move next to each other."""
    trunk: Any = trunk_of(model)
    if not all(hasattr(trunk, name) for name in ("embed_tokens", "layers", "norm", "rotary_emb")):
        return False
    names = [{name for name, _ in layer.named_parameters()} for layer in trunk.layers]
    if not all(LAYER <= each <= LAYER | OPTIONAL for each in names) or len(set(map(frozenset, names))) != 1:
        return False
    return _positions_are_plain(model) and _layers_fit(trunk) and _agree(model)


def _positions_are_plain(model: PreTrainedModel) -> bool:
    """Whether all of a position's effect is one rotation, whatever the length of the sequence."""
    rope = getattr(model.config.get_text_config(), "rope_parameters", None) or {}
    known = rope.get("rope_type", "default") in ("default", "linear", "llama3", "yarn")
    return known and rope.get("partial_rotary_factor", 1) == 1 and "llama_4_scaling_beta" not in rope


def _layers_fit(trunk: Any) -> bool:
    """Whether the layers are of one shape, their norms are known, and projections of one input have biases together or
    not at all."""
    shapes, norms = set(), [trunk.norm]
    for layer in trunk.layers:
        attention, mlp = layer.self_attn, layer.mlp
        if not hasattr(attention, "head_dim") or not hasattr(attention, "scaling"):
            return False
        heads = (attention.q_proj, attention.k_proj, attention.v_proj)
        if any(len({each.bias is None for each in parts}) > 1 for parts in (heads, (mlp.gate_proj, mlp.up_proj))):
            return False
        head_norms = [getattr(attention, name) for name in ("q_norm", "k_norm") if hasattr(attention, name)]
        if any(len(each.weight) != attention.head_dim for each in head_norms):
            return False
        shapes.add((attention.head_dim, *(each.out_features for each in heads)))
        norms += [layer.input_layernorm, layer.post_attention_layernorm, *head_norms]
    return len(shapes) == 1 and all(hasattr(norm, "variance_epsilon") for norm in norms)


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
    cache.fill(slice(0, 2), kept, rows, lengths)
    after_token = decoder.decode(ids_BT[rows, lengths], lengths, cache)
    theirs_BTV = model(input_ids=ids_BT, use_cache=False).logits
    return all(
        torch.allclose(ours, theirs_BTV[rows, places], rtol=1e-3, atol=1e-3)
        for ours, places in ((after_prompt, lengths - 1), (after_token, lengths))
    )


Attend = Callable[[int, Tensor], Tensor]
"""From a layer's number and its projection [N, heads · (groups + 2) · dim], queries, keys and values not yet rotated by
their positions, to what is attended to, [N, heads · groups · dim]."""


class LlamaDecoder:
    """Runs the model's weights, for one call of `sample`. Projections of one input are laid side by side in memory,
    where the model sees them, too; where decoding is compiled, they are copied.

    `slots` is the most tokens that a row will hold.
    """

    def __init__(self, model: PreTrainedModel, slots: int) -> None:
        trunk: Any = trunk_of(model)
        attention = trunk.layers[0].self_attn
        self.dim: int = attention.head_dim
        self.heads: int = attention.k_proj.out_features // self.dim
        self.groups: int = attention.q_proj.out_features // self.dim // self.heads
        self.scale: float = attention.scaling
        self.embed, self.head = trunk.embed_tokens, side_by_side(model.get_output_embeddings())
        self.final_norm = norm_of(trunk.norm)
        self.layers = [layer_of(each) for each in trunk.layers]
        with torch.no_grad():
            positions_1S = torch.arange(slots, device=model.device)[None]
            cosines_1SD, sines_1SD = trunk.rotary_emb(trunk.embed_tokens.weight, positions_1S)
        self.cosines_SD = cosines_1SD[0]
        self.sines_SD = sines_1SD[0]
        self.fused: Fused | None = None
        self.draw: Draw = draw
        if library := library_for(model, self.heads, self.groups, self.dim):
            rotary_SD = (self.cosines_SD, self.sines_SD)
            self.fused = Fused(library, self.layers, self.final_norm, self.head, self.scale, rotary_SD)
            self.draw = partial(compiled_draw, library)

    def prefill(self, ids_PT: Tensor, lengths_P: Tensor) -> tuple[KeysValues, Tensor]:
        """See `Decoder.prefill`."""
        count, length = ids_PT.shape
        places_N = torch.arange(length, device=ids_PT.device).repeat(count)
        rotary = self._rotary(places_N)
        kept: KeysValues = []

        def attend(number: int, projected_NP: Tensor) -> Tensor:
            queries, keys, values = (
                each.unflatten(0, (count, length)) for each in self._split(self.layers[number], projected_NP, *rotary)
            )
            kept.append((keys.contiguous(), values.contiguous()))
            queries, keys, values = (each.transpose(1, 2) for each in (queries, keys, values))
            attended = scaled_dot_product_attention(
                queries, keys, values, is_causal=True, scale=self.scale, enable_gqa=self.groups > 1
            )
            return attended.transpose(1, 2).reshape(count * length, -1)

        states_NH = self._run(ids_PT.flatten(), attend)
        last_P = torch.arange(count, device=ids_PT.device) * length + lengths_P - 1
        return kept, self.head(states_NH[last_P])

    def decode(self, tokens_B: Tensor, positions_B: Tensor, cache: RowCache) -> Tensor:
        """See `Decoder.decode`."""
        if self.fused:
            return self.fused.decode(self.embed(tokens_B), positions_B, cache)
        return self.head(self._run(tokens_B, self._attend_rows(positions_B, cache)))

    def _attend_rows(self, positions_B: Tensor, cache: RowCache) -> Attend:
        """The queries of a group are rows of one product with the keys they share."""
        count, rotary = len(positions_B), self._rotary(positions_B)
        places = Places(positions_B, self.embed.weight.dtype)
        mask = places.mask_B11S.expand(count, 1, self.groups, places.width)

        def attend(number: int, projected_BP: Tensor) -> Tensor:
            queries, keys, values = self._split(self.layers[number], projected_BP, *rotary)
            all_keys, all_values = cache.put(number, places, keys, values)
            queries = queries.view(count, self.heads, self.groups, self.dim)
            attended = scaled_dot_product_attention(queries, all_keys, all_values, attn_mask=mask, scale=self.scale)
            return attended.reshape(count, -1)

        return attend

    def _run(self, tokens_N: Tensor, attend: Attend) -> Tensor:
        """The final states [N, H] of tokens, normalised."""
        states_NH = self.embed(tokens_N)
        for number, layer in enumerate(self.layers):
            states_NH += layer.output(attend(number, layer.qkv(layer.input_norm(states_NH))))
            gates_NI, ups_NI = layer.gate_up(layer.post_attention_norm(states_NH)).chunk(2, -1)
            states_NH += layer.down(silu(gates_NI).mul_(ups_NI))
        return self.final_norm(states_NH)

    def _rotary(self, places_N: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and sines [N, 1, D]."""
        return self.cosines_SD[places_N, None], self.sines_SD[places_N, None]

    def _split(
        self, layer: Layer, projected_NP: Tensor, cosines_N1D: Tensor, sines_N1D: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """(queries [N, heads · groups, D] and keys [N, heads, D], rotated by their positions, values [N, heads, D])."""
        sizes, half = [self.heads * self.groups, self.heads], self.dim // 2
        heads_NAD, values = projected_NP.unflatten(1, (-1, self.dim)).split([sum(sizes), self.heads], 1)
        if layer.query_norm and layer.key_norm:
            queries, keys = heads_NAD.split(sizes, 1)
            heads_NAD = torch.cat([layer.query_norm(queries), layer.key_norm(keys)], 1)
        rotated_NAD = heads_NAD * cosines_N1D
        rotated_NAD[..., :half].addcmul_(heads_NAD[..., half:], sines_N1D[..., :half], value=-1)
        rotated_NAD[..., half:].addcmul_(heads_NAD[..., :half], sines_N1D[..., half:])
        queries, keys = rotated_NAD.split(sizes, 1)
        return queries, keys, values

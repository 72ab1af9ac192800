"""The decoder of the Llama family against the models' own forward passes, and what it does to their weights."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    GemmaConfig,
    GraniteConfig,
    LlamaConfig,
    LlamaForCausalLM,
    Ministral3Config,
    MistralConfig,
    OlmoConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Qwen2Config,
    Qwen3Config,
)
from transformers.models.auto import AutoModelForCausalLM

from rlsp.models import load_policy
from rlsp.optim import adamw
from rlsp.rollouts import Prompt, SamplingSettings
from rlsp.rollouts.decoders import TransformersDecoder
from rlsp.rollouts.llama import LlamaDecoder, is_llama
from rlsp.rollouts.native import NativeSampler
from rlsp.rollouts.rows import RowCache

SHAPE: dict[str, Any] = {
    "vocab_size": 211,
    "hidden_size": 48,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "initializer_range": 0.2,
    "pad_token_id": 0,
    "bos_token_id": None,
    "eos_token_id": 1,
}
FAMILY = {
    "llama": LlamaConfig(**SHAPE),
    "llama, biased and tied": LlamaConfig(**SHAPE, attention_bias=True, mlp_bias=True, tie_word_embeddings=True),
    "llama, other head size": LlamaConfig(**SHAPE, head_dim=16),
    "llama 3 positions": LlamaConfig(
        **SHAPE,
        rope_parameters={
            "rope_type": "llama3",
            "rope_theta": 10000.0,
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 16,
        },
    ),
    "mistral": MistralConfig(**SHAPE, sliding_window=None),
    "qwen2": Qwen2Config(**SHAPE),
    "qwen3": Qwen3Config(**SHAPE, head_dim=8),
}
OTHERS = {
    "gemma": GemmaConfig(**SHAPE, head_dim=8),
    "granite": GraniteConfig(**SHAPE, residual_multiplier=0.3),
    "olmo": OlmoConfig(**SHAPE),
    "another activation": LlamaConfig(**SHAPE, hidden_act="gelu"),
    "positions that depend on the length": LlamaConfig(
        **SHAPE,
        rope_parameters={
            "rope_type": "longrope",
            "rope_theta": 10000.0,
            "long_factor": [4.0] * 4,
            "short_factor": [1.0] * 4,
            "original_max_position_embeddings": 32,
        },
    ),
    "scaled queries": Ministral3Config(
        **SHAPE,
        rope_parameters={
            "rope_type": "yarn",
            "rope_theta": 10000.0,
            "factor": 4.0,
            "original_max_position_embeddings": 16,
            "llama_4_scaling_beta": 0.1,
        },
    ),
}


def build(config: PreTrainedConfig) -> PreTrainedModel:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).eval()
    for parameter in model.parameters():
        if parameter.ndim == 1:
            torch.nn.init.normal_(parameter, 1.0, 0.2)
    return model


@pytest.mark.parametrize("name", FAMILY)
def test_the_family_is_decoded_as_by_its_own_forward_pass(name: str) -> None:
    model = build(FAMILY[name])
    assert is_llama(model)
    lengths, slots = torch.tensor([7, 1, 4]), 16
    ids = torch.randint(211, (3, slots), generator=torch.Generator().manual_seed(1))
    theirs = model(input_ids=ids, use_cache=False).logits
    for decoder in (LlamaDecoder(model, slots), TransformersDecoder(model)):
        cache = RowCache(3, slots)
        with torch.inference_mode():
            kept, logits = decoder.prefill(ids[:, :7], lengths)
            cache.fill(slice(0, 3), kept, torch.arange(3), lengths)
            torch.testing.assert_close(logits, theirs[torch.arange(3), lengths - 1], rtol=1e-4, atol=1e-4)
            for step in range(9):
                places = lengths + step
                logits = decoder.decode(ids[torch.arange(3), places], places, cache)
                torch.testing.assert_close(logits, theirs[torch.arange(3), places], rtol=1e-4, atol=1e-4)


def test_rows_end_and_others_take_their_places() -> None:
    model, slots = build(FAMILY["llama, biased and tied"]), 16
    ids = torch.randint(211, (8, slots), generator=torch.Generator().manual_seed(1))
    cache, lengths = RowCache(8, slots), torch.full((8,), 3)
    with torch.inference_mode():
        decoder = LlamaDecoder(model, slots)
        kept, _ = decoder.prefill(ids[:, :3], lengths)
        cache.fill(slice(0, 8), kept, torch.arange(8), lengths)
        for live in (8, 7, 6, 5, 4, 3, 8, 5):
            rows, places = torch.arange(live), lengths[:live].clone()
            logits = decoder.decode(ids[rows, places], places, cache)
            lengths[:live] += 1
            theirs = model(input_ids=ids, use_cache=False).logits[rows, places]
            torch.testing.assert_close(logits, theirs, rtol=1e-4, atol=1e-4)
            for row in range(live, 8):  # whoever enters a free row brings a prompt
                one = slice(row, row + 1)
                fresh, _ = decoder.prefill(ids[one, : int(lengths[row])], lengths[one])
                cache.fill(one, fresh, torch.tensor([0]), lengths[one])


@pytest.mark.parametrize("name", OTHERS)
def test_relatives_that_compute_something_else_are_told_apart(name: str) -> None:
    assert not is_llama(build(OTHERS[name]))


def test_biases_on_some_of_the_projections_are_told_apart(tokenizer: PreTrainedTokenizerBase) -> None:
    """And sampled from by the model's own forward pass."""
    model = build(FAMILY["llama"])
    for layer in model.model.layers:
        for name in ("q_proj", "v_proj"):
            plain = getattr(layer.self_attn, name)
            setattr(layer.self_attn, name, torch.nn.Linear(plain.in_features, plain.out_features))
    assert not is_llama(model)
    sampler = NativeSampler(model, tokenizer)
    assert len(sampler.sample([Prompt("p", (5, 6))], 2, SamplingSettings(1.0, 4, 100), 0, 0)) == 2


def test_projections_move_together_once() -> None:
    model = build(FAMILY["qwen2"])
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    LlamaDecoder(model, 8)
    places = {name: parameter.data_ptr() for name, parameter in model.named_parameters()}
    LlamaDecoder(model, 8)
    assert {name: parameter.data_ptr() for name, parameter in model.named_parameters()} == places
    for name, parameter in model.named_parameters():
        assert parameter.is_leaf and parameter.requires_grad and torch.equal(parameter, before[name])
    attention = model.model.layers[0].self_attn
    assert (
        attention.k_proj.weight.data_ptr() == attention.q_proj.weight.data_ptr() + 4 * attention.q_proj.weight.numel()
    )


def test_training_and_copies_and_checkpoints_do_not_see_it(
    tiny_model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    plain = copy.deepcopy(tiny_model)
    sampler = NativeSampler(tiny_model, tokenizer)
    assert sampler.is_llama
    prompts, settings = [Prompt("p", (5, 6, 7))], SamplingSettings(1.0, 8, 1000)
    sampler.sample(prompts, 2, settings, seed=0, policy_version=0)
    ids = torch.randint(5, 100, (2, 9), generator=torch.Generator().manual_seed(0))
    for model in (plain, tiny_model):
        optimizer = adamw(model.parameters(), 1e-2)
        model(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
    for ours, theirs in zip(tiny_model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)
    twin = copy.deepcopy(tiny_model)
    twin.model.layers[0].self_attn.k_proj.weight.data.zero_()
    assert tiny_model.model.layers[0].self_attn.k_proj.weight.any(), "a copy has weights of its own"
    tiny_model.save_pretrained(tmp_path)
    reloaded = load_policy(str(tmp_path), torch.device("cpu"))
    for ours, theirs in zip(tiny_model.parameters(), reloaded.parameters(), strict=True):
        assert torch.equal(ours, theirs)

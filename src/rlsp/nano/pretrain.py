"""Make the nano base model: from generated text to a Hugging Face checkpoint with its measured skills beside it."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerBase

from rlsp import model_files, parallel, sft
from rlsp.config import ArchitectureRecipe, PretrainRecipe
from rlsp.engines.progress import Progress
from rlsp.files import write_json
from rlsp.nano.corpus import documents
from rlsp.nano.skills import measure
from rlsp.nano.tokenizer import build_tokenizer
from rlsp.prompts import encode_response

DOCUMENTS_AT_ONCE = 5000


def pretrain(recipe: PretrainRecipe, out: Path, progress: Progress) -> dict[str, Any]:
    """Train from scratch and write the checkpoint, `recipe.json` and `skills.json` into `out`.

    Returns:
        The measured skills.

    Raises:
        InputError: `out` holds something that is no checkpoint.
    """
    model_files.check_replaceable(out)
    torch.manual_seed(recipe.seed)
    tokenizer = build_tokenizer()
    model = parallel.mirrored(build_model, recipe.architecture, tokenizer)
    examples = text_examples(recipe, tokenizer, progress)

    def on_step(metrics: dict[str, float]) -> None:
        if metrics["step"] == 1:
            progress.stage("pretrain", int(metrics["steps"]))
        progress.advance(int(metrics["step"]), f"loss {metrics['loss']:.3f}")

    sft.train(model, examples, recipe.sft, recipe.seed, on_step)
    skills = measure(model.eval(), tokenizer)
    model_files.save(model, tokenizer, out)
    write_json(out / "recipe.json", recipe.model_dump(mode="json"))
    write_json(out / "skills.json", skills)
    return skills


def build_model(architecture: ArchitectureRecipe, tokenizer: PreTrainedTokenizerBase) -> LlamaForCausalLM:
    """A Llama decoder with random weights."""
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=architecture.hidden_size,
            intermediate_size=architecture.intermediate_size,
            num_hidden_layers=architecture.layers,
            num_attention_heads=architecture.heads,
            num_key_value_heads=architecture.heads,
            max_position_embeddings=architecture.max_positions,
            initializer_range=architecture.initializer_range,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def text_examples(recipe: PretrainRecipe, tokenizer: PreTrainedTokenizerBase, progress: Progress) -> list[sft.Example]:
    """At least `corpus.tokens` tokens of text; every token but the first of a document is learned."""
    progress.stage("write text", recipe.corpus.tokens)
    source, examples, tokens = documents(recipe.corpus, recipe.seed), [], 0
    while tokens < recipe.corpus.tokens:
        for question, continuation in islice(source, DOCUMENTS_AT_ONCE):
            examples.append(sft.Example(encode_response(tokenizer, f"{question}\n{continuation}"), 1))
            tokens += len(examples[-1].ids)
        progress.advance(min(tokens, recipe.corpus.tokens))
    return examples

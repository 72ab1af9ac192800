"""Broken model directories, made from the one that ships by harming a copy."""

from __future__ import annotations

import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from rlsp.model_files import NANO_BASE
from tests.broken import Broken, Harm, both, cut, directory, edit, link, remove, write
from tests.broken.recipes import RECIPE

CONFIG, WEIGHTS = "model/config.json", "model/model.safetensors"
TOKENIZER, SETTINGS = "model/tokenizer.json", "model/tokenizer_config.json"
GENERATION, INDEX = "model/generation_config.json", "model/model.safetensors.index.json"
RUN = ("run", "r.toml", "--model", "model", "--out", "out")
RESTORE, GIVE = "put the model's files back", "give a local Hugging Face model directory, or 'nano'"
GARBAGE, DEEP = b"\xff\xfe\x00garbage", "[" * 100_000


def copied(folder: Path) -> None:
    """The model that ships; its weights are a link."""
    shutil.copytree(NANO_BASE, folder / "model", ignore=shutil.ignore_patterns("*.safetensors"))
    os.symlink(NANO_BASE / "model.safetensors", folder / WEIGHTS)
    write("r.toml", RECIPE)(folder)


def model(title: str, harm: Harm, names: str, fix: str = RESTORE) -> Broken:
    return Broken(f"a model {title}", RUN, f"model 'model'.*{names}", fix, both(copied, harm))


def tensors(change: Callable[[dict[str, Tensor]], Any]) -> Harm:
    """Other weights in the file."""

    def harm(folder: Path) -> None:
        weights = load_file(folder / WEIGHTS)
        change(weights)
        remove(WEIGHTS)(folder)
        save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})

    return harm


def vocabulary(*more: tuple[str, int]) -> Harm:
    """Tokens under other ids."""

    def harm(folder: Path) -> None:
        values = json.loads((folder / TOKENIZER).read_text())
        values["model"]["vocab"].update(more)
        for added in values["added_tokens"]:
            added["id"] = values["model"]["vocab"][added["content"]]
        write(TOKENIZER, json.dumps(values))(folder)

    return harm


def only_100_rows(weights: dict[str, Tensor]) -> None:
    weights["model.embed_tokens.weight"] = weights["model.embed_tokens.weight"][:100].contiguous()


def template(text: Any) -> Harm:
    return edit(SETTINGS, chat_template=text)


NORM, LAYERS = "model.norm.weight", "num_hidden_layers"
CONFIGS = [
    model("with an empty config.json", write(CONFIG, ""), "config.json.*not a valid JSON"),
    model("with garbage for config.json", write(CONFIG, GARBAGE), "config.json.*not a valid JSON"),
    model("with a list for config.json", write(CONFIG, "[]"), "config.json.*model_type"),
    model("with a nested config.json", write(CONFIG, DEEP), "config.json.*recursion"),
    model("with a directory for config.json", directory(CONFIG), "no config.json in model", GIVE),
    model("without a type", edit(CONFIG, model_type=...), "config.json.*model_type"),
    model("of an unknown type", edit(CONFIG, model_type="nope"), "config.json.*type `nope`"),
    model("of images", edit(CONFIG, model_type="clip"), "CLIPConfig"),
    model("of another type than its weights", edit(CONFIG, model_type="gpt2"), "not in its files"),
    model("of text for a size", edit(CONFIG, hidden_size="x"), "'hidden_size' expected int.*'x'"),
    model("of size 0", edit(CONFIG, hidden_size=0), "hidden_size = 0"),
    model("of size -1", edit(CONFIG, hidden_size=-1), "hidden size .-1."),
    model("of size 10**9", edit(CONFIG, hidden_size=10**9), "6,872,000,000,000 parameters.*hold 879,616"),
    model("of size 10**30", edit(CONFIG, hidden_size=10**30), "[Oo]verflow"),
    model("of another size than its weights", edit(CONFIG, hidden_size=132), r"embed_tokens.weight is .*207, 128.*132"),
    model("with 0 heads", edit(CONFIG, num_attention_heads=0), "modulo by zero"),
    model(
        "with 3 key-value heads", edit(CONFIG, num_key_value_heads=3), r"k_proj.weight is .128, 128. and not .96, 128."
    ),
    model("without layers", edit(CONFIG, **{LAYERS: 0}), "num_hidden_layers = 0"),
    model("with 10**9 layers", edit(CONFIG, **{LAYERS: 10**9}), "num_hidden_layers = 1000000000.*hold 38 weights"),
    model("with a layer more than its weights", edit(CONFIG, **{LAYERS: 5}), "model.layers.4"),
    model("with a layer less than its weights", edit(CONFIG, **{LAYERS: 3}), "does not ask for: model.layers.3"),
    model("with a vocabulary of 0", edit(CONFIG, vocab_size=0), "vocab_size = 0"),
    model("with a vocabulary of 10**12", edit(CONFIG, vocab_size=10**12), "parameters.*hold 879,616"),
    model("with an activation that is none", edit(CONFIG, hidden_act="nope"), "KeyError: 'nope'"),
    model("with a type of numbers that is none", edit(CONFIG, dtype="nope"), "'nope'"),
    model("that is padded beyond its vocabulary", edit(CONFIG, pad_token_id=1000), "[Pp]adding"),
    model("whose quantization is text", edit(CONFIG, quantization_config="x"), "AttributeError"),
    model("that is quantized", edit(CONFIG, quantization_config={"quant_method": "gptq"}), "gptq", "in full precision"),
    model("with text for its text model", edit(CONFIG, text_config={"x": 1}), r"text_config.*\{'x': 1\}"),
    Broken(
        "a model for too few positions",
        RUN,
        "need .* positions, the model has 8",
        "lower sampling",
        both(copied, edit(CONFIG, max_position_embeddings=8)),
    ),
]
FILES = [
    model("without weights", remove(WEIGHTS), "no weights", GIVE),
    model(
        "with pickled weights only",
        both(remove(WEIGHTS), write("model/pytorch_model.bin", "x")),
        "pickle",
        "save_pretrained",
    ),
    model("with an adapter", write("model/adapter_config.json", "{}"), "adapter", "merge_and_unload"),
    model("with an empty file of weights", write(WEIGHTS, ""), "header too small"),
    model("with garbage for weights", write(WEIGHTS, b"x" * 1000), "header too large"),
    model("with weights cut short", cut(WEIGHTS, -1000), "not fully covered"),
    model("with weights cut in their header", cut(WEIGHTS, 100), "invalid header"),
    model("with a header of 2**60 bytes", write(WEIGHTS, struct.pack("<Q", 2**60) + b"{}"), "header too large"),
    model("with no tensor in its file", write(WEIGHTS, struct.pack("<Q", 2) + b"{}"), "hold 0 weights"),
    model("with a directory for weights", directory(WEIGHTS), "can't be loaded"),
    model("with weights that link to themselves", link(WEIGHTS, "model.safetensors"), "No such file"),
    model(
        "with weights under another name",
        both(link("model/w.safetensors", str(NANO_BASE / "model.safetensors")), remove(WEIGHTS)),
        "no file named model.safetensors",
    ),
    model("that lacks a weight", tensors(lambda weights: weights.pop(NORM)), f"not in its files: {NORM}"),
    model(
        "with a weight of another shape",
        tensors(lambda weights: weights.update({NORM: torch.ones(7)})),
        rf"{NORM} is \[7\] and not \[128\]",
    ),
    model("whose embeddings were cut", tensors(only_100_rows), r"embed_tokens.weight is \[100, 128\] and not \[207"),
    Broken(
        "a model with NaN in its weights",
        RUN,
        "logits of LlamaForCausalLM are NaN",
        RESTORE,
        both(copied, tensors(lambda weights: weights[NORM].fill_(float("nan")))),
    ),
    model(
        "with garbage for its list of files",
        both(write(INDEX, "x"), link("model/w.safetensors", str(NANO_BASE / "model.safetensors")), remove(WEIGHTS)),
        "Expecting value",
    ),
    model(
        "whose list of files leads elsewhere",
        both(
            write(INDEX, json.dumps({"metadata": {}, "weight_map": {NORM: "../../x.safetensors"}})),
            link("model/w.safetensors", str(NANO_BASE / "model.safetensors")),
            remove(WEIGHTS),
        ),
        r"No such file.*\.\./\.\./x.safetensors",
    ),
    Broken(
        "a model that is a file",
        RUN,
        "no config.json in model",
        GIVE,
        both(write("model", "x"), write("r.toml", RECIPE)),
    ),
    Broken(
        "a model that links to itself",
        RUN,
        "no config.json",
        GIVE,
        both(link("model", "model"), write("r.toml", RECIPE)),
    ),
    Broken("a model that is nowhere", ("eval", "nano", "--model", "nowhere", "--out", "o.json"), "'nowhere'", GIVE),
    Broken(
        "a model on the Hub",
        ("sample", "nano", "--set", "model.path=Qwen/Qwen3-0.6B", "--problems", "p.jsonl", "--out", "o.jsonl"),
        "Qwen/Qwen3-0.6B",
        GIVE,
        write("p.jsonl", json.dumps({"id": "x", "task": "math", "question": "1+1?", "answer": "2"})),
    ),
    Broken(
        "a model of nobody",
        ("run", "r.toml", "--model", "~nobody9/x", "--out", "out"),
        "~nobody9/x",
        GIVE,
        write("r.toml", RECIPE),
    ),
    Broken("a model of an endless name", ("run", "nano", "--model", "x" * 5000, "--out", "out"), "xxx", GIVE),
]
TOKENIZERS = [
    model("without a tokenizer", both(remove(TOKENIZER), remove(SETTINGS)), "its tokenizer can't be loaded"),
    model("with an empty tokenizer", write(TOKENIZER, ""), "its tokenizer .*Expecting value"),
    model("with garbage for a tokenizer", write(TOKENIZER, GARBAGE), "its tokenizer .*0xff"),
    model("with an object for a tokenizer", write(TOKENIZER, "{}"), "KeyError: 'added_tokens'"),
    model("with a nested tokenizer", write(TOKENIZER, DEEP), "recursion"),
    model("with a tokenizer cut short", cut(TOKENIZER, 2000), "char 2000"),
    model("with a list for its tokenizer's settings", write(SETTINGS, "[]"), "its tokenizer can't be loaded"),
    model("without EOS", edit(SETTINGS, eos_token=...), "no eos_token", "set one"),
    model("with a number for EOS", edit(SETTINGS, eos_token=5), "eos_token has to be"),
    model(
        "with an EOS outside its vocabulary",
        edit(SETTINGS, eos_token="<end>"),
        "token 207 .'<end>'.*vocab_size = 207",
        "resize_token_embeddings",
    ),
    model("with an EOS beyond its embeddings", vocabulary(("<eos>", 5000)), "token 5000 .'<eos>'", "resize_token_emb"),
    model("with a token beyond its embeddings", vocabulary(("zzz", 5000)), "token 5000 .'zzz'.*= 207", "trained with"),
    model(
        "with fewer embeddings than tokens",
        both(tensors(only_100_rows), edit(CONFIG, vocab_size=100)),
        "token 206 .*vocab_size = 100",
        "give the tokenizer that it was trained with",
    ),
    model("with text for its longest prompt", edit(SETTINGS, model_max_length="x"), "tokenizer or chat template"),
    model("with a broken chat template", template("{% for"), "chat template .*end of template"),
    model("whose chat template wants what is not there", template("{{ nope.x }}"), "'nope' is undefined"),
    model("whose chat template refuses users", template("{{ raise_exception('no users') }}"), "no users"),
    model("whose chat template divides by zero", template("{{ 1 / 0 }}"), "division by zero"),
    model("whose chat template reaches out", template("{{ ''.__class__.__mro__ }}"), "unsafe"),
    model("whose chat template leaves out the question", template("hello"), "makes 'hello' of the question"),
    model("with an empty chat template", template(""), "makes '' of the question"),
    model("with a number for its chat template", template(5), "chat template can't"),
    Broken(
        "a model with garbage for its generation settings",
        RUN,
        "generation_config.json: .*0xff",
        "save it as UTF-8",
        both(copied, write(GENERATION, GARBAGE)),
    ),
    model("with a list for its generation settings", write(GENERATION, "[]"), "can't be loaded"),
    model(
        "that ends at text",
        edit(GENERATION, eos_token_id="x"),
        "eos_token_id 'x' of its generation_config",
        "correct it",
    ),
    model("that ends at a list of text", edit(GENERATION, eos_token_id=[1, "x"]), "eos_token_id 'x'", "correct it"),
    model("that ends at a fraction", edit(GENERATION, eos_token_id=1.5), "eos_token_id 1.5", "correct it"),
]
CASES = [*CONFIGS, *FILES, *TOKENIZERS]

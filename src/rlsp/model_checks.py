"""What can be wrong with a model directory, found before its weights are loaded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path

from safetensors import safe_open
from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging

from rlsp.errors import InputError
from rlsp.files import read_json
from rlsp.lora import meta_model

PROBE = "Use 3, 7, 12 to make 33."
SIZES = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim")
MOST = 2
"""Times the parameters in the files that config.json may ask for."""
RESTORE = "put the model's files back from where they came"


@contextmanager
def reading(path: str, what: str) -> Iterator[None]:
    """Inside, other libraries read files of the model at `path`: they warn of nothing, and what they raise is the
    files' fault.

    Raises:
        InputError: they could not use `what`.
    """
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # transformers, tokenizers, jinja2 and torch raise errors of many unrelated types
        raise InputError(f"model {path!r}: {what} can't be loaded: {_reason(error)}; {RESTORE}") from error
    finally:
        logging.set_verbosity(verbosity)


def check_config(path: str, config: PretrainedConfig) -> None:
    """Raises InputError when a size makes no model, or the weights are quantized."""
    text = config.get_text_config()
    if not isinstance(text, PretrainedConfig):
        raise InputError(
            f"model {path!r}: the text_config of its config.json is no configuration: {text!r:.80}; {RESTORE}"
        )
    for name in SIZES:
        size = getattr(text, name, None)
        if isinstance(size, int) and size <= 0:
            raise InputError(f"model {path!r}: {name} = {size} in its config.json is no size of a model; {RESTORE}")
    if quantized := getattr(config, "quantization_config", None):
        method = quantized.get("quant_method") if isinstance(quantized, dict) else quantized.quant_method
        raise InputError(
            f"model {path!r} is quantized ({method}): its weights can't be trained; give the model in full precision, "
            "or load it with transformers, dequantize it and save it again"
        )


def check_tokenizer(path: str, tokenizer: PreTrainedTokenizerBase, config: PretrainedConfig) -> None:
    """Raises InputError when no response could ever end, a token has no embedding, or prompts come out without their
    question."""
    if tokenizer.eos_token_id is None:
        raise InputError(f"model {path!r}: its tokenizer has no eos_token, so no response could ever end; set one")
    embeddings = config.get_text_config().vocab_size
    with reading(path, "its tokenizer"):
        last, token = max((number, token) for token, number in tokenizer.get_vocab().items())
    if last >= embeddings:
        raise InputError(
            f"model {path!r}: its tokenizer makes token {last} ({token!r:.40}), its config.json has vocab_size = "
            f"{embeddings}: give the tokenizer that it was trained with, or resize its embeddings "
            "(resize_token_embeddings)"
        )
    with reading(path, "its tokenizer or chat template"):
        if tokenizer.chat_template is None:
            prompt, asked = tokenizer(PROBE).input_ids, True
        else:
            turn = [{"role": "user", "content": PROBE}]
            prompt = tokenizer.apply_chat_template(turn, add_generation_prompt=True, tokenize=False)
            asked = PROBE in prompt
    if not (prompt and asked):
        raise InputError(
            f"model {path!r}: its tokenizer or chat template makes {prompt!r:.80} of the question {PROBE!r}, every "
            f"prompt would be the same; {RESTORE}"
        )


def check_files(path: str, directory: Path, config: PretrainedConfig) -> None:
    """Raises InputError when config.json asks for far more than its weight files hold: what would be built for it could
    exceed any memory. Weights that are missing are named when the others have been loaded."""
    with reading(path, "its weights (*.safetensors)"):
        sizes = [size for file in sorted(directory.glob("*.safetensors")) for size in _sizes(file)]
    layers = getattr(config.get_text_config(), "num_hidden_layers", 0)
    if layers > len(sizes):
        raise InputError(
            f"model {path!r}: its config.json has num_hidden_layers = {layers}, its files hold {len(sizes)} weights; "
            f"{RESTORE}"
        )
    with reading(path, "what its config.json describes"):
        wanted = sum(parameter.numel() for parameter in meta_model(config).parameters())
    if wanted > MOST * sum(sizes):
        raise InputError(
            f"model {path!r}: its config.json asks for {wanted:,} parameters, its files hold {sum(sizes):,}; {RESTORE}"
        )


def check_stops(path: str, directory: Path, model: PreTrainedModel) -> None:
    """Raises InputError when the generation settings can't be read, or end responses by what is no token."""
    if (file := directory / "generation_config.json").exists():
        read_json(file)  # transformers passes over a broken one
    if model.generation_config is None:
        return
    given = model.generation_config.eos_token_id
    stops = given if isinstance(given, list) else [] if given is None else [given]
    for stop in stops:
        if type(stop) is not int:
            raise InputError(
                f"model {path!r}: eos_token_id {stop!r:.40} of its generation_config.json is no number of a token; "
                "correct it or leave it out"
            )


def _sizes(file: Path) -> list[int]:
    """How many elements each tensor of the file has; only its header is read."""
    with safe_open(file, "pt") as tensors:
        return [prod(tensors.get_slice(name).get_shape()) for name in tensors.keys()]  # noqa: SIM118  # no mapping


def _reason(error: Exception) -> str:
    """The first paragraph of what a library says, as one line; of what it did not mean to say, with its kind."""
    paragraph = " ".join(str(error).strip().partition("\n\n")[0].split()).rstrip(".")
    said = isinstance(error, OSError | ValueError | RuntimeError) and paragraph
    return f"{paragraph if said else f'{type(error).__name__}: {paragraph}':.300}"

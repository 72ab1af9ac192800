"""Model directories: found, recognised, written whole."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerBase

from rlsp import model_files
from rlsp.errors import InputError
from rlsp.models import load_policy, load_tokenizer


def test_a_checkpoint_is_written_whole_and_replaced(
    tiny_model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    place = tmp_path / "new" / "model"
    model_files.save(tiny_model, tokenizer, place)
    first = model_files.fingerprint(place)
    with torch.no_grad():
        tiny_model.lm_head.weight += 1
    (place / "stale.safetensors").write_bytes(b"from another model")
    model_files.save(tiny_model, tokenizer, place)
    assert model_files.fingerprint(place) != first
    assert not (place / "stale.safetensors").exists()
    assert [path.name for path in place.parent.iterdir()] == ["model"]
    loaded = load_policy(str(place), torch.device("cpu"))
    assert torch.equal(loaded.get_output_embeddings().weight, tiny_model.lm_head.weight)


def test_a_failing_save_leaves_the_old_checkpoint(
    tiny_model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    class Broken:
        def save_pretrained(self, save_directory: object) -> None:
            raise OSError(errno.ENOSPC, "no space left on device")

    model_files.save(tiny_model, tokenizer, tmp_path / "model")
    before = model_files.fingerprint(tmp_path / "model")
    with pytest.raises(InputError, match="no space left on device; make room"):
        model_files.save(tiny_model, Broken(), tmp_path / "model")
    assert model_files.fingerprint(tmp_path / "model") == before
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_what_is_no_checkpoint_is_never_replaced(
    tiny_model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match="is no model directory"):
        model_files.save(tiny_model, tokenizer, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_the_fingerprint_sees_both_ends_of_a_long_file(tmp_path: Path) -> None:
    file = tmp_path / "data.jsonl"
    seen = set()
    for content in (b"a" * 3_000_000, b"b" + b"a" * 2_999_999, b"a" * 2_999_999 + b"b", b"a" * 2_999_999):
        file.write_bytes(content)
        seen.add(model_files.fingerprint(file))
    assert len(seen) == 4
    with pytest.raises(InputError, match="nowhere"):
        model_files.fingerprint(tmp_path / "nowhere")


def save_with(model: LlamaForCausalLM, folder: Path, **changes: Any) -> None:
    """A checkpoint whose config.json says something else."""
    model.save_pretrained(folder)
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_pickled_weights_are_refused(tiny_model: LlamaForCausalLM, tmp_path: Path) -> None:
    tiny_model.config.save_pretrained(tmp_path)
    torch.save(tiny_model.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"pickle files"):
        load_policy(str(tmp_path), torch.device("cpu"))


def test_weights_that_the_files_lack_are_not_made_up(tiny_model: LlamaForCausalLM, tmp_path: Path) -> None:
    save_with(tiny_model, tmp_path, num_hidden_layers=3)
    with pytest.raises(InputError, match=r"weights that config\.json asks for are not in its files: model\.layers\.2"):
        load_policy(str(tmp_path), torch.device("cpu"))


def test_quantized_models_are_refused(tiny_model: LlamaForCausalLM, tmp_path: Path) -> None:
    save_with(tiny_model, tmp_path, quantization_config={"quant_method": "gptq", "bits": 4})
    with pytest.raises(InputError, match=r"is quantized \(gptq\): its weights can't be trained"):
        load_policy(str(tmp_path), torch.device("cpu"))


def test_code_that_comes_with_a_model_is_never_run(tiny_model: LlamaForCausalLM, tmp_path: Path) -> None:
    auto_map = {"AutoConfig": "mine.Mine", "AutoModelForCausalLM": "mine.Model"}
    save_with(tiny_model, tmp_path, model_type="mine", auto_map=auto_map)
    (tmp_path / "mine.py").write_text("raise SystemExit('ran')")
    for load in (load_tokenizer, lambda path: load_policy(path, torch.device("cpu"))):
        with pytest.raises(InputError, match=r"can.t be (used|loaded)"):
            load(str(tmp_path))

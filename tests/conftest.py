"""Models small enough for unit tests: random weights, the nano tokenizer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerBase

from rlsp.nano.tokenizer import build_tokenizer
from tests.shrunk import TINY

collect_ignore = [
    "peers_algorithms.py",
    "browser_report.py",
    "real_trackers.py",
    "integrations_trl.py",
    "integrations_server.py",
    "integrations_openrlhf.py",
    "verl_cpu.py",
    "verl_run.py",
    "verl_parts.py",
]
"""Need what others don't: make test-peers, test-browser, test-trackers, test-integrations, test-verl."""

torch.set_num_threads(1)  # two threads on busy cores are many times slower than one, at these sizes


@pytest.fixture(scope="session", autouse=True)
def compiled_code_is_kept_apart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Also by the commands that tests call; the user's own stays as it is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def tokenizer() -> PreTrainedTokenizerBase:
    return build_tokenizer()


@pytest.fixture
def tiny_model(tokenizer: PreTrainedTokenizerBase) -> LlamaForCausalLM:
    """A two-layer Llama with grouped-query attention; its random weights are large enough to have opinions."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        **TINY,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return LlamaForCausalLM(config).eval()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The benchmarks' files beside the checkout; tests that need them are skipped where there are none."""
    path = Path(__file__).parents[2] / "shared" / "data"
    if not path.is_dir():
        pytest.skip(f"no benchmark files in {path}")
    return path

"""What decoding does between matrix products: the compiled half against the one in torch."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, Qwen3Config, Qwen3ForCausalLM

from rlsp.rollouts import compiling, fused, llama
from rlsp.rollouts.fused import Packed, compiled, library_for
from rlsp.rollouts.llama import LlamaDecoder
from rlsp.rollouts.rows import RowCache

needs_compiler = pytest.mark.skipif(
    sys.platform != "linux" or shutil.which("g++") is None, reason="decoding is compiled on Linux by g++"
)
SIZES = [(1, 1, 8), (2, 3, 16), (3, 3, 64), (2, 4, 24), (8, 4, 128), (1, 7, 32)]
"""Heads of keys, queries a head, head sizes."""


@pytest.fixture
def fresh_compilations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    fused.compiled.cache_clear()
    yield
    fused.compiled.cache_clear()


def model_of(
    heads: int, groups: int, dim: int, normed: bool, vocabulary: int = 97
) -> LlamaForCausalLM | Qwen3ForCausalLM:
    torch.manual_seed(0)
    shape: dict[str, Any] = {
        "vocab_size": vocabulary,
        "hidden_size": 8 * heads * groups,
        "intermediate_size": 56,
        "num_hidden_layers": 2,
        "num_attention_heads": heads * groups,
        "num_key_value_heads": heads,
        "head_dim": dim,
        "initializer_range": 0.1,
    }
    model = Qwen3ForCausalLM(Qwen3Config(**shape)) if normed else LlamaForCausalLM(LlamaConfig(**shape))
    for parameter in model.parameters():
        if parameter.ndim == 1:
            torch.nn.init.normal_(parameter, 1.0, 0.2)
    return model.eval()


@needs_compiler
@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("normed", [False, True])
@pytest.mark.parametrize(("rows", "threads"), [(1, 1), (1, 2), (3, 3), (9, 2), (70, 1), (130, 2)])
def test_it_gives_what_torch_gives(
    sizes: tuple[int, int, int], normed: bool, rows: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Logits, keys and values, for rows of unequal lengths; by threads that have rows, or heads, of their own."""
    assert_same_decoding(model_of(*sizes, normed), rows, threads, monkeypatch)


@needs_compiler
def test_threads_help_each_other_with_a_large_head(monkeypatch: pytest.MonkeyPatch) -> None:
    assert_same_decoding(model_of(1, 1, 8, normed=False, vocabulary=20_000), 200, 3, monkeypatch)


@needs_compiler
def test_scores_far_apart_do_not_overflow(monkeypatch: pytest.MonkeyPatch) -> None:
    """By more than float32's exponent holds: nearly everything is attended to at one place."""
    model = model_of(2, 3, 16, normed=False)
    with torch.no_grad():
        for layer in model.model.layers:
            layer.self_attn.q_proj.weight *= 40
            layer.self_attn.k_proj.weight *= 40
    assert_same_decoding(model, 3, 2, monkeypatch, tolerance=1e-2)  # numbers of this size lose digits


@pytest.fixture(autouse=True)
def threads_as_before() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def assert_same_decoding(
    model: LlamaForCausalLM | Qwen3ForCausalLM,
    rows: int,
    threads: int,
    monkeypatch: pytest.MonkeyPatch,
    tolerance: float = 1e-4,
) -> None:
    slots = 80
    torch.set_num_threads(threads)
    ours = LlamaDecoder(model, slots)
    assert ours.fused
    monkeypatch.setattr(llama, "library_for", lambda *_: None)
    plain = LlamaDecoder(model, slots)
    assert not plain.fused
    generator = torch.Generator().manual_seed(1)
    lengths = torch.randint(1, 60, (rows,), generator=generator)
    ids = torch.randint(97, (rows, slots), generator=generator)
    caches = []
    with torch.inference_mode():
        for decoder in (ours, plain):
            cache = RowCache(rows, slots)
            kept, prefilled = decoder.prefill(ids[:, : int(lengths.max())], lengths)
            cache.fill(slice(0, rows), kept, torch.arange(rows), lengths)
            caches.append((cache, [prefilled]))
        for step in range(20):
            places = lengths + step
            for decoder, (cache, logits) in zip((ours, plain), caches, strict=True):
                logits.append(decoder.decode(ids[torch.arange(rows), places], places, cache))
    (our_cache, our_logits), (plain_cache, plain_logits) = caches
    torch.testing.assert_close(torch.stack(our_logits), torch.stack(plain_logits), rtol=tolerance, atol=tolerance)
    assert our_cache.memory is not None and plain_cache.memory is not None
    torch.testing.assert_close(our_cache.memory, plain_cache.memory, rtol=tolerance, atol=tolerance)


@needs_compiler
@pytest.mark.parametrize("outer, inner", [(1, 1), (47, 5), (48, 288), (49, 289), (130, 600), (300, 37)])
@pytest.mark.parametrize("biased", [False, True])
def test_packed_products_are_products(outer: int, inner: int, biased: bool) -> None:
    """To float32's precision; a row's numbers depend neither on the others nor on the number of threads."""
    library = compiled(1, 1, 8)
    assert library
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(outer, inner, generator=generator)
    bias = torch.randn(outer, generator=generator) if biased else None
    states = torch.randn(600, inner, generator=generator)
    exact = torch.nn.functional.linear(states.double(), weight.double(), None if bias is None else bias.double())
    by_threads = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        packed = Packed(library, weight, bias)
        by_threads.append(packed(states))
        for rows in (1, 3, 8, 9, 33, 257):
            assert torch.equal(packed(states[:rows].clone()), by_threads[-1][:rows])
    assert (by_threads[0] - exact).abs().max() < 2e-6 * inner**0.5 * exact.abs().max()
    assert all(torch.equal(by_threads[0], each) for each in by_threads)


@needs_compiler
def test_a_prompt_read_once_for_its_group_gives_the_same_numbers() -> None:
    """Bit for bit as if each row read its own copy, also after rows have ended and others moved into their places."""
    model, slots = model_of(2, 3, 16, normed=False), 64
    prompts, lengths_P = (
        torch.randint(97, (3, 41), generator=torch.Generator().manual_seed(1)),
        torch.tensor([41, 20, 5]),
    )
    places_B = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2])
    decoder = LlamaDecoder(model, slots)
    caches: list[tuple[RowCache, list[torch.Tensor]]] = []
    for own in (False, True):
        caches.append((cache := RowCache(8, slots), logits := []))
        lengths_B = lengths_P[places_B]
        with torch.inference_mode():
            kept, _ = decoder.prefill(prompts, lengths_P)
            cache.fill(slice(0, 8), kept, places_B, lengths_B)
            for live in (8, 8, 6, 6):
                if live == 6 and len(lengths_B) == 8:  # the leaders of two groups end
                    cache.move(torch.tensor([6, 7]), torch.tensor([0, 3]), int(lengths_B.max()))
                    lengths_B = lengths_B[[6, 1, 2, 7, 4, 5]]
                if own:
                    cache.lengths_R.zero_()
                logits.append(decoder.decode(torch.arange(live), lengths_B, cache))
                lengths_B = lengths_B + 1
    (grouped, logits), (_, theirs) = caches
    assert grouped.leaders_R[:6].tolist() == [0, 1, 1, 0, 4, 0]
    assert all(torch.equal(ours, other) for ours, other in zip(logits, theirs, strict=True))


@needs_compiler
def test_gates_far_from_0_do_not_overflow(monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_of(2, 3, 16, normed=False)
    with torch.no_grad():
        for layer in model.model.layers:
            layer.mlp.gate_proj.weight *= 1e4
            layer.mlp.down_proj.weight *= 1e-4
    assert_same_decoding(model, 3, 2, monkeypatch)


@needs_compiler
def test_nan_in_the_weights_reaches_the_logits() -> None:
    """Where the draw finds it and says so."""
    model = model_of(2, 3, 16, normed=False)
    with torch.no_grad():
        model.model.layers[0].self_attn.k_proj.weight[0, 0] = float("nan")
    decoder, cache = LlamaDecoder(model, 8), RowCache(2, 8)
    with torch.inference_mode():
        kept, _ = decoder.prefill(torch.ones(2, 3, dtype=torch.long), torch.tensor([3, 3]))
        cache.fill(slice(0, 2), kept, torch.arange(2), torch.tensor([3, 3]))
        assert decoder.decode(torch.tensor([1, 2]), torch.tensor([3, 3]), cache).isnan().all()


def test_other_number_types_and_head_sizes_are_left_to_torch() -> None:
    assert library_for(model_of(2, 2, 16, normed=False).bfloat16(), 2, 2, 16) is None
    assert library_for(model_of(2, 2, 12, normed=False), 2, 2, 12) is None


@pytest.mark.usefixtures("fresh_compilations")
def test_without_a_compiler_torch_does_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiling.shutil, "which", lambda _: None)
    assert LlamaDecoder(model_of(2, 2, 16, normed=False), 8).fused is None


@needs_compiler
@pytest.mark.usefixtures("fresh_compilations")
def test_a_compiler_that_fails_is_told_about(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "decode.cpp"
    broken.write_text("no C++")
    monkeypatch.setattr(compiling, "SOURCE", broken)
    with pytest.warns(UserWarning, match=r"decoding is slower: decode.cpp can't be compiled or loaded: .*error"):
        assert compiled(2, 2, 16) is None


@needs_compiler
@pytest.mark.usefixtures("fresh_compilations")
def test_a_folder_that_may_hold_no_programs_is_told_about(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str) -> None:
        raise OSError(f"{path}: failed to map segment from shared object")

    monkeypatch.setattr(compiling, "CDLL", refuse)
    with pytest.warns(UserWarning, match="decoding is slower: .*failed to map segment"):
        assert compiled(2, 2, 16) is None


def kept(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "cache" / "rlsp").glob("*.so"))


@needs_compiler
@pytest.mark.usefixtures("fresh_compilations")
def test_what_is_compiled_is_kept_for_the_next_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert compiled(1, 1, 8)
    assert len(kept(tmp_path)) == 1
    compiled.cache_clear()
    monkeypatch.setattr(compiling.subprocess, "run", lambda *_, **__: pytest.fail("it is compiled again"))
    assert compiled(1, 1, 8)


@needs_compiler
@pytest.mark.usefixtures("fresh_compilations")
def test_what_is_kept_of_other_sizes_or_sources_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert compiled(1, 1, 8) and compiled(1, 1, 16)
    shutil.copytree(compiling.SOURCE.parent, tmp_path / "cpu")
    (tmp_path / "cpu" / "draw.h").write_text((tmp_path / "cpu" / "draw.h").read_text() + "// changed\n")
    monkeypatch.setattr(compiling, "SOURCE", tmp_path / "cpu" / "decode.cpp")
    compiled.cache_clear()
    assert compiled(1, 1, 8)
    assert len(kept(tmp_path)) == 3


@needs_compiler
@pytest.mark.usefixtures("fresh_compilations")
def test_what_is_kept_and_damaged_is_compiled_again(tmp_path: Path) -> None:
    place = compiling.place([*compiling.FLAGS, "-DHEADS=1", "-DGROUPS=1", "-DDIM=8"])
    assert place
    place.write_bytes(b"")
    assert compiled(1, 1, 8)
    assert kept(tmp_path) == [place] and place.stat().st_size > 0


@needs_compiler
@pytest.mark.usefixtures("fresh_compilations")
@pytest.mark.parametrize("mode", [0o770, 0o707])
def test_nothing_is_kept_where_others_could_put_theirs(mode: int, tmp_path: Path) -> None:
    folder = tmp_path / "cache" / "rlsp"
    folder.mkdir(parents=True)
    folder.chmod(mode)
    assert compiled(1, 1, 8)
    assert not kept(tmp_path)


@needs_compiler
@pytest.mark.usefixtures("fresh_compilations")
def test_it_is_compiled_where_nothing_can_be_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null")
    assert compiled(1, 1, 8)

"""The nano tokenizer: lossless on ASCII, one token a number, one token a phrase."""

from __future__ import annotations

import string
from pathlib import Path
from random import Random

import pytest
from transformers import PreTrainedTokenizerBase

from rlsp.demonstrations.search import unroll
from rlsp.models import load_tokenizer
from rlsp.nano.tokenizer import LARGEST_NUMBER, PHRASES, build_tokenizer
from rlsp.tasks import chain_sum, countdown
from rlsp.tasks.splits import Split
from rlsp.types import Problem


def encode(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    return list(tokenizer(text).input_ids)


def traces() -> list[tuple[Problem, str]]:
    rng = Random(0)
    problems = countdown.problems(Split.TRAIN, 60, 0, (1, 2, 3)) + chain_sum.problems(Split.TRAIN, 30, 0, (1, 2))
    unrolled = [(problem, unroll(problem, rng, 0.5, 6)) for problem in problems]
    return [(problem, trace) for problem, trace in unrolled if trace is not None]


@pytest.mark.parametrize("seed", range(4))
def test_random_ascii_survives(tokenizer: PreTrainedTokenizerBase, seed: int) -> None:
    rng = Random(seed)
    for _ in range(250):
        text = "".join(rng.choice(string.printable) for _ in range(rng.randint(0, 40)))
        ids = encode(tokenizer, text)
        assert tokenizer.decode(ids) == text
        assert tokenizer.unk_token_id not in ids


def test_text_of_its_own_pieces_survives(tokenizer: PreTrainedTokenizerBase) -> None:
    """Phrases, numbers and spaces in any order, where one piece can run into the next."""
    rng = Random(0)
    pieces = [*PHRASES, *map(str, range(120)), " ", "\n", "007", "100", "?", "make", "back"]
    for _ in range(500):
        text = "".join(rng.choice(pieces) for _ in range(rng.randint(1, 12)))
        assert tokenizer.decode(encode(tokenizer, text)) == text


def test_questions_and_traces_survive_and_are_short(tokenizer: PreTrainedTokenizerBase) -> None:
    found = traces()
    assert len(found) > 60
    for problem, trace in found:
        for text in (problem.question, trace):
            ids = encode(tokenizer, text)
            assert tokenizer.decode(ids) == text
            assert tokenizer.unk_token_id not in ids
        assert len(encode(tokenizer, trace)) < 0.75 * len(trace)


def test_numbers_are_single_tokens(tokenizer: PreTrainedTokenizerBase) -> None:
    ids = {number: encode(tokenizer, str(number)) for number in range(LARGEST_NUMBER + 1)}
    assert all(len(each) == 1 for each in ids.values())
    assert len({each[0] for each in ids.values()}) == LARGEST_NUMBER + 1


def test_other_numbers_fall_apart_into_digits(tokenizer: PreTrainedTokenizerBase) -> None:
    """Never into smaller numbers: `101` is not `10` and `1`."""
    for text in ("101", "1234", "007", "00", "100100"):
        assert tokenizer.convert_ids_to_tokens(encode(tokenizer, text)) == list(text)


def test_phrases_are_single_tokens(tokenizer: PreTrainedTokenizerBase) -> None:
    assert all(len(encode(tokenizer, phrase)) == 1 for phrase in PHRASES)
    line = "3 * 7 = 21, 21 + 12 = 33; is it 33? yes"
    assert tokenizer.convert_ids_to_tokens(encode(tokenizer, line)) == [
        *("3", " * ", "7", " = ", "21", ", ", "21", " + ", "12", " = ", "33", "; is it ", "33", "? yes")
    ]


def test_text_outside_ascii_is_unknown(tokenizer: PreTrainedTokenizerBase) -> None:
    assert encode(tokenizer, "é") == [tokenizer.unk_token_id]


def test_special_tokens(tokenizer: PreTrainedTokenizerBase) -> None:
    special = (tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.unk_token_id)
    assert len(set(special)) == 3
    assert encode(tokenizer, "5")[-1] not in special, "encoding adds no special token"
    assert len(set(tokenizer.get_vocab().values())) == len(tokenizer)


def test_saved_and_loaded(tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    tokenizer.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "llama"}', encoding="utf-8")
    (tmp_path / "model.safetensors").touch()
    loaded = load_tokenizer(str(tmp_path))
    assert loaded.get_vocab() == build_tokenizer().get_vocab()
    assert (loaded.eos_token_id, loaded.pad_token_id) == (tokenizer.eos_token_id, tokenizer.pad_token_id)
    for problem, trace in traces()[:10]:
        text = f"{problem.question}\n{trace}"
        assert encode(loaded, text) == encode(tokenizer, text)
        assert loaded.decode(encode(loaded, text)) == text

"""Chat templates in, token ids out, text back."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import GenerationConfig, LlamaForCausalLM, PreTrainedTokenizerBase

from rlsp.models import load_policy, load_tokenizer, pick_device
from rlsp.nano.tokenizer import build_tokenizer
from rlsp.prompts import decode_response, encode_prompt, encode_response, stop_ids
from rlsp.types import Problem

PROBLEM = Problem("countdown/3-7-12/33", "countdown", "Use 3, 7, 12 to make 33.", "33")
TEMPLATE = (
    "{% for message in messages %}[{{ message['role'] }}] {{ message['content'] }}<eos>\n{% endfor %}"
    "{% if add_generation_prompt %}[assistant] {% endif %}"
)


@pytest.fixture
def chatty() -> PreTrainedTokenizerBase:
    """The nano tokenizer with a chat template; a copy, so that no other test sees it."""
    tokenizer = build_tokenizer()
    tokenizer.chat_template = TEMPLATE
    return tokenizer


def test_without_a_template_the_prompt_is_the_question_and_a_line_break(tokenizer: PreTrainedTokenizerBase) -> None:
    prompt = encode_prompt(tokenizer, PROBLEM)
    assert prompt.problem_id == PROBLEM.id
    assert prompt.ids == tuple(tokenizer("Use 3, 7, 12 to make 33.\n").input_ids)


def test_with_a_template_the_prompt_is_its_rendering(chatty: PreTrainedTokenizerBase) -> None:
    prompt = encode_prompt(chatty, PROBLEM)
    rendered = "[user] Use 3, 7, 12 to make 33.<eos>\n[assistant] "
    assert chatty.decode(list(prompt.ids)) == rendered
    assert prompt.ids == tuple(chatty(rendered, add_special_tokens=False).input_ids)
    assert prompt.ids.count(chatty.eos_token_id) == 1, "the template's end of turn is one token"
    assert all(type(token) is int for token in prompt.ids)


def test_the_template_survives_a_checkpoint(
    chatty: PreTrainedTokenizerBase, tiny_model: LlamaForCausalLM, tmp_path: Path
) -> None:
    tiny_model.save_pretrained(tmp_path)
    chatty.save_pretrained(tmp_path)
    assert encode_prompt(load_tokenizer(str(tmp_path)), PROBLEM) == encode_prompt(chatty, PROBLEM)


@pytest.mark.parametrize("template", [None, TEMPLATE])
def test_the_instruction_surrounds_the_question(template: str | None) -> None:
    tokenizer = build_tokenizer()
    tokenizer.chat_template = template
    prompt = encode_prompt(tokenizer, PROBLEM, "Think. {question} Then box {it}.")
    assert "Think. Use 3, 7, 12 to make 33. Then box {it}." in tokenizer.decode(list(prompt.ids))


def test_a_question_with_braces_is_taken_as_it_is(tokenizer: PreTrainedTokenizerBase) -> None:
    problem = Problem("p", "math", r"What is \frac{1}{2} of {question}?", "1")
    prompt = encode_prompt(tokenizer, problem)
    assert tokenizer.decode(list(prompt.ids)) == r"What is \frac{1}{2} of {question}?" + "\n"


@pytest.mark.parametrize("text", ["", "3 * 7 = 21", "1 + 1 = 2\n2 + 2 = 4; is it 4? yes"])
def test_a_response_ends_in_eos_and_comes_back(tokenizer: PreTrainedTokenizerBase, text: str) -> None:
    ids = encode_response(tokenizer, text)
    assert ids[-1] == tokenizer.eos_token_id
    assert tokenizer.eos_token_id not in ids[:-1]
    assert decode_response(tokenizer, ids, frozenset({tokenizer.eos_token_id})) == text


def test_decoding_strips_the_closing_stop_token_only(tokenizer: PreTrainedTokenizerBase) -> None:
    eos, pad = tokenizer.eos_token_id, tokenizer.pad_token_id
    five = tokenizer("5").input_ids[0]
    stops = frozenset({eos})
    assert decode_response(tokenizer, [five, eos], stops) == "5"
    assert decode_response(tokenizer, [five, five], stops) == "55", "a truncated response loses nothing"
    assert decode_response(tokenizer, [pad, five, eos, eos], stops) == "<pad>5<eos>", "other special tokens are text"
    assert decode_response(tokenizer, [five, eos], frozenset({pad})) == "5<eos>"
    assert decode_response(tokenizer, [eos], stops) == decode_response(tokenizer, [], stops) == ""


def test_decoding_does_not_tidy_up_spaces(tokenizer: PreTrainedTokenizerBase) -> None:
    text = "it 's so , is n't it ?  yes "
    assert decode_response(tokenizer, encode_response(tokenizer, text), frozenset({tokenizer.eos_token_id})) == text


@pytest.mark.parametrize(("configured", "expected"), [(None, {1}), (7, {1, 7}), ([7, 8], {1, 7, 8}), (1, {1})])
def test_stop_ids_are_the_tokenizers_and_the_models(
    tokenizer: PreTrainedTokenizerBase,
    tiny_model: LlamaForCausalLM,
    configured: int | list[int] | None,
    expected: set[int],
) -> None:
    assert tokenizer.eos_token_id == 1
    tiny_model.generation_config = GenerationConfig(eos_token_id=configured)
    assert stop_ids(tokenizer, tiny_model.generation_config) == expected


def test_stop_ids_survive_a_checkpoint(
    tokenizer: PreTrainedTokenizerBase, tiny_model: LlamaForCausalLM, tmp_path: Path
) -> None:
    tiny_model.generation_config = GenerationConfig(eos_token_id=[1, 9])
    tiny_model.save_pretrained(tmp_path)
    assert stop_ids(tokenizer, load_policy(str(tmp_path), pick_device()).generation_config) == {1, 9}

"""The native sampler: exact log-probs, equal to Hugging Face's `generate`, and rows that know nothing of each other."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from operator import attrgetter
from random import Random
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    Gemma2Config,
    GenerationConfig,
    GPT2Config,
    LlamaForCausalLM,
    MambaConfig,
    MistralConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Qwen2Config,
)
from transformers.models.auto import AutoModelForCausalLM

from rlsp.errors import InputError
from rlsp.rollouts import Prompt, SamplingSettings, native
from rlsp.rollouts.draw import Draw
from rlsp.rollouts.draw import draw as plain_draw
from rlsp.rollouts.fused import compiled, compiled_draw
from rlsp.rollouts.llama import LlamaDecoder
from rlsp.rollouts.native import NativeSampler, _Batch
from rlsp.rollouts.rows import KeysValues, RowCache
from rlsp.types import Finish, Rollout
from tests.shrunk import TINY

ROOMY = 100_000
"""More cache than any test needs."""

BUDGET = 20


def sizes(tokenizer: PreTrainedTokenizerBase) -> dict[str, Any]:
    return {
        "vocab_size": len(tokenizer),
        **TINY,
        "max_position_embeddings": 256,
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }


def build(name: str, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    shared = sizes(tokenizer)
    configs: dict[str, PreTrainedConfig] = {
        "qwen2": Qwen2Config(**shared),
        "gemma2": Gemma2Config(**shared, head_dim=8, final_logit_softcapping=10.0),
        "gpt2": GPT2Config(
            vocab_size=len(tokenizer),
            n_embd=32,
            n_layer=2,
            n_head=4,
            n_positions=256,
            initializer_range=0.3,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        ),
    }
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(configs[name], attn_implementation="eager").eval()


def ragged_prompts(vocabulary: int, count: int = 6) -> list[Prompt]:
    rng = Random(0)
    lengths = [1, 9, 4, 13, 2, 7, 5, 11][:count]
    return [
        Prompt(f"problem-{index}", tuple(rng.randrange(3, vocabulary) for _ in range(length)))
        for index, length in enumerate(lengths)
    ]


def settings(temperature: float = 1.0, budget: int = BUDGET, cache_tokens: int = ROOMY) -> SamplingSettings:
    return SamplingSettings(temperature, budget, cache_tokens)


def stop_often(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    """Give the model several EOS tokens, so that about one token in ten ends a response."""
    stops = [tokenizer.eos_token_id, *range(20, 40)]
    model.generation_config = GenerationConfig(eos_token_id=stops, pad_token_id=tokenizer.pad_token_id)


def forward_logprobs(model: PreTrainedModel, rollout: Rollout) -> Tensor:
    """Log-probs of the response in one plain forward pass, at the temperature that it was sampled at (1 if greedy)."""
    ids_1T = torch.tensor([rollout.prompt_ids + rollout.response_ids])
    with torch.no_grad():
        logprobs_TV = (model(ids_1T).logits[0] / (rollout.temperature or 1.0)).log_softmax(-1)
    return logprobs_TV[:-1].gather(1, ids_1T[0, 1:, None]).squeeze(1)[len(rollout.prompt_ids) - 1 :]


def by_key(rollouts: Sequence[Rollout]) -> dict[tuple[str, int], tuple[int, ...]]:
    return {(rollout.problem_id, rollout.sample): rollout.response_ids for rollout in rollouts}


@pytest.fixture
def sampler(tiny_model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerBase) -> NativeSampler:
    stop_often(tiny_model, tokenizer)
    return NativeSampler(tiny_model, tokenizer)


# What is recorded


@pytest.mark.parametrize("temperature", [0.0, 0.7, 1.0])
def test_recorded_logprobs_are_those_of_a_forward_pass(sampler: NativeSampler, temperature: float) -> None:
    prompts = ragged_prompts(sampler.model.config.vocab_size)
    rollouts = sampler.sample(prompts, 3, settings(temperature), seed=0, policy_version=7)
    assert len({rollout.length for rollout in rollouts}) > 2
    for rollout in rollouts:
        assert rollout.temperature == temperature and rollout.policy_version == 7
        assert len(rollout.logprobs) == len(rollout.response_ids)
        torch.testing.assert_close(
            torch.tensor(rollout.logprobs), forward_logprobs(sampler.model, rollout), rtol=0, atol=1e-4
        )


def test_rollouts_come_in_order_with_their_prompts(sampler: NativeSampler) -> None:
    prompts = ragged_prompts(sampler.model.config.vocab_size)
    rollouts = sampler.sample(prompts, 3, settings(cache_tokens=70), seed=0, policy_version=0)
    expected = [(prompt.problem_id, sample, prompt.ids) for prompt in prompts for sample in range(3)]
    assert [(each.problem_id, each.sample, each.prompt_ids) for each in rollouts] == expected
    assert sampler.sample([], 3, settings(), seed=0, policy_version=0) == []


def test_a_response_ends_at_its_first_stop_token_or_at_the_budget(sampler: NativeSampler) -> None:
    prompts = ragged_prompts(sampler.model.config.vocab_size)
    rollouts = sampler.sample(prompts, 8, settings(budget=12), seed=0, policy_version=0)
    finishes = {rollout.finish for rollout in rollouts}
    assert finishes == {Finish.EOS, Finish.LENGTH}
    for rollout in rollouts:
        assert not set(rollout.response_ids[:-1]) & sampler.stops
        assert (rollout.finish is Finish.EOS) == (rollout.response_ids[-1] in sampler.stops)
        if rollout.finish is Finish.LENGTH:
            assert rollout.truncated and rollout.length == 12
        body = rollout.response_ids[:-1] if rollout.finish is Finish.EOS else rollout.response_ids
        assert rollout.text == sampler.tokenizer.decode(list(body))


def test_a_stop_token_at_the_very_end_of_the_budget_is_a_stop(sampler: NativeSampler) -> None:
    prompts = ragged_prompts(sampler.model.config.vocab_size)
    longer = sampler.sample(prompts, 8, settings(temperature=0.0), seed=0, policy_version=0)
    ended = next(rollout for rollout in longer if rollout.finish is Finish.EOS and rollout.length > 1)
    chosen = [prompt for prompt in prompts if prompt.problem_id == ended.problem_id]
    same = sampler.sample(chosen, 1, settings(temperature=0.0, budget=ended.length), seed=0, policy_version=0)[0]
    assert (same.response_ids, same.finish) == (ended.response_ids, Finish.EOS)
    cut = sampler.sample(chosen, 1, settings(temperature=0.0, budget=ended.length - 1), seed=0, policy_version=0)[0]
    assert (cut.response_ids, cut.finish) == (ended.response_ids[:-1], Finish.LENGTH)


def test_a_budget_of_one_token(sampler: NativeSampler) -> None:
    rollouts = sampler.sample(ragged_prompts(50), 2, settings(budget=1), seed=0, policy_version=0)
    assert [rollout.length for rollout in rollouts] == [1] * 12


def test_rollouts_are_told_of_as_they_end(sampler: NativeSampler) -> None:
    heard: list[Sequence[Rollout]] = []
    rollouts = sampler.sample(ragged_prompts(50), 3, settings(cache_tokens=99), 0, 0, on_ended=heard.append)
    assert len(heard) > 1 and all(heard)
    key = attrgetter("problem_id", "sample")
    assert sorted((each for ended in heard for each in ended), key=key) == sorted(rollouts, key=key)


# Equal to Hugging Face


def generate_greedily(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompts: Sequence[Prompt], budget: int
) -> list[tuple[int, ...]]:
    """`generate` on prompts padded on the left, each response cut after its first stop token."""
    width = max(len(prompt.ids) for prompt in prompts)
    pads = [width - len(prompt.ids) for prompt in prompts]
    ids_BT = torch.tensor(
        [[tokenizer.pad_token_id] * pad + list(each.ids) for pad, each in zip(pads, prompts, strict=True)]
    )
    mask_BT = torch.tensor([[0] * pad + [1] * (width - pad) for pad in pads])
    generator: Any = model
    output_BT = generator.generate(input_ids=ids_BT, attention_mask=mask_BT, do_sample=False, max_new_tokens=budget)
    stops = NativeSampler(model, tokenizer).stops
    responses = []
    for row in output_BT[:, width:].tolist():
        end = next((index + 1 for index, token in enumerate(row) if token in stops), len(row))
        responses.append(tuple(row[:end]))
    return responses


@pytest.mark.parametrize("cache_tokens", [ROOMY, 80])
def test_greedy_is_that_of_generate(
    sampler: NativeSampler, tokenizer: PreTrainedTokenizerBase, cache_tokens: int
) -> None:
    prompts = ragged_prompts(len(tokenizer), 8)
    greedy = settings(temperature=0.0, budget=30, cache_tokens=cache_tokens)
    rollouts = sampler.sample(prompts, 1, greedy, seed=0, policy_version=0)
    assert len({rollout.length for rollout in rollouts}) > 2
    expected = generate_greedily(sampler.model, tokenizer, prompts, 30)
    assert [rollout.response_ids for rollout in rollouts] == expected


@pytest.mark.parametrize("name", ["qwen2", "gpt2", "gemma2"])
def test_other_architectures(name: str, tokenizer: PreTrainedTokenizerBase) -> None:
    """Other position encodings, biases and soft-capped logits: greedy as `generate` has it, exact log-probs."""
    model = build(name, tokenizer)
    stop_often(model, tokenizer)
    sampler, prompts = NativeSampler(model, tokenizer), ragged_prompts(len(tokenizer))
    greedy = sampler.sample(prompts, 1, settings(temperature=0.0), seed=0, policy_version=0)
    assert [rollout.response_ids for rollout in greedy] == generate_greedily(model, tokenizer, prompts, BUDGET)
    for rollout in sampler.sample(prompts, 2, settings(0.7, cache_tokens=80), seed=0, policy_version=0):
        torch.testing.assert_close(torch.tensor(rollout.logprobs), forward_logprobs(model, rollout), rtol=0, atol=1e-4)


# Independence


def test_a_rollout_does_not_depend_on_its_neighbours(sampler: NativeSampler) -> None:
    """Alone, in another order, among fewer samples, through a cache of two rows: the same (seed, problem, sample)."""
    prompts = ragged_prompts(sampler.model.config.vocab_size)
    together = by_key(sampler.sample(prompts, 4, settings(), seed=3, policy_version=0))
    assert len(set(together.values())) == 24
    backwards = by_key(sampler.sample(prompts[::-1], 4, settings(), seed=3, policy_version=1))
    fewer = by_key(sampler.sample(prompts, 2, settings(), seed=3, policy_version=0))
    crowded = by_key(sampler.sample(prompts, 4, settings(cache_tokens=2 * (13 + BUDGET)), seed=3, policy_version=0))
    alone = [by_key(sampler.sample([prompt], 4, settings(), seed=3, policy_version=0)) for prompt in prompts]
    assert backwards == together
    assert crowded == together
    assert fewer.items() <= together.items()
    assert {key: ids for each in alone for key, ids in each.items()} == together


@pytest.mark.parametrize("rows", [1, 2, 3, 5, 8, 23])
def test_rows_that_leave_and_enter_change_nothing(
    sampler: NativeSampler, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    prompts = ragged_prompts(sampler.model.config.vocab_size)
    roomy = sampler.sample(prompts, 4, settings(), seed=1, policy_version=0)
    admitted: list[int] = []
    admit = _Batch.admit

    def spy(self: _Batch, groups: Any) -> None:
        before = len(self.live)
        admit(self, groups)
        admitted.append(len(self.live) - before)
        assert len(self.live) <= rows

    monkeypatch.setattr(_Batch, "admit", spy)
    tight = sampler.sample(prompts, 4, settings(cache_tokens=rows * (13 + BUDGET) + 5), seed=1, policy_version=0)
    assert sum(admitted) == 24 and len(admitted) > 1, "rows must have been handed on"
    assert by_key(tight) == by_key(roomy)
    for one, other in zip(tight, roomy, strict=True):
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-4)


@pytest.mark.parametrize("tokens", [1, 20, 30])
def test_prompts_prefilled_in_parts_change_nothing(
    sampler: NativeSampler, monkeypatch: pytest.MonkeyPatch, tokens: int
) -> None:
    prompts = ragged_prompts(sampler.model.config.vocab_size)
    whole = sampler.sample(prompts, 3, SamplingSettings(1.0, BUDGET, ROOMY), seed=0, policy_version=0)
    monkeypatch.setattr(native, "PREFILL_TOKENS", tokens)
    widest = 0

    class Watched(LlamaDecoder):
        def prefill(self, ids_PT: Tensor, lengths_P: Tensor) -> tuple[KeysValues, Tensor]:
            nonlocal widest
            widest = max(widest, ids_PT.numel())
            return super().prefill(ids_PT, lengths_P)

    monkeypatch.setattr(native, "LlamaDecoder", Watched)
    parts = sampler.sample(prompts, 3, SamplingSettings(1.0, BUDGET, ROOMY), seed=0, policy_version=0)
    assert [each.response_ids for each in parts] == [each.response_ids for each in whole]
    assert 0 < widest <= max(tokens, max(len(each.ids) for each in prompts))


def test_equal_prompts_of_different_problems_are_different_rollouts(sampler: NativeSampler) -> None:
    prompts = [Prompt("one", (5, 6, 7)), Prompt("two", (5, 6, 7))]
    one, two = sampler.sample(prompts, 1, settings(), seed=0, policy_version=0)
    assert one.response_ids != two.response_ids


def test_the_seed_decides(sampler: NativeSampler) -> None:
    prompts = ragged_prompts(sampler.model.config.vocab_size)
    first, again, other = (by_key(sampler.sample(prompts, 2, settings(), seed, 0)) for seed in (0, 0, 1))
    assert first == again
    assert sum(first[key] == other[key] for key in first) <= 2, "a response of one stop token may come twice"


def test_memory_of_an_earlier_call_changes_nothing(sampler: NativeSampler) -> None:
    """Whatever it holds, whichever shape it had."""
    prompts = ragged_prompts(sampler.model.config.vocab_size)
    fresh = sampler.sample(prompts, 2, settings(), seed=0, policy_version=0)
    kept = sampler.memory
    assert kept is not None
    with torch.inference_mode():
        kept.fill_(1e4)
    assert sampler.sample(prompts, 2, settings(), seed=0, policy_version=0) == fresh
    assert sampler.memory is kept
    sampler.sample(prompts, 5, settings(), seed=0, policy_version=0)
    assert sampler.memory is not kept
    assert sampler.sample(prompts, 2, settings(), seed=0, policy_version=0) == fresh


def test_memory_of_a_call_that_failed_is_not_used_again(sampler: NativeSampler) -> None:
    prompts = ragged_prompts(sampler.model.config.vocab_size)
    fresh = sampler.sample(prompts, 2, settings(), seed=0, policy_version=0)

    def fail(rollouts: Sequence[Rollout]) -> None:
        raise RuntimeError("whoever listens fails")

    with pytest.raises(RuntimeError, match="whoever listens fails"):
        sampler.sample(prompts, 2, settings(), seed=0, policy_version=0, on_ended=fail)
    assert sampler.memory is None
    assert sampler.sample(prompts, 2, settings(), seed=0, policy_version=0) == fresh


def test_the_global_generator_is_left_alone(sampler: NativeSampler) -> None:
    state = torch.get_rng_state()
    sampler.sample(ragged_prompts(50), 2, settings(), seed=0, policy_version=0)
    assert torch.equal(torch.get_rng_state(), state)


def test_new_weights_are_used_at_once(sampler: NativeSampler) -> None:
    prompts = ragged_prompts(sampler.model.config.vocab_size)
    before = by_key(sampler.sample(prompts, 1, settings(temperature=0.0), seed=0, policy_version=0))
    embeddings = next(sampler.model.parameters())
    with torch.no_grad():
        embeddings.add_(0.5 * torch.randn(embeddings.shape, generator=torch.Generator().manual_seed(0)))
    after = by_key(sampler.sample(prompts, 1, settings(temperature=0.0), seed=0, policy_version=1))
    assert before != after


# The draw


@pytest.fixture(params=["plain", "compiled"])
def draw(request: pytest.FixtureRequest) -> Draw:
    if request.param == "plain":
        return plain_draw
    return draw_of_cpu()


def draw_of_cpu() -> Draw:
    library = compiled(1, 1, 8)
    return partial(compiled_draw, library) if library else pytest.skip("there is no g++")


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_draws_follow_the_softmax(draw: Draw, temperature: float) -> None:
    """Pearson's χ² of 200,000 draws over 12 tokens: 11 degrees of freedom, 99.9 % quantile 31.26."""
    generator = torch.Generator().manual_seed(0)
    logits_V = 1.2 * torch.randn(12, generator=generator)
    count = 200_000
    tokens_B, logprobs_B = draw(logits_V.repeat(count, 1), torch.rand(count, generator=generator), temperature)
    probabilities_V = (logits_V.double() / temperature).softmax(-1)
    seen_V, expected_V = torch.bincount(tokens_B, minlength=12), count * probabilities_V
    assert expected_V.min() > 5
    assert ((seen_V - expected_V) ** 2 / expected_V).sum().item() < 31.26
    torch.testing.assert_close(logprobs_B, probabilities_V.log().float()[tokens_B], rtol=1e-5, atol=1e-5)


def test_draw_by_hand(draw: Draw) -> None:
    logits_BV = torch.tensor([0.1, 0.2, 0.3, 0.4]).log().expand(5, -1)
    # Cumulative 0.1, 0.3, 0.6, 1: the first token whose cumulative probability exceeds the uniform number.
    tokens_B, logprobs_B = draw(logits_BV.clone(), torch.tensor([0.0, 0.09, 0.11, 0.59, 0.999999]), 1.0)
    assert tokens_B.tolist() == [0, 0, 1, 2, 3]
    torch.testing.assert_close(logprobs_B.exp(), torch.tensor([0.1, 0.1, 0.2, 0.3, 0.4]))


def test_a_token_without_probability_is_never_drawn(draw: Draw) -> None:
    """At the ends and in the middle, whatever the uniform number, 0 and the largest below 1 included."""
    never = float("-inf")
    logits_V = torch.tensor([never, never, 0.3, never, 1.0, never, -2.0, never, never])
    edges = torch.cat([torch.linspace(0, 1, 10_001), torch.tensor([0.0, 1e-30, 1 - 2**-24, 1 - 1e-7])])
    tokens_B, logprobs_B = draw(logits_V.repeat(len(edges), 1), edges, 1.0)
    assert set(tokens_B.tolist()) == {2, 4, 6}
    assert logprobs_B.isfinite().all()
    single_V = torch.tensor([never, 0.0, never])
    assert set(draw(single_V.repeat(len(edges), 1), edges, 0.7)[0].tolist()) == {1}


def test_draws_from_a_large_vocabulary_stay_inside_it(draw: Draw) -> None:
    """Where fp32 rounding of 150,000 summands could run past the end."""
    generator = torch.Generator().manual_seed(0)
    logits_BV = torch.randn(64, 150_000, generator=generator)
    tokens_B, logprobs_B = draw(logits_BV.clone(), torch.full((64,), 1.0), 1.0)
    assert tokens_B.max() < 150_000
    torch.testing.assert_close(logprobs_B, logits_BV.log_softmax(-1).gather(1, tokens_B[:, None]).squeeze(1))


def test_log_probs_of_draws_are_exact(draw: Draw) -> None:
    """To float32's precision, over all that exponentials of float32 can hold."""
    logits_BV = torch.linspace(-80, 5, 100_000).repeat(64, 1)
    uniforms_B = torch.rand(64, generator=torch.Generator().manual_seed(0))
    tokens_B, logprobs_B = draw(logits_BV.clone(), uniforms_B, 1.0)
    exact_B = logits_BV.double().log_softmax(-1).gather(1, tokens_B[:, None]).squeeze(1)
    torch.testing.assert_close(logprobs_B, exact_B.float(), rtol=1e-6, atol=3e-6)


def test_exponentials_of_draws_are_exact(draw: Draw) -> None:
    """What lies below the largest logit by each gap makes at least half of the sum: its error shows."""
    gaps_B = torch.linspace(0, 5, 2001)
    logits_BV = torch.cat([torch.zeros(len(gaps_B), 1), -gaps_B[:, None].expand(-1, 150)], 1)
    tokens_B, logprobs_B = draw(logits_BV.clone(), torch.zeros(len(gaps_B)), 1.0)
    assert not tokens_B.any()
    exact_B = logits_BV.double().log_softmax(-1)[:, 0]
    assert (logprobs_B - exact_B).abs().max() < 1e-6


def test_greedy_takes_the_argmax_and_its_logprob_at_one(draw: Draw) -> None:
    logits_BV = torch.tensor([[0.0, 2.0, 1.0], [3.0, -1.0, 2.0]])
    tokens_B, logprobs_B = draw(logits_BV, torch.tensor([0.99, 0.99]), 0)
    assert tokens_B.tolist() == [1, 0]
    torch.testing.assert_close(logprobs_B, logits_BV.log_softmax(-1).amax(-1))


def test_numbers_that_are_none_are_refused(draw: Draw) -> None:
    for wrong in (float("nan"), float("inf")):
        for place in (0, 5, 299):
            logits_BV = torch.zeros(3, 300)
            logits_BV[1, place] = wrong
            with pytest.raises(RuntimeError, match="logits are NaN or infinite"):
                draw(logits_BV, torch.tensor([0.2, 0.5, 0.9]), 1.0)


def test_both_draws_draw_the_same_but_for_rounding() -> None:
    """Of 20,000 draws over 1,000 tokens a handful fall on the other side of an edge."""
    generator = torch.Generator().manual_seed(0)
    logits_BV, uniforms_B = 3 * torch.randn(20_000, 1000, generator=generator), torch.rand(20_000, generator=generator)
    tokens_B, logprobs_B = draw_of_cpu()(logits_BV, uniforms_B, 0.7)
    plain_tokens_B, plain_logprobs_B = plain_draw(logits_BV.clone(), uniforms_B, 0.7)
    same_B = tokens_B == plain_tokens_B
    assert same_B.float().mean() > 0.999
    torch.testing.assert_close(logprobs_B[same_B], plain_logprobs_B[same_B], rtol=1e-5, atol=1e-5)


# Refusals


def test_requests_that_do_not_fit_are_refused(sampler: NativeSampler) -> None:
    prompts = [Prompt("p", (5,) * 10)]
    with pytest.raises(InputError, match=r"need 30 tokens of cache, sampling\.cache_tokens is 29: raise it"):
        sampler.sample(prompts, 1, settings(budget=20, cache_tokens=29), seed=0, policy_version=0)
    assert sampler.sample(prompts, 1, settings(budget=20, cache_tokens=30), seed=0, policy_version=0)
    with pytest.raises(InputError, match=r"need 257 positions, the model has 256: lower sampling\.max_response_tokens"):
        sampler.sample(prompts, 1, settings(budget=247), seed=0, policy_version=0)


def test_models_that_it_cannot_sample_are_refused(tokenizer: PreTrainedTokenizerBase) -> None:
    shared = sizes(tokenizer)
    gemma = AutoModelForCausalLM.from_config(Gemma2Config(**shared, head_dim=8, sliding_window=16))
    with pytest.raises(InputError, match="need 30 tokens, the model's sliding window is 16"):
        NativeSampler(gemma, tokenizer).sample([Prompt("p", (5,) * 10)], 1, settings(), 0, 0)
    mamba = AutoModelForCausalLM.from_config(MambaConfig(vocab_size=50, hidden_size=8, num_hidden_layers=1))
    with pytest.raises(InputError, match="attention layers only"):
        NativeSampler(mamba, tokenizer).sample([Prompt("p", (5,))], 1, settings(), 0, 0)


def test_a_window_in_every_layer_is_refused(tokenizer: PreTrainedTokenizerBase) -> None:
    model = AutoModelForCausalLM.from_config(MistralConfig(**sizes(tokenizer), sliding_window=16)).eval()
    with pytest.raises(InputError, match="the model's sliding window is 16"):
        NativeSampler(model, tokenizer).sample([Prompt("p", (5,) * 10)], 1, settings(), 0, 0)


def test_a_model_that_is_broken_is_named(sampler: NativeSampler) -> None:
    sampler.model.model.norm.weight.data[0] = float("nan")
    with pytest.raises(Exception, match=r"(?i)nan|finite"):
        sampler.sample([Prompt("p", (5, 6))], 1, settings(), seed=0, policy_version=0)


# Memory that runs short


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 9 bytes")]
)
def test_out_of_memory_halves_the_cache_and_changes_no_token(
    tiny_model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerBase,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    prompts = [Prompt(f"p{number}", (5 + number, 6, 7)) for number in range(6)]
    settings = SamplingSettings(1.0, 12, 90)
    sampler = NativeSampler(tiny_model, tokenizer)
    wanted = sampler.sample(prompts, 2, settings, 0, 0)
    tried: list[int] = []

    class Short(RowCache):
        def __init__(self, rows: int, *arguments: Any) -> None:
            tried.append(rows)
            if rows > 2:
                raise error
            super().__init__(rows, *arguments)

    monkeypatch.setattr("rlsp.rollouts.native.RowCache", Short)
    with pytest.warns(UserWarning, match="cache of 90 tokens: going on with 45; set sampling.cache_tokens to that"):
        again = sampler.sample(prompts, 2, settings, 0, 0)
    assert tried == [6, 3, 1]
    assert [each.response_ids for each in again] == [each.response_ids for each in wanted]
    sampler.sample(prompts, 2, settings, 1, 0)
    assert tried == [6, 3, 1, 1], "the next call begins with what fits"


@pytest.mark.filterwarnings("ignore:out of memory while sampling")
def test_memory_too_short_for_one_sequence_is_an_error(
    tiny_model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    def short(*arguments: object) -> None:
        raise MemoryError

    monkeypatch.setattr("rlsp.rollouts.native.RowCache", short)
    sampler = NativeSampler(tiny_model, tokenizer)
    with pytest.raises(InputError, match=r"too short for sampling one prompt and response of 15 tokens"):
        sampler.sample([Prompt("p", (5, 6, 7))], 1, SamplingSettings(1.0, 12, 90), 0, 0)


def test_another_error_is_not_taken_for_it(
    tiny_model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*arguments: object) -> None:
        raise RuntimeError("shape mismatch")

    monkeypatch.setattr("rlsp.rollouts.native.RowCache", broken)
    with pytest.raises(RuntimeError, match="shape mismatch"):
        NativeSampler(tiny_model, tokenizer).sample([Prompt("p", (5, 6, 7))], 1, SamplingSettings(1.0, 12, 90), 0, 0)

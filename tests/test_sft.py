"""Supervised fine-tuning: what the loss counts, how batches are cut, and that a model learns to answer and to stop."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Literal

import pytest
import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerBase

from rlsp import sft
from rlsp.config import SftRecipe
from rlsp.demonstrations.search import unroll
from rlsp.errors import InputError
from rlsp.prompts import encode_prompt, encode_response
from rlsp.rollouts import Prompt, SamplingSettings
from rlsp.rollouts.native import NativeSampler
from rlsp.sft import Example, collate, length_bucketed
from rlsp.tasks import countdown
from rlsp.tasks.splits import Split
from rlsp.types import Finish


def ignore(metrics: dict[str, float]) -> None:
    pass


def demonstrations(tokenizer: PreTrainedTokenizerBase, count: int) -> list[Example]:
    """Searching traces as the nano recipe makes them."""
    rng, examples = Random(0), []
    for problem in countdown.problems(Split.TRAIN, count, 0, (1, 2, 3)):
        trace = unroll(problem, rng, intuition=0.4, max_attempts=6)
        if trace is not None:
            prompt = encode_prompt(tokenizer, problem).ids
            examples.append(Example(prompt + encode_response(tokenizer, trace), len(prompt)))
    return examples


def random_examples(count: int, seed: int, vocabulary: int = 100) -> list[Example]:
    rng = Random(seed)
    lengths = [rng.randint(3, 30) for _ in range(count)]
    return [Example(tuple(rng.randrange(3, vocabulary) for _ in range(n)), rng.randint(0, n - 2)) for n in lengths]


def test_collate_by_hand() -> None:
    ids_BT, mask_BT = collate([Example((5, 6, 7, 1), 2), Example((8, 1), 0)], torch.device("cpu"))
    assert ids_BT.tolist() == [[5, 6, 7, 1], [8, 1, 0, 0]]
    # The prompt and the padding are masked; the very first token has nothing before it that could predict it.
    assert mask_BT.int().tolist() == [[0, 0, 1, 1], [0, 1, 0, 0]]


def test_the_loss_is_the_mean_over_response_tokens(tiny_model: LlamaForCausalLM) -> None:
    """Of one batch, token by token, through the model's own forward pass; the gradient norm with it."""
    examples = random_examples(6, seed=1)
    terms = []
    for example in examples:
        logprobs_TV = tiny_model(torch.tensor([example.ids])).logits[0].log_softmax(-1)
        for position in range(max(1, example.response_start), len(example.ids)):
            terms.append(-logprobs_TV[position - 1, example.ids[position]])
    loss = torch.stack(terms).mean()
    loss.backward()
    norm = torch.cat([parameter.grad.flatten() for parameter in tiny_model.parameters() if parameter.grad is not None])
    tiny_model.zero_grad(set_to_none=True)
    logged: list[dict[str, float]] = []
    settings = SftRecipe(epochs=1, learning_rate=1e-9, batch_tokens=10_000)
    sft.train(tiny_model, examples, settings, seed=0, on_step=logged.append)
    assert len(logged) == 1
    assert logged[0]["loss"] == pytest.approx(loss.item(), rel=1e-5)
    assert logged[0]["grad_norm"] == pytest.approx(norm.norm().item(), rel=1e-4)
    assert logged[0]["tokens"] == sum(len(example.ids) for example in examples)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_answers_and_stopping_are_learnt(
    tiny_model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerBase, optimizer: Literal["adamw", "muon"]
) -> None:
    """Four demonstrations of different lengths, learnt by heart, come back greedily, EOS and all."""
    answers = {
        "a": "3 * 7 = 21, 21 + 12 = 33; is it 33? yes",
        "b": "1 + 1 = 2; is it 3? no\n1 + 2 = 3; is it 3? yes",
        "c": "5",
        "d": "",
    }
    encoded = {question: tuple(tokenizer(f"Use {question}\n").input_ids) for question in answers}
    responses = {question: encode_response(tokenizer, answer) for question, answer in answers.items()}
    examples = [Example(encoded[question] + responses[question], len(encoded[question])) for question in answers]
    logged: list[dict[str, float]] = []
    settings = SftRecipe(epochs=120, learning_rate=1e-2, batch_tokens=512, optimizer=optimizer)
    sft.train(tiny_model, examples, settings, seed=0, on_step=logged.append)
    assert logged[-1]["loss"] < 0.05 < logged[0]["loss"]
    prompts = [Prompt(question, encoded[question]) for question in answers]
    greedy = SamplingSettings(temperature=0.0, max_response_tokens=64, cache_tokens=4096)
    rollouts = NativeSampler(tiny_model, tokenizer).sample(prompts, 1, greedy, seed=0, policy_version=0)
    for rollout in rollouts:
        assert rollout.text == answers[rollout.problem_id]
        assert rollout.response_ids == responses[rollout.problem_id]
        assert rollout.finish is Finish.EOS


@pytest.mark.parametrize("seed", range(3))
def test_every_example_once_an_epoch_within_the_budget(seed: int) -> None:
    examples = random_examples(500, seed)
    batches = list(length_bucketed(examples, 128, Random(seed)))
    assert Counter(example for batch in batches for example in batch) == Counter(examples)
    for batch in batches:
        assert batch
        assert len(batch) * max(len(example.ids) for example in batch) <= 128


def test_training_sees_every_example_once_an_epoch(
    tiny_model: LlamaForCausalLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    examples = random_examples(40, 0)
    seen: list[list[Example]] = []
    logged: list[dict[str, float]] = []

    def spy(batch: list[Example], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
        seen.append(batch)
        return collate(batch, device)

    monkeypatch.setattr(sft, "collate", spy)
    settings = SftRecipe(epochs=3, learning_rate=1e-3, batch_tokens=128)
    sft.train(tiny_model, examples, settings, seed=0, on_step=logged.append)
    flat = [example for batch in seen for example in batch]
    assert [Counter(flat[start : start + 40]) for start in (0, 40, 80)] == [Counter(examples)] * 3
    assert flat[:40] != flat[40:80], "each epoch is shuffled anew"
    assert [metrics["step"] for metrics in logged] == list(range(1, len(seen) + 1))
    assert {metrics["steps"] for metrics in logged} == {len(seen)}


def test_padding_wastes_little(tokenizer: PreTrainedTokenizerBase) -> None:
    """On searching traces of the nano recipe's tasks and batch size."""
    examples = demonstrations(tokenizer, 1000)
    lengths = [len(example.ids) for example in examples]
    assert max(lengths) > 4 * min(lengths), "the traces must be ragged for this to mean anything"
    padded = 0
    for batch in length_bucketed(examples, 4096, Random(0)):
        padded += len(batch) * max(len(example.ids) for example in batch)
    assert 1 - sum(lengths) / padded < 0.1


def test_batches_mix_lengths_across_an_epoch() -> None:
    """Short batches do not all come first: the schedule must not correlate with the length."""
    examples = random_examples(600, 0)
    means = [sum(len(each.ids) for each in batch) / len(batch) for batch in length_bucketed(examples, 256, Random(0))]
    steps = torch.arange(len(means), dtype=torch.float64)
    correlation = torch.corrcoef(torch.stack([steps, torch.tensor(means, dtype=torch.float64)]))[0, 1]
    assert abs(correlation) < 0.35


def test_the_same_seed_trains_the_same_model(tiny_model: LlamaForCausalLM) -> None:
    start = {name: weight.clone() for name, weight in tiny_model.state_dict().items()}
    results = []
    for seed in (0, 0, 1):
        tiny_model.load_state_dict(start)
        settings = SftRecipe(epochs=2, learning_rate=1e-3, batch_tokens=128, weight_decay=0.1)
        sft.train(tiny_model, random_examples(30, 0), settings, seed=seed, on_step=ignore)
        results.append(torch.cat([parameter.detach().flatten() for parameter in tiny_model.parameters()]))
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


@pytest.mark.parametrize(
    ("examples", "message"),
    [
        ([], "no examples"),
        ([Example(tuple(range(40)), 3)], "40 tokens, more than a batch of 32: raise sft.batch_tokens"),
        ([Example((5, 6), 2)], "no response"),
    ],
)
def test_examples_that_cannot_be_learnt(tiny_model: LlamaForCausalLM, examples: list[Example], message: str) -> None:
    settings = SftRecipe(epochs=1, learning_rate=1e-3, batch_tokens=32)
    with pytest.raises(InputError, match=message):
        sft.train(tiny_model, examples, settings, seed=0, on_step=ignore)


def test_an_example_without_a_predictable_token_is_refused(tiny_model: LlamaForCausalLM) -> None:
    settings = SftRecipe(epochs=1, learning_rate=1e-3, batch_tokens=32)
    with pytest.raises(InputError, match="no response"):
        sft.train(tiny_model, [Example((5,), 0)], settings, seed=0, on_step=ignore)


def test_a_loss_that_is_not_finite_stops_before_the_weights(tiny_model: LlamaForCausalLM) -> None:
    tiny_model.model.norm.weight.data[0] = float("nan")
    before = tiny_model.model.embed_tokens.weight.detach().clone()
    settings = SftRecipe(epochs=1, learning_rate=1e-3, batch_tokens=32)
    with pytest.raises(RuntimeError, match="nan"):
        sft.train(tiny_model, [Example((5, 6, 7), 1)], settings, seed=0, on_step=ignore)
    assert torch.equal(before, tiny_model.model.embed_tokens.weight)

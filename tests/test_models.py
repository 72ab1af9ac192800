"""Log-probs, entropies and values against a model's own forward pass; loading and its errors."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Categorical
from transformers import (
    CohereConfig,
    Gemma2Config,
    GPT2Config,
    GraniteConfig,
    LlamaForCausalLM,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Qwen2Config,
)
from transformers.models.auto import AutoModelForCausalLM

from rlsp import models
from rlsp.config import ModelRecipe
from rlsp.errors import InputError
from rlsp.models import (
    Critic,
    frozen_copy,
    load_policy,
    load_tokenizer,
    logits_at,
    resolve,
    token_logprobs,
)
from rlsp.passes import training_passes
from tests.shrunk import TINY

VOCABULARY = 50
SIZES: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    **TINY,
    "bos_token_id": None,
    "eos_token_id": 1,
    "pad_token_id": 0,
}
ARCHITECTURES: dict[str, PreTrainedConfig] = {
    "qwen2": Qwen2Config(**SIZES),
    "gpt2": GPT2Config(
        vocab_size=VOCABULARY,
        n_embd=32,
        n_layer=2,
        n_head=4,
        initializer_range=0.3,
        bos_token_id=None,
        eos_token_id=1,
    ),
    "gemma2, soft-capped": Gemma2Config(**SIZES, head_dim=8, final_logit_softcapping=3.0),
    "cohere, scaled": CohereConfig(**SIZES, logit_scale=0.25),
    "granite, scaled": GraniteConfig(**SIZES, logits_scaling=4.0),
}


def build(name: str) -> PreTrainedModel:
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(ARCHITECTURES[name], attn_implementation="eager").eval()


def ragged(seed: int = 0, vocabulary: int = VOCABULARY) -> tuple[Tensor, Tensor, list[int]]:
    """(ids, mask of the tokens asked about, lengths): four sequences, right-padded with random tokens."""
    generator = torch.Generator().manual_seed(seed)
    lengths = [11, 4, 7, 9]
    ids_BT = torch.randint(0, vocabulary, (4, 11), generator=generator)
    positions_T = torch.arange(11)
    starts_B1 = torch.tensor([[5], [1], [6], [3]])
    mask_BT = (positions_T >= starts_B1) & (positions_T < torch.tensor(lengths)[:, None])
    mask_BT[3, 5] = False
    return ids_BT, mask_BT, lengths


def forward_logits(model: PreTrainedModel, ids_BT: Tensor, mask_BT: Tensor, lengths: list[int]) -> Tensor:
    """Logits [N, V] from which the masked tokens are chosen, each sequence alone and without padding."""
    rows = []
    for row, length in enumerate(lengths):
        logits_TV = model(input_ids=ids_BT[row : row + 1, :length]).logits[0]
        rows.append(logits_TV[mask_BT[row, :length].nonzero().squeeze(1) - 1])
    return torch.cat(rows)


def gradients(model: PreTrainedModel) -> dict[str, Tensor]:
    found = {name: each.grad.clone() for name, each in model.named_parameters() if each.grad is not None}
    model.zero_grad(set_to_none=True)
    return found


@pytest.mark.parametrize("temperature", [1.0, 0.7, 2.5])
def test_logprobs_and_entropies_are_those_of_the_forward_pass(tiny_model: LlamaForCausalLM, temperature: float) -> None:
    ids_BT, mask_BT, lengths = ragged()
    logits_NV = forward_logits(tiny_model, ids_BT, mask_BT, lengths) / temperature
    expected_N = logits_NV.log_softmax(-1).gather(1, ids_BT[mask_BT][:, None]).squeeze(1)
    logprobs_N, entropies_N = token_logprobs(tiny_model, ids_BT, mask_BT, temperature)
    torch.testing.assert_close(logprobs_N, expected_N, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(entropies_N, Categorical(logits=logits_NV).entropy(), rtol=1e-5, atol=1e-5)
    assert not entropies_N.requires_grad


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_any_architecture_keeps_its_own_logits(name: str) -> None:
    """Models that soft-cap or scale their logits included; so do the values of a fresh critic."""
    model, (ids_BT, mask_BT, lengths) = build(name), ragged()
    logits_NV = forward_logits(model, ids_BT, mask_BT, lengths)
    logprobs_N, entropies_N = token_logprobs(model, ids_BT, mask_BT, 0.7)
    expected_N = (logits_NV / 0.7).log_softmax(-1).gather(1, ids_BT[mask_BT][:, None]).squeeze(1)
    torch.testing.assert_close(logprobs_N, expected_N, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(entropies_N, Categorical(logits=logits_NV / 0.7).entropy(), rtol=1e-4, atol=1e-5)
    after_B = torch.tensor(lengths) - 1
    last_BV = torch.stack([model(ids_BT[row : row + 1, :n]).logits[0, -1] for row, n in enumerate(lengths)])
    torch.testing.assert_close(logits_at(model, after_B, input_ids=ids_BT), last_BV, rtol=1e-4, atol=1e-5)
    assert Critic(model)(ids_BT, mask_BT).tolist() == [[0.0] * int(mask_BT.sum())]


def test_soft_capping_matters() -> None:
    """The architecture test above could not fail if the cap did nothing."""
    model, (ids_BT, _, _) = build("gemma2, soft-capped"), ragged()
    logits_BTV = model(ids_BT).logits
    assert logits_BTV.abs().max() < 3
    head = model.get_output_embeddings()
    assert head(models.trunk_of(model)(ids_BT).last_hidden_state).abs().max() > 4


@pytest.mark.parametrize("rows", [1, 3, 7, 1000])
def test_chunks_equal_the_whole_with_their_gradients(
    tiny_model: LlamaForCausalLM, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    ids_BT, mask_BT, _ = ragged()
    weights_N = torch.randn(int(mask_BT.sum()), generator=torch.Generator().manual_seed(1))
    results = []
    for chunk in (models.CHUNK_ELEMENTS, rows * tiny_model.config.vocab_size):
        monkeypatch.setattr(models, "CHUNK_ELEMENTS", chunk)
        logprobs_N, entropies_N = token_logprobs(tiny_model, ids_BT, mask_BT, 0.7)
        (weights_N * logprobs_N).sum().backward()
        results.append((logprobs_N.detach(), entropies_N, gradients(tiny_model)))
    (whole, whole_entropies, whole_gradients), (cut, cut_entropies, cut_gradients) = results
    torch.testing.assert_close(cut, whole, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(cut_entropies, whole_entropies, rtol=1e-6, atol=1e-6)
    assert cut_gradients.keys() == whole_gradients.keys()
    for name, gradient in whole_gradients.items():
        scale = gradient.abs().max().item()
        torch.testing.assert_close(cut_gradients[name], gradient, rtol=0, atol=1e-5 * scale, msg=name)


def test_chunks_bound_the_logits_that_are_held(tiny_model: LlamaForCausalLM, monkeypatch: pytest.MonkeyPatch) -> None:
    """No call of the head sees more rows than a chunk, and a vocabulary larger than a chunk goes row by row."""
    ids_BT, mask_BT, _ = ragged()
    widths: list[int] = []
    hook = tiny_model.lm_head.register_forward_hook(lambda _, inputs, __: widths.append(len(inputs[0])))
    for rows in (4, 0):
        monkeypatch.setattr(models, "CHUNK_ELEMENTS", rows * tiny_model.config.vocab_size + 1)
        with torch.no_grad():
            token_logprobs(tiny_model, ids_BT, mask_BT)
    hook.remove()
    count = int(mask_BT.sum())
    assert widths == [4] * (count // 4) + ([count % 4] if count % 4 else []) + [1] * count


def both_losses(model: PreTrainedModel, critic: Critic) -> Tensor:
    ids_BT, mask_BT, _ = ragged()
    return token_logprobs(model, ids_BT, mask_BT)[0].sum() + critic(ids_BT, mask_BT).sum()


def learner_gradients(model: PreTrainedModel, critic: Critic) -> dict[str, Tensor]:
    values = {f"critic.{name}": each.grad for name, each in critic.named_parameters() if each.grad is not None}
    return values | gradients(model)


def critic_of(model: PreTrainedModel) -> Critic:
    critic = Critic(model)
    nn.init.ones_(critic.head.weight)
    return critic


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_gradient_checkpointing_gives_the_same_gradients_from_less(name: str) -> None:
    """In the model and in a critic copied from it; on leaving both modules' own forward passes are back."""
    model = build(name)
    plain = dict(vars(models.trunk_of(model)))
    results = []
    for wanted in (False, True):
        kept: list[int] = []
        with training_passes(model, ModelRecipe(gradient_checkpointing=wanted)):
            critic = critic_of(model)

            def keep(tensor: Tensor, kept: list[int] = kept) -> Tensor:
                kept.append(tensor.numel())
                return tensor

            with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
                loss = both_losses(model, critic)
            loss.backward()
        results.append((sum(kept), learner_gradients(model, critic)))
    (held, theirs), (held_less, ours) = results
    assert held_less < held / 2
    assert dict(vars(models.trunk_of(model))) == plain and not any("forward" in vars(each) for each in model.modules())
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_compiled_passes_give_the_same_gradients() -> None:
    """In the model and in critics copied from it before and after its first pass, whose weights are their own; passes
    without gradients are not compiled."""
    model, compilations = build("qwen2"), torch._dynamo.utils.counters["stats"]
    torch._dynamo.reset()
    both_losses(model, critic := critic_of(model)).backward()
    theirs = learner_gradients(model, critic)
    with training_passes(model, ModelRecipe(compile=True, gradient_checkpointing=True)):
        before = compilations["unique_graphs"]
        with torch.no_grad():
            both_losses(model, critic_of(model))
        assert compilations["unique_graphs"] == before
        for _ in range(2):
            critic = critic_of(model)
            both_losses(model, critic).backward()
            torch.testing.assert_close(learner_gradients(model, critic), theirs, rtol=1e-4, atol=1e-5)
        assert compilations["unique_graphs"] > before
    assert not any("forward" in vars(each) for each in model.modules())


def test_padding_does_not_matter(tiny_model: LlamaForCausalLM) -> None:
    ids_BT, mask_BT, lengths = ragged()
    other_BT = torch.where(torch.arange(11) < torch.tensor(lengths)[:, None], ids_BT, 13)
    assert not torch.equal(ids_BT, other_BT)
    critic = Critic(tiny_model)
    nn.init.normal_(critic.head.weight)
    for function in (lambda ids: token_logprobs(tiny_model, ids, mask_BT)[0], lambda ids: critic(ids, mask_BT)):
        torch.testing.assert_close(function(other_BT), function(ids_BT), rtol=1e-6, atol=1e-6)


def test_no_token_asked_about(tiny_model: LlamaForCausalLM) -> None:
    logprobs_N, entropies_N = token_logprobs(tiny_model, torch.ones(2, 3).long(), torch.zeros(2, 3).bool())
    assert logprobs_N.shape == entropies_N.shape == (0,)


def test_critic_starts_at_zero_and_learns(tiny_model: LlamaForCausalLM) -> None:
    ids_BT, mask_BT, _ = ragged()
    critic = Critic(tiny_model)
    before = {name: parameter.detach().clone() for name, parameter in tiny_model.named_parameters()}
    assert critic(ids_BT, mask_BT).tolist() == [[0.0] * int(mask_BT.sum())]
    targets_N = torch.linspace(-1, 1, int(mask_BT.sum()))
    optimizer = torch.optim.AdamW(critic.parameters(), lr=1e-2)
    for _ in range(60):
        loss = ((critic(ids_BT, mask_BT) - targets_N) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.05
    assert all(torch.equal(before[name], each) for name, each in tiny_model.named_parameters()), "it shares no weight"


def test_a_value_is_of_the_state_before_its_token(tiny_model: LlamaForCausalLM) -> None:
    """V(s_t) may not see o_t; it sees everything before."""
    critic = Critic(tiny_model)
    nn.init.normal_(critic.head.weight)
    ids_BT, mask_BT = torch.tensor([[5, 6, 7, 8]]), torch.tensor([[False, False, True, True]])
    base, second, third = (
        critic(ids, mask_BT)[0].tolist() for ids in (ids_BT, torch.tensor([[5, 6, 9, 8]]), torch.tensor([[5, 6, 7, 9]]))
    )
    assert base[0] == second[0] and base[1] != second[1]
    assert base == third


def test_reference_is_frozen_and_apart(tiny_model: LlamaForCausalLM) -> None:
    ids_BT, mask_BT, _ = ragged()
    reference = frozen_copy(tiny_model)
    assert not any(parameter.requires_grad for parameter in reference.parameters())
    assert all(parameter.requires_grad for parameter in tiny_model.parameters())
    before, _ = token_logprobs(reference, ids_BT, mask_BT)
    assert not before.requires_grad
    with torch.no_grad():
        for parameter in tiny_model.parameters():
            parameter.add_(0.1)
    after, _ = token_logprobs(reference, ids_BT, mask_BT)
    assert torch.equal(before, after)


def test_dropout_is_off(tiny_model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerBase, tmp_path: Path) -> None:
    """PPO's ratio compares like with like, so a loaded policy, its critic and its reference are deterministic."""
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4, resid_pdrop=0.5, embd_pdrop=0.5)
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    policy = load_policy(str(tmp_path), torch.device("cpu"))
    critic = Critic(policy)
    nn.init.normal_(critic.head.weight)
    ids_BT, mask_BT, _ = ragged()
    for function in (lambda: token_logprobs(policy, ids_BT, mask_BT)[0], lambda: critic(ids_BT, mask_BT)):
        assert torch.equal(function(), function())


def test_a_checkpoint_comes_back_in_fp32(
    tiny_model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    tiny_model.bfloat16().save_pretrained(tmp_path)
    policy = load_policy(str(tmp_path), torch.device("cpu"))
    assert {parameter.dtype for parameter in policy.parameters()} == {torch.float32}
    for name, parameter in policy.named_parameters():
        assert torch.equal(parameter, tiny_model.get_parameter(name).float())


def test_trainable_weights_have_room_for_small_steps(tiny_model: LlamaForCausalLM, tmp_path: Path) -> None:
    """An update of 2e-7 vanishes in a bf16 weight of 0.02, whose neighbours are 6e-5 away: the weights that an
    optimizer steps must be fp32 on every device (bf16 belongs in autocast). `meta` stands for a GPU."""
    tiny_model.save_pretrained(tmp_path)
    assert load_policy(str(tmp_path), torch.device("meta")).dtype == torch.float32


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"model 'no/such/model': no config\.json in no/such/model"):
        resolve("no/such/model")
    for load in (load_tokenizer, lambda path: load_policy(path, torch.device("cpu"))):
        with pytest.raises(InputError, match=r"no config\.json"):
            load(str(tmp_path))


def test_a_home_directory_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}", encoding="utf-8")
    (tmp_path / "model" / "model.safetensors").touch()
    assert resolve("~/model") == tmp_path / "model"


def test_a_tokenizer_without_eos_is_refused(
    tiny_model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    tiny_model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    load_tokenizer(str(tmp_path))
    path = tmp_path / "tokenizer_config.json"
    settings = json.loads(path.read_text(encoding="utf-8"))
    settings.pop("eos_token")
    path.write_text(json.dumps(settings), encoding="utf-8")
    with pytest.raises(InputError, match="no eos_token"):
        load_tokenizer(str(tmp_path))

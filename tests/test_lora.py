"""Adapters: what they leave alone, that every view of an adapted policy is the right distribution, and whole stages."""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import GPT2Config, LlamaForCausalLM, PreTrainedModel, PreTrainedTokenizerBase, Qwen2Config
from transformers.models.auto import AutoModelForCausalLM
from typer.testing import CliRunner

from rlsp import sft
from rlsp.cli import app
from rlsp.config import LoraRecipe, Recipe, SftRecipe, load, to_toml
from rlsp.engines import native, preflight, stages
from rlsp.engines.estimate import estimate
from rlsp.engines.progress import Silent
from rlsp.errors import InputError
from rlsp.lora import adapt, adapted, merged, meta_model
from rlsp.models import Critic, frozen_copy, load_config, load_policy, token_logprobs
from rlsp.rollouts import Prompt, SamplingSettings
from rlsp.rollouts.native import NativeSampler
from rlsp.runs import create
from tests.shrunk import SHRUNK, TINY, reinforce

CPU = torch.device("cpu")
NAMES = ["llama, tied", "nano", "qwen2, untied", "gpt2"]
IDS_BT = torch.arange(3, 43).reshape(4, 10)
MASK_BT = torch.arange(10).expand(4, 10) > 2
RANK_4 = LoraRecipe(rank=4, alpha=8)


@pytest.fixture(params=NAMES)
def model(request: pytest.FixtureRequest, tiny_model: LlamaForCausalLM) -> PreTrainedModel:
    if request.param == "llama, tied":
        return tiny_model
    if request.param == "nano":
        return load_policy("nano", CPU)
    torch.manual_seed(0)
    if request.param == "gpt2":
        config: Any = GPT2Config(vocab_size=60, n_embd=32, n_layer=2, n_head=4, initializer_range=0.3)
    else:
        config = Qwen2Config(
            vocab_size=60,
            **TINY,
            tie_word_embeddings=False,
        )
    return AutoModelForCausalLM.from_config(config).eval()


def stir(model: torch.nn.Module) -> None:
    """As if the adapters had learnt."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(0.1 * torch.randn_like(parameter))


@torch.no_grad()
def logits(model: PreTrainedModel) -> Tensor:
    return model(IDS_BT, use_cache=False).logits


@torch.no_grad()
def logprobs(model: PreTrainedModel) -> Tensor:
    return token_logprobs(model, IDS_BT, MASK_BT, 0.9)[0]


def storage(model: torch.nn.Module) -> set[int]:
    return {parameter.data_ptr() for parameter in model.parameters()}


def saved(model: PreTrainedModel) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def test_new_adapters_change_nothing_and_are_all_that_learns(model: PreTrainedModel) -> None:
    before, frozen = logits(model), storage(model)
    adapt(model, RANK_4)
    assert torch.equal(logits(model), before)
    learning = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert learning and all(".lora_A." in name or ".lora_B." in name for name in learning)
    assert {each.data_ptr() for each in model.parameters() if not each.requires_grad} == frozen


def test_the_reference_is_the_base_without_a_copy(model: PreTrainedModel) -> None:
    """Exactly the log-probs of a frozen copy, before and after the adapters learn; so the reference has no adapter."""
    copied, frozen = frozen_copy(model), storage(model)
    adapt(model, RANK_4)
    reference = frozen_copy(model)
    assert storage(reference) == frozen
    assert not any(parameter.requires_grad for parameter in reference.parameters())
    for _ in range(2):
        assert torch.equal(logprobs(reference), logprobs(copied))
        stir(model)
    assert not torch.allclose(logprobs(model), logprobs(copied), atol=1e-2)


def test_the_reference_is_peft_s_own_model_with_disabled_adapters(tiny_model: LlamaForCausalLM) -> None:
    from peft.tuners.lora import LoraLayer

    adapt(tiny_model, RANK_4)
    reference = frozen_copy(tiny_model)
    stir(tiny_model)
    for module in tiny_model.modules():
        if isinstance(module, LoraLayer):
            module.enable_adapters(False)
    assert torch.equal(logprobs(tiny_model), logprobs(reference))


def test_a_reference_of_adapters_that_have_learnt_is_refused(tiny_model: LlamaForCausalLM) -> None:
    adapt(tiny_model, RANK_4)
    stir(tiny_model)
    with pytest.raises(ValueError, match="have learnt already"):
        frozen_copy(tiny_model)


def test_merged_weights_are_the_same_distribution_and_touch_no_base_weight(model: PreTrainedModel) -> None:
    """In float64, so that nothing but rounding hides an error."""
    plain_keys = set(model.double().state_dict())
    adapt(model, RANK_4)
    stir(model)
    before, wanted = saved(model), logits(model)
    plain = merged(model)
    assert torch.allclose(logits(plain), wanted, rtol=0, atol=1e-9)
    assert set(plain.state_dict()) == plain_keys
    assert storage(model) & storage(plain), "embeddings and norms are shared"
    after = model.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
    assert torch.equal(logits(model), wanted)


def test_a_plain_model_is_its_own_merged_one(tiny_model: LlamaForCausalLM) -> None:
    assert merged(tiny_model) is tiny_model


def test_leaving_folds_the_adapters_into_a_plain_trainable_model(model: PreTrainedModel) -> None:
    keys, tied = set(model.state_dict()), model.config.tie_word_embeddings
    with adapted(model, RANK_4, seed=0):
        reference = frozen_copy(model)
        base = logits(reference)
        stir(model)
        wanted = logits(merged(model))
    assert torch.equal(logits(model), wanted)
    assert torch.equal(logits(reference), base), "what shares the base keeps it"
    assert set(model.state_dict()) == keys
    assert all(parameter.requires_grad for parameter in model.parameters())
    head, embedding = model.get_output_embeddings().weight, model.get_input_embeddings().weight
    assert (head is embedding) == tied
    with adapted(model, RANK_4, seed=0):
        assert torch.equal(logits(frozen_copy(model)), wanted), "a second training starts where the first ended"


def test_a_failed_training_leaves_a_plain_model(tiny_model: LlamaForCausalLM) -> None:
    keys = set(tiny_model.state_dict())
    with pytest.raises(KeyboardInterrupt), adapted(tiny_model, RANK_4, seed=0):
        raise KeyboardInterrupt
    assert set(tiny_model.state_dict()) == keys


def test_without_settings_nothing_is_adapted(tiny_model: LlamaForCausalLM) -> None:
    with adapted(tiny_model, None, seed=0):
        assert all(parameter.requires_grad for parameter in tiny_model.parameters())


def test_the_critic_shares_the_frozen_trunk_and_learns_by_adapters_of_its_own(model: PreTrainedModel) -> None:
    adapt(model, RANK_4)
    critic = Critic(model)
    learning = {name for name, parameter in critic.named_parameters() if parameter.requires_grad}
    adapters = {name for name in learning if ".lora_" in name}
    assert learning - adapters == {"head.weight", "head.bias"}
    own = {each.data_ptr() for each in critic.parameters() if each.requires_grad}
    assert not own & storage(model)
    assert storage(critic) - own <= storage(model), "no second trunk"
    before = logits(model)
    stir(critic)
    assert torch.equal(logits(model), before)
    critic(IDS_BT, MASK_BT).sum().backward()
    assert all(each.grad is not None for each in critic.parameters() if each.requires_grad)
    assert all(each.grad is None for each in model.parameters())


def test_a_full_critic_shares_nothing(tiny_model: LlamaForCausalLM) -> None:
    assert not storage(Critic(tiny_model)) & storage(tiny_model)


def test_sampling_draws_from_the_adapted_policy(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
    adapt(model, RANK_4)
    sampler = NativeSampler(model, tokenizer)
    prompts = [Prompt("a", (3, 4, 5)), Prompt("b", (6, 7, 8, 9))]
    settings = SamplingSettings(temperature=0.9, max_response_tokens=8, cache_tokens=100)
    first = sampler.sample(prompts, 2, settings, seed=0, policy_version=0)
    stir(model)
    before = saved(model)
    rollouts = sampler.sample(prompts, 2, settings, seed=0, policy_version=1)
    assert [each.response_ids for each in rollouts] != [each.response_ids for each in first]
    for rollout in rollouts:
        ids = torch.tensor([rollout.prompt_ids + rollout.response_ids])
        mask = torch.arange(ids.shape[1])[None] >= len(rollout.prompt_ids)
        with torch.no_grad():
            trained, _ = token_logprobs(model, ids, mask, 0.9)
        assert trained.tolist() == pytest.approx(rollout.logprobs, abs=1e-4)
    after = model.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_what_sampling_merges_does_not_outlive_it(
    tiny_model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerBase
) -> None:
    """The base's keys are not adapted here; they stay where they are, beside the base's own queries and values."""
    sampler = NativeSampler(tiny_model, tokenizer)
    adapt(tiny_model, RANK_4.model_copy(update={"targets": ("q_proj", "v_proj")}))
    before = storage(tiny_model)
    prompts, settings = [Prompt("a", (3, 4, 5))], SamplingSettings(1.0, 4, 100)
    sampler.sample(prompts, 2, settings, seed=0, policy_version=0)
    assert sampler.is_llama and storage(tiny_model) == before


@pytest.mark.parametrize(("dropout", "optimizer"), [(0.0, "adamw"), (0.3, "adamw"), (0.0, "muon")])
def test_sft_learns_by_adapters_alone(tiny_model: LlamaForCausalLM, dropout: float, optimizer: Any) -> None:
    examples = [sft.Example((5, 6, 7, 8, 1), 2), sft.Example((9, 8, 7, 1), 1)]
    settings = SftRecipe(epochs=30, learning_rate=1e-2, batch_tokens=64, optimizer=optimizer)
    lora, start, runs = RANK_4.model_copy(update={"dropout": dropout}), saved(tiny_model), []
    for _ in range(2):
        tiny_model.load_state_dict(start)
        logged: list[dict[str, float]] = []
        with adapted(tiny_model, lora, seed=0):
            sft.train(tiny_model, examples, settings, 0, logged.append)
            base = frozen_weights(tiny_model)
        assert all(torch.equal(start[name], tensor) for name, tensor in base.items())
        losses = [metrics["loss"] for metrics in logged]
        assert losses[-1] < 0.7 * losses[0]
        runs.append((losses, saved(tiny_model)))
    assert runs[0][0] == runs[1][0], "the same seed, the same adapters and dropout"
    moved = {name for name, tensor in runs[0][1].items() if not torch.equal(tensor, start[name])}
    assert moved == {name for name in start if "_proj.weight" in name}


def frozen_weights(model: PreTrainedModel) -> dict[str, Tensor]:
    """The base weights of an adapted model, by their plain names."""
    frozen = ((name, each) for name, each in model.named_parameters() if not each.requires_grad)
    return {name.replace(".base_layer", ""): each.detach().clone() for name, each in frozen}


def test_dropout_is_active_in_sft_alone(tiny_model: LlamaForCausalLM, monkeypatch: pytest.MonkeyPatch) -> None:
    adapt(tiny_model, LoraRecipe(rank=4, dropout=0.5))
    stir(tiny_model)
    assert not torch.equal(logits(tiny_model), logits(tiny_model))
    seen: list[float] = []

    def spy(model: PreTrainedModel, lora: LoraRecipe, seed: int) -> AbstractContextManager[None]:
        seen.append(lora.dropout)
        return adapted(model, lora, seed)

    monkeypatch.setattr(stages, "adapted", spy)
    recipe = nano("model.lora={dropout=0.5}")
    next(reinforce(stages.open_policy("nano"), recipe))
    assert seen == [0.0]


def test_targets_are_layers_by_the_end_of_their_names(tiny_model: LlamaForCausalLM) -> None:
    adapt(tiny_model, LoraRecipe(targets=("q_proj", "1.mlp.up_proj")))
    names = {name.partition(".lora_")[0] for name, each in tiny_model.named_parameters() if each.requires_grad}
    prefix = "model.layers"
    assert names == {f"{prefix}.0.self_attn.q_proj", f"{prefix}.1.self_attn.q_proj", f"{prefix}.1.mlp.up_proj"}


@pytest.mark.parametrize("target", ["q_prj", "proj", "lm_head", "embed_tokens", "norm"])
def test_a_target_that_is_no_linear_layer_below_the_head_is_named(target: str, tiny_model: LlamaForCausalLM) -> None:
    before = set(tiny_model.state_dict())
    with pytest.raises(InputError, match=rf"no linear layer '{target}' below its head; it has down_proj, gate_proj, "):
        adapt(tiny_model, LoraRecipe(targets=("q_proj", target)))
    assert set(tiny_model.state_dict()) == before


# Whole stages


def nano(*settings: str) -> Recipe:
    return load(Recipe, "nano", ["task.levels=[1]", "demonstrations.count=16", *SHRUNK, *settings])


def test_the_section_is_read_and_written() -> None:
    recipe = nano("model.lora={rank=8, targets=['q_proj']}", "model.lora.alpha=4")
    assert recipe.model.lora == LoraRecipe(rank=8, alpha=4, targets=("q_proj",))
    assert nano().model.lora is None
    assert '[model.lora]\nrank = 8\nalpha = 4.0\ndropout = 0.0\ntargets = ["q_proj"]\n' in to_toml(recipe)
    assert nano("model.lora={}").model.lora == LoraRecipe()
    with pytest.raises(InputError, match=r"unknown key 'model\.lora\.r'; known here: rank, alpha, dropout, targets"):
        nano("model.lora={r=8}")
    with pytest.raises(InputError, match="targets"):
        nano("model.lora={targets=[]}")


def test_a_run_moves_the_policy_and_saves_plain_checkpoints(tmp_path: Path) -> None:
    recipe = nano("model.lora={rank=4}", "sft.epochs=1", "rl.actor_learning_rate=1e-2")
    run = create(tmp_path / "run", recipe)
    native.run(recipe, run, Silent())
    base, tuned, trained = (
        load_policy(str(path), CPU) for path in ("nano", *(run.path(s, "model") for s in ("sft", "rl")))
    )
    for before, after in ((base, tuned), (tuned, trained)):
        start = before.state_dict()
        assert set(start) == set(after.state_dict())
        moved = {name for name, tensor in after.state_dict().items() if not torch.equal(tensor, start[name])}
        assert moved == {name for name in start if "_proj.weight" in name}
    assert trained.get_output_embeddings().weight is trained.get_input_embeddings().weight
    metrics = run.path("rl", "metrics.jsonl").read_text().splitlines()
    assert len(metrics) == 2


def test_rl_starts_at_its_reference_and_keeps_it() -> None:
    recipe = nano("model.lora={}", "rl.actor_learning_rate=1e-2", "rl.steps=3", "rl.critic_warmup_steps=0")
    policy = stages.open_policy("nano")
    start = saved(policy.model)
    steps = [each.metrics for each in reinforce(policy, recipe)]
    assert abs(steps[0]["kl"]) < 1e-6
    assert abs(steps[2]["kl"]) > 1e-4
    assert all(step["logprob_gap"] < 1e-4 for step in steps), "sampling is merged, training is not"
    assert any(not torch.equal(start[name], tensor) for name, tensor in policy.model.state_dict().items())


def test_what_is_saved_in_the_middle_of_rl_is_the_adapted_policy(tmp_path: Path) -> None:
    """As a pause at an alarm does."""
    recipe = nano("model.lora={}", "rl.actor_learning_rate=1e-2", "rl.critic_warmup_steps=0")
    policy = stages.open_policy("nano")
    running = reinforce(policy, recipe)
    next(running)
    wanted = logits(policy.model)
    policy.save(tmp_path / "model")
    assert torch.allclose(
        logits(load_policy(str(tmp_path / "model"), CPU)), wanted, rtol=0, atol=1e-5 * float(wanted.abs().max())
    )
    assert not torch.allclose(wanted, logits(load_policy("nano", CPU)), atol=1e-3)


def test_without_peft_the_recipe_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(InputError, match=r"pip install 'rlsp\[lora\]'"):
        preflight.check(nano("model.lora={}"))
    done = CliRunner().invoke(app, ["run", "nano", "--set", "model.lora={}", "--dry-run"])
    assert done.exit_code != 0
    preflight.check(nano())
    stages.open_policy("nano")


def test_a_wrong_target_is_refused_before_anything_is_loaded() -> None:
    with pytest.raises(InputError, match=r"model\.lora\.targets: LlamaForCausalLM has no linear layer 'query'"):
        preflight.check(nano("model.lora={targets=['query']}"))


def test_a_directory_with_an_adapter_is_refused(tiny_model: LlamaForCausalLM, tmp_path: Path) -> None:
    """transformers would load it when peft is installed, and leave it out when not."""
    tiny_model.save_pretrained(tmp_path)
    (tmp_path / "adapter_config.json").write_text("{}", encoding="utf-8")
    with pytest.raises(InputError, match="holds an adapter"):
        load_policy(str(tmp_path), CPU)


def test_the_estimate_counts_one_trunk(tiny_model: LlamaForCausalLM) -> None:
    full, lora = estimate(nano()), estimate(nano("model.lora={rank=4}"))
    policy = load_policy("nano", CPU)
    weights = sum(each.numel() for each in policy.parameters())
    linear = sum(each.numel() for name, each in policy.named_parameters() if "_proj.weight" in name)
    adapters = sum(4 * sum(each.shape) for name, each in policy.named_parameters() if "_proj.weight" in name)
    assert full.parameters == full.learnt == lora.parameters == weights
    assert lora.learnt == adapters
    own = {name: size for name, size in lora.bytes_by_part.items() if full.bytes_by_part.get(name) != size}
    assert own == {
        "frozen weights of policy, critic and reference": 4 * weights,
        "adapters of policy and critic": 2 * 4 * adapters,
        "merged weights while sampling": 4 * linear,
        "gradients and AdamW of policy and critic": 6 * 4 * adapters,
    }
    assert full.bytes_by_part["weights of policy, critic and reference"] == 3 * 4 * weights


def test_a_meta_model_has_no_weights() -> None:
    model = meta_model(load_config("nano"), RANK_4)
    assert {parameter.device.type for parameter in model.parameters()} == {"meta"}


def test_dry_run_shows_the_adapters() -> None:
    done = CliRunner().invoke(app, ["run", "nano", "--set", "model.lora={rank=4}", "--dry-run"])
    assert done.exit_code == 0, done.output
    assert "M parameters, adapters of 0." in done.output
    assert "[model.lora]" in done.output

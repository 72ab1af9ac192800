"""`examples/minimal.py` and the library are the same algorithm: on the same rollouts and weights, number by number."""

from __future__ import annotations

import ast
import dataclasses
import importlib.util
import sys
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import LlamaForCausalLM, PreTrainedTokenizerBase

from rlsp import models, sft
from rlsp.config import RewardRecipe, RlRecipe
from rlsp.demonstrations.search import unroll
from rlsp.exploration.composite import Composite, Weighted
from rlsp.exploration.length import LengthReward
from rlsp.models import frozen_copy, token_logprobs
from rlsp.prompts import encode_prompt, encode_response
from rlsp.reward import score
from rlsp.rl.advantages import token_rewards
from rlsp.rl.batch import Batch, Experience, collate
from rlsp.rl.experience import gather
from rlsp.rl.streams import SummedRewards
from rlsp.rl.update import Updater
from rlsp.tasks import countdown
from rlsp.tasks.splits import Split
from rlsp.types import Finish, Rollout, Score

MINIMAL = Path(__file__).parents[1] / "examples" / "minimal.py"
MAX_TOKENS = 20
TOLERANCE = 1e-5
PPO = RlRecipe(
    steps=10,
    prompts_per_step=6,
    samples_per_prompt=3,
    minibatch_rollouts=9,
    actor_learning_rate=1e-4,
    critic_learning_rate=1e-4,
    microbatch_tokens=150,
)


@pytest.fixture(scope="module")
def minimal() -> ModuleType:
    specification = importlib.util.spec_from_file_location("minimal", MINIMAL)
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules["minimal"] = module
    specification.loader.exec_module(module)
    return module


@dataclasses.dataclass(frozen=True)
class Both:
    """The same rollouts on both sides; policy and critics have moved a little since they were sampled."""

    policy: LlamaForCausalLM
    rollouts: Any
    rewards_B: Tensor
    experience: Any
    critic: nn.Module
    scores: list[Score]
    batch: Batch
    library_experience: Experience
    library_critic: models.Critic
    correct_B: Tensor


@pytest.fixture
def both(minimal: ModuleType, tiny_model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerBase) -> Both:
    torch.manual_seed(0)
    with torch.no_grad():
        tiny_model.model.embed_tokens.weight[tokenizer.eos_token_id] *= 3  # some responses end before the budget
    critic = minimal.Critic(tiny_model)
    nn.init.normal_(critic.head.weight, std=0.2)
    library_critic = models.Critic(tiny_model)
    library_critic.load_state_dict(critic.state_dict())
    reference = frozen_copy(tiny_model)
    nudge(reference)
    problems = countdown.problems(Split.TRAIN, PPO.prompts_per_step, 0, levels=(1, 3))
    rollouts = minimal.sample(tiny_model, tokenizer, problems, PPO.samples_per_prompt, MAX_TOKENS)
    texts = list(rollouts.texts)
    records = as_records(minimal, rollouts, tiny_model)
    for row in range(0, len(records), 4):  # random weights solve nothing: put a right answer in its place
        problem = rollouts.problems[row]
        texts[row] = unroll(problem, Random(0), intuition=0.9, max_attempts=9) or ""
        records[row] = dataclasses.replace(records[row], text=texts[row])
    correct_B = torch.tensor(
        [float(minimal.verify(problem, text).correct) for problem, text in zip(rollouts.problems, texts, strict=True)]
    )
    rewards_B = minimal.rewards_of(correct_B, rollouts, MAX_TOKENS)
    experience = minimal.experience_of(tiny_model, reference, critic, rollouts, rewards_B)
    explorer = Composite({"length": Weighted(1.0, 1.0, LengthReward(minimal.C_PER_BUDGET * MAX_TOKENS))})
    scores = score(problems, records, explorer, RewardRecipe())
    streams = SummedRewards(explorer, PPO.gamma, RewardRecipe().clamp).build(records, scores)
    batch = collate(records, scores, streams, False, torch.device("cpu"))
    library_experience = gather(batch, reference, library_critic, PPO)
    nudge(tiny_model)
    nudge(critic)
    library_critic.load_state_dict(critic.state_dict())
    return Both(
        tiny_model,
        rollouts,
        rewards_B,
        experience,
        critic,
        scores,
        batch,
        library_experience,
        library_critic,
        correct_B,
    )


def nudge(module: nn.Module) -> None:
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))


def as_records(minimal: ModuleType, rollouts: Any, policy: LlamaForCausalLM) -> list[Rollout]:
    """The library's rollouts, their log-probs by the library's own function."""
    responses, records = rollouts.mask_BR.shape[1], []
    for row, problem in enumerate(rollouts.problems):
        ids_T, seen_T, mask_R = rollouts.ids_BT[row], rollouts.attention_BT[row], rollouts.mask_BR[row]
        prompt = tuple(ids_T[:-responses][seen_T[:-responses]].tolist())
        response = tuple(ids_T[-responses:][mask_R].tolist())
        ids_1T = torch.tensor([prompt + response])
        mask_1T = torch.arange(ids_1T.shape[1])[None] >= len(prompt)
        with torch.no_grad():
            logprobs_N, _ = token_logprobs(policy, ids_1T, mask_1T, minimal.TEMPERATURE)
        finish = Finish.LENGTH if rollouts.truncated_B[row] else Finish.EOS
        sample = row % PPO.samples_per_prompt
        text = rollouts.texts[row]
        logprobs = tuple(logprobs_N.tolist())
        records.append(Rollout(problem.id, sample, prompt, response, logprobs, text, finish, minimal.TEMPERATURE, 0))
    return records


def assert_close(actual: Tensor, expected: Tensor, mask: Tensor) -> None:
    assert expected[mask].abs().max() > 1e-3, "nothing to compare"
    torch.testing.assert_close(actual[mask], expected[mask], rtol=TOLERANCE, atol=TOLERANCE)


def test_it_is_short_and_stands_alone() -> None:
    source = MINIMAL.read_text(encoding="utf-8")
    assert len(source.splitlines()) <= 300
    imported = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            imported.add(node.module or "")
        elif isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
    ours = {name for name in imported if name.split(".")[0] == "rlsp"}
    allowed = ("rlsp.tasks", "rlsp.verifiers", "rlsp.demonstrations", "rlsp.model_files", "rlsp.types")
    assert ours and all(name.startswith(allowed) for name in ours)
    assert not any(name.split(".")[0] in {"trl", "peft", "accelerate"} for name in imported)


def test_prompts_and_rollouts(both: Both, tokenizer: PreTrainedTokenizerBase) -> None:
    lengths = both.batch.mask_BR.sum(1)
    assert both.rollouts.truncated_B.any() and not both.rollouts.truncated_B.all(), "both kinds must be compared"
    assert torch.equal(both.rollouts.mask_BR.sum(1), lengths)
    assert len(set((~both.batch.sampled_BT).sum(1).tolist())) > 1, "prompts must be ragged"
    for row, problem in enumerate(both.rollouts.problems):
        prompt = encode_prompt(tokenizer, problem).ids
        assert tuple(both.batch.ids_BT[row, : len(prompt)].tolist()) == prompt
        response = both.batch.ids_BT[row][both.batch.sampled_BT[row]]
        ended = response[-1].item() == tokenizer.eos_token_id
        assert ended != bool(both.rollouts.truncated_B[row])
        assert tokenizer.decode((response[:-1] if ended else response).tolist()) == both.rollouts.texts[row]


def test_logprobs_see_through_the_padding(both: Both) -> None:
    """Prompts padded on the left there, on the right here."""
    mask_BR = both.batch.mask_BR
    assert_close(both.experience.logprobs, both.batch.logprobs_BR, mask_BR)
    assert_close(both.experience.values, both.library_experience.values_SBR[0], mask_BR)


def test_eq1(both: Both) -> None:
    assert 0 < both.correct_B.sum() < len(both.correct_B)
    assert [score.verdict.correct for score in both.scores] == both.correct_B.bool().tolist()
    assert both.rewards_B.tolist() == pytest.approx([score.total for score in both.scores], abs=TOLERANCE)


def test_eq2_and_advantages(both: Both, minimal: ModuleType) -> None:
    experience, batch, mask_BR = both.library_experience, both.batch, both.batch.mask_BR
    reference_BR = experience.reference_logprobs_BR
    expected_BR = token_rewards(
        batch.streams.rewards_SBR[0], batch.logprobs_BR, reference_BR, mask_BR, PPO.kl_coefficient
    )
    nan_BR = torch.where(mask_BR, both.experience.logprobs, float("nan"))
    actual_BR = minimal.token_rewards(both.rewards_B, nan_BR, reference_BR, mask_BR)
    assert_close(actual_BR, expected_BR, torch.ones_like(mask_BR))
    assert (batch.logprobs_BR - reference_BR)[mask_BR].abs().max() > 0.01, "the KL term must matter"
    assert_close(both.experience.returns, experience.returns_SBR[0], mask_BR)
    # Whitening divides by the standard deviation: compare on its scale.
    torch.testing.assert_close(both.experience.advantages, experience.advantages_BR, rtol=1e-4, atol=1e-4)


def test_constants_are_the_recipes_defaults(minimal: ModuleType) -> None:
    reward = RewardRecipe()
    assert (minimal.ALPHA, minimal.REWARD_CLAMP, reward.truncation) == (reward.alpha, reward.clamp, "floor")
    assert (PPO.kl_coefficient, PPO.gamma, PPO.gae_lambda) == (minimal.BETA, minimal.GAMMA, minimal.LAMBDA)
    assert (PPO.clip, PPO.value_clip) == (minimal.CLIP, minimal.VALUE_CLIP)
    assert PPO.grad_clip == minimal.GRADIENT_CLIP


@pytest.mark.parametrize("half", [0, 1])
def test_losses_and_gradients_of_a_minibatch(both: Both, minimal: ModuleType, half: int) -> None:
    rows = torch.randperm(18, generator=torch.Generator().manual_seed(3)).split(9)[half]
    policy_loss, value_loss = minimal.losses(both.policy, both.critic, both.rollouts, both.experience, rows)
    (policy_loss + value_loss).backward()
    expected = take_gradients(both.policy), take_gradients(both.critic)
    updater = Updater(both.policy, both.library_critic, PPO, seed=0)
    metrics = updater.accumulate(both.library_experience, rows, actor_learns=True)
    actual = take_gradients(both.policy), take_gradients(both.library_critic)
    assert 0 < metrics["clipfrac"] < 1, "some tokens must be clipped"
    assert abs(metrics["policy_loss"]) > 1e-3 and metrics["value_loss"] > 1e-3
    assert policy_loss.item() == pytest.approx(metrics["policy_loss"], abs=TOLERANCE)
    assert value_loss.item() == pytest.approx(metrics["value_loss"], abs=TOLERANCE)
    for ours, theirs in zip(actual, expected, strict=True):
        for name, gradient in theirs.items():
            scale = gradient.abs().max().item()
            torch.testing.assert_close(ours[name], gradient, rtol=0, atol=1e-3 * scale, msg=name)


def take_gradients(module: nn.Module) -> dict[str, Tensor]:
    found = {name: each.grad.clone() for name, each in module.named_parameters() if each.grad is not None}
    module.zero_grad(set_to_none=True)
    assert found
    return found


def test_sft_loss(minimal: ModuleType, tiny_model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerBase) -> None:
    demonstrations = minimal.demonstrations(12, seed=0)
    assert len(demonstrations) > 4
    assert all(minimal.verify(problem, trace).correct for problem, trace in demonstrations)
    examples = []
    for problem, trace in demonstrations:
        prompt = encode_prompt(tokenizer, problem).ids
        examples.append(sft.Example(prompt + encode_response(tokenizer, trace), len(prompt)))
    ids_BT, mask_BT = sft.collate(examples, torch.device("cpu"))
    logprobs_N, _ = token_logprobs(tiny_model, ids_BT, mask_BT)
    loss = minimal.sft_loss(tiny_model, tokenizer, demonstrations)
    assert loss.item() == pytest.approx(-logprobs_N.mean().item(), abs=TOLERANCE)


def test_it_runs(
    minimal: ModuleType,
    tiny_model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerBase,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Both phases of the actor: frozen for the first steps, learning after them."""
    tiny_model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    sizes = {"steps": 4, "prompts": 3, "samples": 2, "minibatch": 3, "max-tokens": 12, "demonstrations": 40}
    options = [text for name, value in sizes.items() for text in (f"--{name}", str(value))]
    trained = []

    def spy(model: Any, *rest: Any) -> None:
        trained.append(model)
        original(model, *rest)

    original = minimal.train
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(minimal, "train", spy)
        minimal.main(["--model", str(tmp_path), *options])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("accuracy")[0].strip() for line in lines] == [f"step {number}" for number in range(1, 5)]
    assert all("length" in line for line in lines)
    moved = [not torch.equal(a, b) for a, b in zip(trained[0].parameters(), tiny_model.parameters(), strict=True)]
    assert all(moved)
    assert all(parameter.isfinite().all() for parameter in trained[0].parameters())

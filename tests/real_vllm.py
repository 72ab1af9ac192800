"""vLLM itself behind the sampler's protocol, on the shipped nano model; `make test-vllm` runs this in an environment of
its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from rlsp.engines.stages import Policy, open_policy
from rlsp.models import token_logprobs
from rlsp.prompts import encode_prompt
from rlsp.rollouts import Prompt, SamplingSettings
from rlsp.tasks import countdown
from rlsp.tasks.splits import Split
from rlsp.types import Finish, Rollout

SETTINGS = SamplingSettings(1.0, 48, 4096)


@pytest.fixture(scope="module")
def policy() -> Iterator[Policy]:
    yield open_policy("nano", "vllm")


@pytest.fixture
def prompts(policy: Policy) -> list[Prompt]:
    return [encode_prompt(policy.tokenizer, each) for each in countdown.problems(Split.TEST, 16, 0, (1, 2))]


def logprobs(policy: Policy, rollout: Rollout) -> torch.Tensor:
    ids = torch.tensor([rollout.prompt_ids + rollout.response_ids])
    sampled = torch.arange(ids.shape[1])[None] >= len(rollout.prompt_ids)
    with torch.no_grad():
        return token_logprobs(policy.model, ids, sampled, rollout.temperature or 1.0)[0]


@pytest.mark.parametrize("temperature", [0.0, 0.7, 1.0])
def test_logprobs_are_those_of_the_policy(policy: Policy, prompts: list[Prompt], temperature: float) -> None:
    settings = SamplingSettings(temperature, 48, 4096)
    rollouts = policy.sampler.sample(prompts, 2, settings, seed=0, policy_version=3)
    assert [(each.problem_id, each.sample) for each in rollouts] == [(p.problem_id, s) for p in prompts for s in (0, 1)]
    for rollout in rollouts:
        assert rollout.policy_version == 3 and rollout.length <= 48
        torch.testing.assert_close(torch.tensor(rollout.logprobs), logprobs(policy, rollout), rtol=0, atol=2e-3)


def test_greedy_is_that_of_the_native_sampler(policy: Policy, prompts: list[Prompt]) -> None:
    greedy = SamplingSettings(0.0, 48, 4096)
    ours = open_policy("nano").sampler.sample(prompts, 1, greedy, seed=0, policy_version=0)
    theirs = policy.sampler.sample(prompts, 1, greedy, seed=0, policy_version=0)
    assert [(each.response_ids, each.text, each.finish) for each in theirs] == [
        (each.response_ids, each.text, each.finish) for each in ours
    ]
    assert {each.finish for each in theirs} == {Finish.EOS}


def test_the_seed_decides_whatever_stands_beside(policy: Policy, prompts: list[Prompt]) -> None:
    together = policy.sampler.sample(prompts, 2, SETTINGS, seed=5, policy_version=0)
    alone = policy.sampler.sample(prompts[3:4], 2, SETTINGS, seed=5, policy_version=0)
    assert [each.response_ids for each in alone] == [each.response_ids for each in together[6:8]]
    other = policy.sampler.sample(prompts, 2, SETTINGS, seed=6, policy_version=0)
    assert [each.response_ids for each in other] != [each.response_ids for each in together]


def test_new_weights_are_used_at_once(policy: Policy, prompts: list[Prompt]) -> None:
    before = policy.sampler.sample(prompts, 1, SETTINGS, seed=1, policy_version=0)
    moved = {name: parameter.detach().clone() for name, parameter in policy.model.named_parameters()}
    with torch.no_grad():
        for parameter in policy.model.parameters():
            parameter.mul_(0.9)
    after = policy.sampler.sample(prompts, 1, SETTINGS, seed=1, policy_version=1)
    assert [each.response_ids for each in after] != [each.response_ids for each in before]
    for rollout in after:
        torch.testing.assert_close(torch.tensor(rollout.logprobs), logprobs(policy, rollout), rtol=0, atol=2e-3)
    with torch.no_grad():
        for name, parameter in policy.model.named_parameters():
            parameter.copy_(moved[name])
    again = policy.sampler.sample(prompts, 1, SETTINGS, seed=1, policy_version=2)
    assert [each.response_ids for each in again] == [each.response_ids for each in before]

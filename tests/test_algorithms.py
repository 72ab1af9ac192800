"""Every algorithm as a whole: its advantages and loss on a tiny model, what it skips, and steps through the loop."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, get_args

import pytest
import torch
from torch import Tensor
from transformers import LlamaForCausalLM

from rlsp.config import Recipe, RlRecipe, load
from rlsp.config.algorithms import ALGORITHMS, AlgorithmName
from rlsp.engines import stages
from rlsp.errors import InputError
from rlsp.models import frozen_copy, logprobs_and_states, token_logprobs
from rlsp.rl.batch import Batch, Experience
from rlsp.rl.diagnostics import describe
from rlsp.rl.experience import gather
from rlsp.rl.loop import Iteration
from rlsp.rl.losses import denominator, kl_loss, policy_loss, token_weights
from rlsp.rl.streams import Streams
from rlsp.rl.update import Updater
from tests.shrunk import SHRUNK, reinforce
from tests.test_update import LONGEST, ROLLOUTS, gradients, make_batch, paid

CRITIC_FREE = [name for name, algorithm in ALGORITHMS.items() if not algorithm.critic]
BUDGET = 24


def rl(algorithm: str, **changes: Any) -> RlRecipe:
    settings: dict[str, Any] = {
        "algorithm": algorithm,
        "steps": 10,
        "prompts_per_step": 2,
        "samples_per_prompt": 4,
        "minibatch_rollouts": ROLLOUTS,
        "actor_learning_rate": 1e-3,
        "microbatch_tokens": 10_000,
    }
    return RlRecipe(**settings | changes)


def two_groups(batch: Batch) -> Batch:
    return dataclasses.replace(batch, groups_B=torch.tensor([0] * 4 + [1] * 4))


def on_policy(policy: LlamaForCausalLM, batch: Batch, off: float = 0.0) -> Batch:
    """Old log-probs are the policy's own, and `off` times a random number off them."""
    with torch.no_grad():
        logprobs_N, _ = token_logprobs(policy, batch.ids_BT, batch.sampled_BT, batch.temperature)
    noise_N = off * torch.randn(logprobs_N.shape, generator=torch.Generator().manual_seed(9))
    logprobs_BR = torch.zeros_like(batch.logprobs_BR).masked_scatter(batch.mask_BR, logprobs_N + noise_N)
    return dataclasses.replace(batch, logprobs_BR=logprobs_BR)


def experience_of(policy: LlamaForCausalLM, settings: RlRecipe, off: float = 0.2, masked: bool = False) -> Experience:
    batch = on_policy(policy, two_groups(make_batch(3, policy.config.vocab_size, mask_truncated=masked)), off)
    torch.manual_seed(5)
    reference = frozen_copy(policy)
    for parameter in reference.parameters():
        parameter.data += 0.02 * torch.randn_like(parameter)
    return gather(batch, reference if settings.kl_coefficient else None, None, settings)


def accumulated(
    policy: LlamaForCausalLM, settings: RlRecipe, experience: Experience, microbatch_tokens: int = 10_000
) -> tuple[dict[str, Tensor], dict[str, float]]:
    cut = settings.model_copy(update={"microbatch_tokens": microbatch_tokens})
    metrics = Updater(policy, None, cut, 0, BUDGET).accumulate(experience, torch.arange(ROLLOUTS), actor_learns=True)
    return gradients(policy), metrics


def assert_same(actual: dict[str, Tensor], expected: dict[str, Tensor], relative: float) -> None:
    assert actual.keys() == expected.keys() and actual
    for name, gradient in expected.items():
        torch.testing.assert_close(
            actual[name], gradient, rtol=0, atol=relative * gradient.abs().max().item() + 1e-12, msg=name
        )


# The table


def test_the_table_has_every_algorithm() -> None:
    assert set(ALGORITHMS) == set(get_args(AlgorithmName))


def test_the_defaults_are_the_algorithms() -> None:
    assert (rl("dapo").clip, rl("dapo").clip_high, rl("dapo").kl_coefficient) == (0.2, 0.28, 0.0)
    assert rl("dapo").dynamic_sampling and not rl("grpo").dynamic_sampling
    assert rl("grpo", clip=0.1).clip_high == 0.1, "as the lower one where the algorithm has none of its own"
    assert rl("dapo", clip_high=0.5, dynamic_sampling=False).clip_high == 0.5
    assert (rl("grpo").kl_coefficient, rl("grpo").value_clip, rl("grpo").critic_warmup_steps) == (0.04, None, None)


@pytest.mark.parametrize(
    ("settings", "fragments"),
    [
        (
            ["rl.algorithm=grpo", "rl.critic_learning_rate=1e-3"],
            ["'grpo' has no critic", "critic_learning_rate", "out"],
        ),
        (["rl.critic_warmup_steps=4"], ["'grpo' has no critic, and critic_warmup_steps", "take it out"]),
        (["rl.value_clip=0.2", "rl.gae_lambda=0.9"], ["value_clip, gae_lambda", "take them out"]),
        (["rl.critic_trunk=shared"], ["'grpo' has no critic, and critic_trunk", "take it out"]),
        (["rl.value_coefficient=1"], ["value_coefficient", "goes with critic_trunk = 'shared'"]),
        (["rl.gamma=0.9"], ["leave out gamma = 0.9"]),
        (["rl.algorithm=ppo"], ["rl.critic_learning_rate is missing", "'ppo' trains a critic"]),
        (["rl.samples_per_prompt=1", "rl.minibatch_rollouts=32"], ["set rl.samples_per_prompt to 2 or more"]),
        (["rl.algorithm=reinforce++", "rl.dynamic_sampling=true"], ["dynamic_sampling", "'reinforce++' compares none"]),
        (["rl.algorithm=a2c"], ["rl.algorithm = 'a2c'", "reinforce++"]),
        (["exploration.repetition.weight=1"], ["exploration.repetition.gamma = 0.99", "set it to 1"]),
        (["exploration.overlong.buffer=136"], ["exploration.overlong.buffer = 136", "lower it"]),
        (["exploration.format.weight=1"], ["'format' wants a marked answer", "take it out"]),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_fix(settings: list[str], fragments: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        load(Recipe, "nano-grpo", settings)
    for fragment in fragments:
        assert fragment in str(caught.value)
    assert "default factory" not in str(caught.value)


@pytest.mark.parametrize(
    "settings",
    [
        ["exploration.repetition={gamma=1}"],
        ["exploration.repetition.weight=0"],
        ["exploration.overlong.buffer=135"],
        ["rl.algorithm=reinforce++", "rl.samples_per_prompt=1", "rl.minibatch_rollouts=32"],
    ],
)
def test_the_nearest_that_makes_sense_is_accepted(settings: list[str]) -> None:
    assert load(Recipe, "nano-grpo", settings).name == "nano-grpo"


# Losses


@pytest.mark.parametrize(
    ("aggregation", "weights", "divisor"),
    [
        ("token_mean", [[1, 1, 1], [1, 0, 0], [0, 0, 0]], 4),
        ("sequence_mean", [[1 / 3, 1 / 3, 1 / 3], [1, 0, 0], [0, 0, 0]], 2),
        ("sequence_sum", [[1, 1, 1], [1, 0, 0], [0, 0, 0]], 2),
        ("budget", [[1, 1, 1], [1, 0, 0], [0, 0, 0]], 30),
    ],
)
def test_aggregation_by_hand(aggregation: Any, weights: list[list[float]], divisor: int) -> None:
    """Three rollouts of 3, 1 and, left out of the loss, 2 tokens; a budget of 10."""
    counted_BR = torch.tensor([[True, True, True], [True, False, False], [False, False, False]])
    torch.testing.assert_close(token_weights(counted_BR, aggregation).float(), torch.tensor(weights).float())
    assert denominator(counted_BR, aggregation, 10) == divisor
    nothing = denominator(torch.zeros_like(counted_BR), aggregation, 10)
    assert nothing == (30 if aggregation == "budget" else 1)


def test_clip_higher_by_hand() -> None:
    """ε 0.2 below, 0.28 above: min(1.25 · 1, 1.28) = 1.25, min(1.5, 1.28) = 1.28; −0.5 → max side as ever."""
    logprobs_N = torch.tensor([1.25, 1.5, 0.5]).log().requires_grad_()
    advantages_N, ones_N = torch.tensor([1.0, 1.0, -1.0]), torch.ones(3, dtype=torch.bool)
    loss = policy_loss(logprobs_N, torch.zeros(3), advantages_N, ones_N, 0.2, 3, clip_high=0.28)
    assert loss.item() == pytest.approx(-(1.25 + 1.28 - 0.8) / 3, abs=1e-6)
    loss.backward()
    torch.testing.assert_close(logprobs_N.grad, torch.tensor([-1.25 / 3, 0.0, 0.0]))


def test_kl_loss_by_hand() -> None:
    """π = ½, π_ref = ¼: k3 = 0.193147, dk3/dlog π = 1 − π_ref/π = ½."""
    logprobs_N = torch.tensor([math.log(0.5), float("nan")]).requires_grad_()
    reference_N, weights_N = torch.tensor([math.log(0.25), float("nan")]), torch.tensor([0.5, 0.0])
    loss = kl_loss(logprobs_N, reference_N, weights_N, 4)
    assert loss.item() == pytest.approx(0.5 * 0.193147 / 4, abs=1e-6)
    loss.backward()
    torch.testing.assert_close(logprobs_N.grad, torch.tensor([0.5 * 0.5 / 4, 0.0]))


@pytest.mark.parametrize("algorithm", CRITIC_FREE)
@pytest.mark.parametrize("masked", [False, True])
def test_gradients_are_those_of_the_loss_written_out(
    tiny_model: LlamaForCausalLM, algorithm: str, masked: bool
) -> None:
    """One rollout at a time, one token at a time, from the papers' formulas."""
    settings = rl(algorithm, kl_coefficient=0.1)
    experience = experience_of(tiny_model, settings, masked=masked)
    batch = experience.batch
    rows = [row for row in range(ROLLOUTS) if batch.in_loss_B[row]]
    lengths = {row: int(batch.mask_BR[row].sum()) for row in rows}
    loss = torch.zeros(())
    for row in rows:
        positions = batch.sampled_BT[row].nonzero().squeeze(1)
        ids_1T = batch.ids_BT[row : row + 1, : positions[-1] + 1]
        logprobs_TV = (tiny_model(ids_1T).logits[0] / batch.temperature).log_softmax(-1)
        terms = []
        for t, position in enumerate(positions):
            new, advantage = logprobs_TV[position - 1, ids_1T[0, position]], experience.advantages_BR[row, t]
            ratio = (new - batch.logprobs_BR[row, t]).exp()
            upper = 1.28 if algorithm == "dapo" else 1.2
            term = -torch.min(ratio * advantage, ratio.clamp(0.8, upper) * advantage)
            if algorithm in ("grpo", "dr_grpo", "dapo"):
                log_ratio = experience.reference_logprobs_BR[row, t] - new
                term = term + 0.1 * (log_ratio.exp() - log_ratio - 1)
            terms.append(term)
        summed = torch.stack(terms).sum()
        match algorithm:
            case "grpo":
                loss = loss + summed / lengths[row] / len(rows)
            case "dr_grpo":
                loss = loss + summed / (ROLLOUTS * BUDGET)
            case "rloo":
                loss = loss + summed / len(rows)
            case _:
                loss = loss + summed / sum(lengths.values())
    loss.backward()
    expected = gradients(tiny_model)
    actual, metrics = accumulated(tiny_model, settings, experience, 2 * LONGEST)
    assert_same(actual, expected, 2e-4)
    whole = metrics["policy_loss"] + 0.1 * metrics.get("kl_loss", 0.0)
    assert whole == pytest.approx(loss.item(), abs=1e-5)
    assert 0 < metrics["clipfrac"] < 1 and ("kl_loss" in metrics) == (ALGORITHMS[settings.algorithm].kl == "loss")


@pytest.mark.parametrize("algorithm", CRITIC_FREE)
def test_gradients_do_not_depend_on_the_microbatches(tiny_model: LlamaForCausalLM, algorithm: str) -> None:
    """1×8 and 8×1, and a ragged cut."""
    settings = rl(algorithm, kl_coefficient=0.1)
    experience = experience_of(tiny_model, settings)
    whole = accumulated(tiny_model, settings, experience)
    for microbatch_tokens in (1, 2 * LONGEST + 5):
        split = accumulated(tiny_model, settings, experience, microbatch_tokens)
        assert_same(split[0], whole[0], 1e-5)
        assert split[1] == pytest.approx(whole[1], rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("algorithm", CRITIC_FREE)
def test_at_ratio_one_the_gradient_is_that_of_reinforce(tiny_model: LlamaForCausalLM, algorithm: str) -> None:
    """−Σ w·A·∇log π / denominator, nothing clipped."""
    settings = rl(algorithm, kl_coefficient=0.0)
    experience = experience_of(tiny_model, settings, off=0.0)
    batch = experience.batch
    logprobs_N, _ = token_logprobs(tiny_model, batch.ids_BT, batch.sampled_BT, batch.temperature)
    weights_N = token_weights(batch.counted_BR, settings.definition.aggregation)[batch.mask_BR]
    divisor = denominator(batch.counted_BR, settings.definition.aggregation, BUDGET)
    (-(weights_N * experience.advantages_BR[batch.mask_BR] * logprobs_N).sum() / divisor).backward()
    expected = gradients(tiny_model)
    actual, metrics = accumulated(tiny_model, settings, experience)
    assert_same(actual, expected, 1e-4)
    assert metrics["clipfrac"] == 0 and metrics["logprob_gap"] < 1e-4


def test_the_budget_must_be_known(tiny_model: LlamaForCausalLM) -> None:
    with pytest.raises(ValueError, match="response budget"):
        Updater(tiny_model, None, rl("dr_grpo"), 0)


# Experience


@pytest.mark.parametrize(
    ("algorithm", "expected"),
    [
        ("grpo", [0.707107, -0.707107]),  # mean 0.5, standard deviation 0.707107
        ("dr_grpo", [0.5, -0.5]),
        ("rloo", [1 - 0.05 * 0.6 + 0.05 * 0.4, -1 + 0.05 * 0.6 - 0.05 * 0.4]),
    ],
)
def test_totals_of_a_group_by_hand(
    monkeypatch: pytest.MonkeyPatch, tiny_model: LlamaForCausalLM, algorithm: str, expected: list[float]
) -> None:
    """Rewards 1 and 0 with log-ratios to the reference that add up to 0.6 and 0.4: rloo alone pays for them."""
    mask_BR = torch.tensor([[True, True], [True, False]])
    batch = Batch(
        ids_BT=torch.tensor([[5, 6, 7], [5, 6, 0]]),
        sampled_BT=torch.tensor([[False, True, True], [False, True, False]]),
        mask_BR=mask_BR,
        logprobs_BR=torch.tensor([[-1.0, -2.0], [-3.0, 0.0]]),
        streams=Streams(("reward",), (1.0,), torch.tensor([[[0.0, 1.0], [0.0, 0.0]]])),
        groups_B=torch.tensor([0, 0]),
        in_loss_B=torch.tensor([True, True]),
        temperature=1.0,
    )
    answers = torch.tensor([-1.4, -2.2, -3.4])
    monkeypatch.setattr("rlsp.rl.experience.token_logprobs", lambda *given: (answers, answers))
    made = gather(batch, tiny_model, None, rl(algorithm, kl_coefficient=0.05))
    first, second = expected
    torch.testing.assert_close(made.advantages_BR, torch.tensor([[first, first], [second, 0.0]]), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("algorithm", CRITIC_FREE)
def test_separate_signals_meet_by_their_shares(tiny_model: LlamaForCausalLM, algorithm: str) -> None:
    """A share of 1 for correctness is correctness alone, up to scale; a dense part counts by its sum."""
    settings = rl(algorithm, kl_coefficient=0.0)
    batch = two_groups(make_batch(3, tiny_model.config.vocab_size))
    last_BR = batch.mask_BR & (batch.mask_BR.flip(1).cumsum(1).flip(1) == 1)
    right_BR = last_BR * torch.tensor([1.0, 0, 0, 1, 1, 1, 1, 1])[:, None]
    dense_BR = torch.randn(batch.mask_BR.shape, generator=torch.Generator().manual_seed(1)) * batch.mask_BR
    rewards_SBR = torch.stack([right_BR, torch.zeros_like(right_BR), dense_BR])

    def advantages(shares: tuple[float, ...] | None, rewards_SBR: Tensor = rewards_SBR) -> Tensor:
        streams = Streams(("correctness", "kl", "dense")[: len(rewards_SBR)], (1.0,) * 3, rewards_SBR, 1, shares)
        return gather(dataclasses.replace(batch, streams=streams), None, None, settings).advantages_BR

    alone = advantages(None, right_BR[None])
    mixed = advantages((1.0, 0.0, 0.0))
    scale = (alone[batch.mask_BR].norm() / mixed[batch.mask_BR].norm()).item()
    torch.testing.assert_close(scale * mixed, alone, rtol=1e-4, atol=1e-5)
    both = advantages((0.5, 0.0, 0.5))
    if ALGORITHMS[settings.algorithm].grouped:
        assert not mixed[4:].any(), "the second group agrees on what is right"
    different = [len(set(row[inside].tolist())) for row, inside in zip(both, batch.mask_BR, strict=True)]
    assert (set(different) == {1}) == ALGORITHMS[settings.algorithm].grouped


@pytest.mark.parametrize("algorithm", CRITIC_FREE)
def test_padding_does_not_matter(tiny_model: LlamaForCausalLM, algorithm: str) -> None:
    settings = rl(algorithm, kl_coefficient=0.1)
    clean = experience_of(tiny_model, settings)
    outside_BR = ~clean.batch.mask_BR
    batch = dataclasses.replace(
        clean.batch,
        logprobs_BR=clean.batch.logprobs_BR.masked_fill(outside_BR, float("nan")),
        streams=dataclasses.replace(
            clean.batch.streams,
            rewards_SBR=clean.batch.streams.rewards_SBR.masked_fill(outside_BR, float("nan")),
        ),
    )
    torch.manual_seed(5)
    reference = frozen_copy(tiny_model)
    for parameter in reference.parameters():
        parameter.data += 0.02 * torch.randn_like(parameter)
    dirty = gather(batch, reference, None, settings)
    torch.testing.assert_close(dirty.advantages_BR, clean.advantages_BR)
    worse = dataclasses.replace(
        dirty,
        reference_logprobs_BR=dirty.reference_logprobs_BR.masked_fill(outside_BR, float("nan")),
        advantages_BR=dirty.advantages_BR.masked_fill(outside_BR, float("nan")),
    )
    expected, actual = accumulated(tiny_model, settings, clean), accumulated(tiny_model, settings, worse)
    assert_same(actual[0], expected[0], 1e-6)
    assert actual[1] == pytest.approx(expected[1], rel=1e-6)


# What is skipped


def half_settled(experience: Experience) -> Experience:
    """The first group teaches nothing."""
    advantages_BR = experience.advantages_BR.clone()
    advantages_BR[:4] = 0
    return dataclasses.replace(experience, advantages_BR=advantages_BR)


@pytest.mark.parametrize("algorithm", CRITIC_FREE)
@pytest.mark.parametrize("beta", [0.0, 0.1])
def test_rollouts_without_an_advantage_are_skipped_and_still_divided_by(
    tiny_model: LlamaForCausalLM, monkeypatch: pytest.MonkeyPatch, algorithm: str, beta: float
) -> None:
    settings = rl(algorithm, kl_coefficient=beta)
    experience = half_settled(experience_of(tiny_model, settings))
    asked = []

    def spy(policy: Any, ids_BT: Tensor, *rest: Any) -> tuple[Tensor, Tensor, Tensor]:
        asked.append(len(ids_BT))
        return logprobs_and_states(policy, ids_BT, *rest)

    monkeypatch.setattr("rlsp.rl.update.logprobs_and_states", spy)
    actual, metrics = accumulated(tiny_model, settings, experience)
    assert sum(asked) == (8 if settings.kl_in_loss else 4)
    monkeypatch.setattr(Updater, "_taught", lambda self, experience: experience.batch.in_loss_B)
    expected, everything = accumulated(tiny_model, settings, experience)
    assert_same(actual, expected, 1e-5)
    assert metrics["policy_loss"] == pytest.approx(everything["policy_loss"], abs=1e-6)


@pytest.mark.parametrize("algorithm", CRITIC_FREE)
def test_nothing_to_learn_moves_nothing(tiny_model: LlamaForCausalLM, algorithm: str) -> None:
    """Not even the optimizer's momentum."""
    settings = rl(algorithm, kl_coefficient=0.0)
    experience, updater = experience_of(tiny_model, settings), Updater(tiny_model, None, settings, 0, BUDGET)
    assert updater.update(experience, 0)["actor_grad_norm"] > 0
    before = [parameter.detach().clone() for parameter in tiny_model.parameters()]
    nothing = dataclasses.replace(experience, advantages_BR=torch.zeros_like(experience.advantages_BR))
    assert updater.update(nothing, 1) == {}
    assert all(torch.equal(old, new) for old, new in zip(before, tiny_model.parameters(), strict=True))


def test_metrics_leave_out_what_there_is_not(tiny_model: LlamaForCausalLM) -> None:
    experience = half_settled(experience_of(tiny_model, rl("dr_grpo")))
    rollouts = [rollout for rollout, _ in _records()]
    metrics = describe(rollouts, [score for _, score in _records()], experience)
    assert metrics["zero_advantage"] == 0.5
    assert not {"kl", "explained_variance"} & metrics.keys()
    assert "kl" in describe(rollouts, [score for _, score in _records()], experience_of(tiny_model, rl("grpo")))


def _records() -> list[tuple[Any, Any]]:
    from rlsp.types import Finish, Rollout

    return [
        (Rollout("p", index, (1,), (2,), (-1.0,), "", Finish.EOS, 1.0, 0), paid("p", index, 0.0)) for index in range(8)
    ]


# The loop


def train(*settings: str, recipe: str = "nano-grpo") -> tuple[list[Iteration], bool]:
    """(two iterations, whether the policy has moved)."""
    torch.manual_seed(0)
    shrunk = [each for each in SHRUNK if recipe == "nano" or "critic" not in each]
    resolved = load(Recipe, recipe, [*shrunk, "probe={every = 9, problems = 2}", *settings])
    policy = stages.open_policy("nano")
    before = [parameter.detach().clone() for parameter in policy.model.parameters()]
    steps = list(reinforce(policy, resolved))
    moved = [not torch.equal(old, new) for old, new in zip(before, policy.model.parameters(), strict=True)]
    return steps, all(moved)


@pytest.mark.parametrize("algorithm", CRITIC_FREE)
def test_two_steps_move_the_policy(algorithm: AlgorithmName) -> None:
    iterations, moved = train(
        f"rl.algorithm={algorithm}",
        "exploration={length={}, repetition={ngram=4, gamma=1}}",
        "reward={alpha=0.5}",
    )
    assert moved
    for iteration in iterations:
        assert iteration.metrics["logprob_gap"] < 1e-4
        assert not {"value_loss", "critic_grad_norm", "explained_variance"} & iteration.metrics.keys()
        assert ("kl" in iteration.metrics) == (ALGORITHMS[algorithm].kl_coefficient > 0)


@pytest.mark.parametrize("algorithm", CRITIC_FREE)
def test_two_steps_of_separate_signals_move_the_policy(algorithm: str) -> None:
    _, moved = train(f"rl.algorithm={algorithm}", "exploration=length", "reward={alpha=0.5, mix='advantage'}")
    assert moved


def test_without_kl_no_reference_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rlsp.rl.local.frozen_copy", lambda policy: pytest.fail("a reference was made"))
    iterations, moved = train("rl.kl_coefficient=0", recipe="nano")
    assert moved and "kl" not in iterations[-1].metrics
    assert "explained_variance" in iterations[-1].metrics


def test_dynamic_sampling_fills_the_batch_with_problems_that_teach() -> None:
    plain, _ = train("rl.algorithm=grpo")
    assert plain[0].metrics["zero_advantage"] > 0, "or there is nothing to replace"
    iterations, _ = train("rl.algorithm=grpo", "rl.dynamic_sampling=true", "rl.dynamic_sampling_rounds=20")
    for iteration in iterations:
        groups: dict[str, list[bool]] = {}
        for score in iteration.scores:
            groups.setdefault(score.problem_id, []).append(score.verdict.correct)
        assert [problem.id for problem in iteration.problems] == list(groups)
        assert len(groups) == 4 and all(len(group) == 2 for group in groups.values())
        settled = [group for group in groups.values() if len(set(group)) == 1]
        assert iteration.metrics["zero_advantage"] == len(settled) / 4
        assert 0 <= iteration.metrics["accuracy_drawn"] <= 1
    assert sum(each.metrics["replaced_groups"] for each in iterations) > 0
    assert sum(each.metrics["replaced_tokens"] for each in iterations) > 0
    assert iterations[0].metrics["zero_advantage"] < plain[0].metrics["zero_advantage"]

"""RLSP in one file: plain PyTorch and transformers, one equation a function (arXiv 2502.06773).

    python examples/minimal.py --steps 5

Fine-tune on demonstrations of searching; then sample, verify, reward effort and correctness apart, and learn by PPO.
`rlsp run` is the same algorithm (tests/test_minimal.py holds the two equal) with what a real run needs besides: fast
sampling, micro-batches, learning-rate schedules, log-probs in chunks, checkpoints, evaluation and a report.

Shapes: B rollouts, T tokens of prompt and response, R tokens of response, V vocabulary. Prompts are padded on the left
and responses on the right, so that every response starts in the same column.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer

from rlsp.demonstrations.search import unroll
from rlsp.model_files import resolve
from rlsp.tasks import countdown
from rlsp.tasks.splits import Split
from rlsp.types import Problem
from rlsp.verifiers import verify

ALPHA = 0.8  # Eq. 1: the share of correctness
C_PER_BUDGET = 1000 / 4096  # the length reward's C, as a share of the response budget
REWARD_CLAMP = 10.0
BETA = 0.05  # Eq. 2: the price of leaving the reference policy
GAMMA, LAMBDA = 1.0, 0.95
CLIP, VALUE_CLIP = 0.2, 0.2
TEMPERATURE = 1.0
BETAS = (0.9, 0.95)
GRADIENT_CLIP = 1.0
CRITIC_WARMUP_STEPS = 2  # the actor waits until the critic has an idea (the paper: 4 steps)


# Step 1: demonstrations and supervised fine-tuning


def demonstrations(count: int, seed: int) -> list[tuple[Problem, str]]:
    """Depth-first searches written down: attempt, check, give up, try again (paper, section 3.1)."""
    rng = Random(seed)
    traces = [
        (problem, unroll(problem, rng, intuition=0.4, max_attempts=4))
        for problem in countdown.problems(Split.TRAIN, count, seed, levels=(1, 2))
    ]
    return [(problem, trace) for problem, trace in traces if trace is not None]


def sft_loss(model: Any, tokenizer: Any, batch: Sequence[tuple[Problem, str]]) -> Tensor:
    """Cross-entropy on the response and its EOS; the prompt is masked."""
    rows, labels = [], []
    for problem, trace in batch:
        prompt = tokenizer(prompt_text(problem)).input_ids
        response = [*tokenizer(trace, add_special_tokens=False).input_ids, tokenizer.eos_token_id]
        rows.append(torch.tensor(prompt + response))
        labels.append(torch.tensor([-100] * len(prompt) + response))
    ids_BT = nn.utils.rnn.pad_sequence(rows, batch_first=True)
    labels_BT = nn.utils.rnn.pad_sequence(labels, batch_first=True, padding_value=-100)
    return model(input_ids=ids_BT, labels=labels_BT, use_cache=False).loss  # causal: padding on the right is not seen


def fine_tune(model: Any, tokenizer: Any, examples: Sequence[tuple[Problem, str]], batch_size: int = 32) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-4, betas=BETAS, weight_decay=0.0)
    for start in range(0, len(examples), batch_size):
        loss = sft_loss(model, tokenizer, examples[start : start + batch_size])
        step(optimizer, model, loss)


# Step 3: rollouts


@dataclass(frozen=True)
class Rollouts:
    """`mask_BR` marks the response tokens, EOS included; `truncated_B` the responses without EOS."""

    problems: list[Problem]
    texts: list[str]
    ids_BT: Tensor
    attention_BT: Tensor
    mask_BR: Tensor
    truncated_B: Tensor

    def rows(self, index: Tensor) -> Rollouts:
        chosen = index.tolist()
        return Rollouts(
            [self.problems[row] for row in chosen],
            [self.texts[row] for row in chosen],
            *(each[index] for each in (self.ids_BT, self.attention_BT, self.mask_BR, self.truncated_B)),
        )


def prompt_text(problem: Problem) -> str:
    return problem.question + "\n"


@torch.no_grad()
def sample(model: Any, tokenizer: Any, problems: Sequence[Problem], samples: int, max_tokens: int) -> Rollouts:
    """`samples` responses of each problem, from the unaltered distribution at TEMPERATURE."""
    repeated = [problem for problem in problems for _ in range(samples)]
    prompts = tokenizer(
        [prompt_text(each) for each in repeated], padding=True, padding_side="left", return_tensors="pt"
    )
    ids_BT = model.generate(
        input_ids=prompts.input_ids,
        attention_mask=prompts.attention_mask,
        do_sample=True,
        temperature=TEMPERATURE,
        top_k=0,
        top_p=1.0,
        max_new_tokens=max_tokens,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    responses_BR = ids_BT[:, prompts.input_ids.shape[1] :]
    ends_BR = responses_BR == tokenizer.eos_token_id
    mask_BR = ends_BR.cumsum(1) - ends_BR.int() == 0  # up to the first EOS, by position: padding may be EOS too
    texts = []
    for ids_R, mask_R, end_R in zip(responses_BR, mask_BR, ends_BR, strict=True):
        texts.append(tokenizer.decode(ids_R[mask_R & ~end_R].tolist(), clean_up_tokenization_spaces=False))
    attention_BT = torch.cat([prompts.attention_mask.bool(), mask_BR], dim=1)
    return Rollouts(repeated, texts, ids_BT, attention_BT, mask_BR, ~ends_BR.any(1))


def inputs_of(rollouts: Rollouts) -> dict[str, Any]:
    """What the transformer needs to see each sequence as if it were alone."""
    positions_BT = (rollouts.attention_BT.cumsum(1) - 1).clamp(min=0)
    return {
        "input_ids": rollouts.ids_BT,
        "attention_mask": rollouts.attention_BT.long(),
        "position_ids": positions_BT,
        "use_cache": False,
    }


def logprobs_of(model: Any, rollouts: Rollouts) -> Tensor:
    """log π(o_t | q, o_<t) at the sampling temperature, [B, R]; noise in the padding."""
    responses = rollouts.mask_BR.shape[1]
    logits_BRV = model(**inputs_of(rollouts)).logits[:, -responses - 1 : -1].float() / TEMPERATURE
    return logits_BRV.log_softmax(-1).gather(2, rollouts.ids_BT[:, -responses:, None]).squeeze(2)


class Critic(nn.Module):
    """V(s_t): a copy of the policy without its output head, and a linear head that starts at zero."""

    def __init__(self, policy: Any) -> None:
        super().__init__()
        self.trunk = copy.deepcopy(policy.get_decoder())
        self.head = nn.Linear(policy.config.hidden_size, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, rollouts: Rollouts) -> Tensor:
        """Values of the states in which the response tokens were chosen, [B, R]."""
        states_BTH = self.trunk(**inputs_of(rollouts)).last_hidden_state
        return self.head(states_BTH[:, -rollouts.mask_BR.shape[1] - 1 : -1]).squeeze(-1).float()


# Steps 2 and 3: rewards


def rewards_of(correct_B: Tensor, rollouts: Rollouts, max_tokens: int) -> Tensor:
    """Eq. 1: R = α·1[Ver(q, o)] + (1 − α)·R_ex(q, o), with the length reward R_ex = −C/|o|.

    A truncated response gets the lowest R_ex there is, so that running into the budget never pays.
    """
    c = C_PER_BUDGET * max_tokens
    exploration_B = torch.where(rollouts.truncated_B, -c, -c / rollouts.mask_BR.sum(1))
    return (ALPHA * correct_B + (1 - ALPHA) * exploration_B).clamp(-REWARD_CLAMP, REWARD_CLAMP)


def token_rewards(rewards_B: Tensor, logprobs_BR: Tensor, reference_BR: Tensor, mask_BR: Tensor) -> Tensor:
    """Eq. 2: r_t = R·1[t is the last token] − β·(log π_old(o_t) − log π_ref(o_t))."""
    rewards_BR = torch.where(mask_BR, -BETA * (logprobs_BR - reference_BR), 0.0)
    rewards_BR[torch.arange(len(rewards_B)), mask_BR.sum(1) - 1] += rewards_B
    return rewards_BR


def gae(rewards_BR: Tensor, values_BR: Tensor, mask_BR: Tensor) -> tuple[Tensor, Tensor]:
    """δ_t = r_t + γV_{t+1} − V_t, A_t = Σ_l (γλ)^l δ_{t+l} = δ_t + γλA_{t+1}; returns G = A + V."""
    values_BR = torch.where(mask_BR, values_BR, 0.0)
    advantages_BR = torch.zeros_like(values_BR)
    next_value_B = next_advantage_B = torch.zeros(len(values_BR))
    for t in reversed(range(values_BR.shape[1])):
        delta_B = rewards_BR[:, t] + GAMMA * next_value_B - values_BR[:, t]
        advantages_BR[:, t] = next_advantage_B = delta_B + GAMMA * LAMBDA * next_advantage_B
        next_value_B = values_BR[:, t]
    return advantages_BR, advantages_BR + values_BR


def whiten(values_BR: Tensor, mask_BR: Tensor) -> Tensor:
    """Mean 0 and variance 1 over the response tokens of the batch."""
    inside_N = values_BR[mask_BR]
    centred_BR = values_BR - inside_N.mean()
    return torch.where(mask_BR, centred_BR * torch.rsqrt(inside_N.var(unbiased=False) + 1e-8), 0.0)


# Step 3: PPO


@dataclass(frozen=True)
class Experience:
    """What the update learns from; every tensor is [B, R]."""

    logprobs: Tensor
    values: Tensor
    advantages: Tensor
    returns: Tensor


@torch.no_grad()
def experience_of(policy: Any, reference: Any, critic: Critic, rollouts: Rollouts, rewards_B: Tensor) -> Experience:
    """Eq. 2 → GAE → returns → whitening."""
    logprobs_BR, values_BR, mask_BR = logprobs_of(policy, rollouts), critic(rollouts), rollouts.mask_BR
    rewards_BR = token_rewards(rewards_B, logprobs_BR, logprobs_of(reference, rollouts), mask_BR)
    advantages_BR, returns_BR = gae(rewards_BR, values_BR, mask_BR)
    return Experience(logprobs_BR, values_BR, whiten(advantages_BR, mask_BR), returns_BR)


def losses(policy: Any, critic: Critic, rollouts: Rollouts, old: Experience, rows: Tensor) -> tuple[Tensor, Tensor]:
    """PPO's policy loss −min(ρA, clip(ρ, 1 ± ε)A) and value loss ½max((V − G)², (clip(V, V_old ± ε) − G)²), both
    means over the tokens of the minibatch `rows` (Schulman et al. 2017)."""
    chosen = rollouts.rows(rows)
    mask_BR = chosen.mask_BR
    old_logprobs, old_values, advantages, returns = (
        each[rows][mask_BR] for each in (old.logprobs, old.values, old.advantages, old.returns)
    )
    ratio = (logprobs_of(policy, chosen)[mask_BR] - old_logprobs).exp()
    policy_loss = -torch.min(ratio * advantages, ratio.clamp(1 - CLIP, 1 + CLIP) * advantages).mean()
    values = critic(chosen)[mask_BR]
    clipped = old_values + (values - old_values).clamp(-VALUE_CLIP, VALUE_CLIP)
    value_loss = 0.5 * torch.max((values - returns) ** 2, (clipped - returns) ** 2).mean()
    return policy_loss, value_loss


def step(optimizer: torch.optim.Optimizer, model: nn.Module, loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), GRADIENT_CLIP)
    optimizer.step()


def train(policy: Any, tokenizer: Any, arguments: argparse.Namespace) -> None:
    reference, critic = copy.deepcopy(policy).requires_grad_(False), Critic(policy)
    actor_optimizer = torch.optim.AdamW(policy.parameters(), lr=2e-4, betas=BETAS, weight_decay=0.0)
    critic_optimizer = torch.optim.AdamW(critic.parameters(), lr=1e-3, betas=BETAS, weight_decay=0.0)
    problems = countdown.problems(Split.TRAIN, arguments.steps * arguments.prompts, arguments.seed + 1, levels=(1, 2))
    for iteration in range(arguments.steps):
        asked = problems[iteration * arguments.prompts : (iteration + 1) * arguments.prompts]
        rollouts = sample(policy, tokenizer, asked, arguments.samples, arguments.max_tokens)
        answers = zip(rollouts.problems, rollouts.texts, strict=True)
        correct_B = torch.tensor([float(verify(problem, text).correct) for problem, text in answers])
        rewards_B = rewards_of(correct_B, rollouts, arguments.max_tokens)
        old = experience_of(policy, reference, critic, rollouts, rewards_B)
        for rows in torch.randperm(len(rewards_B)).split(arguments.minibatch):
            policy_loss, value_loss = losses(policy, critic, rollouts, old, rows)
            step(critic_optimizer, critic, value_loss)
            if iteration >= CRITIC_WARMUP_STEPS:
                step(actor_optimizer, policy, policy_loss)
        print(
            f"step {iteration + 1}  accuracy {correct_B.mean():.2f}  "
            f"length {rollouts.mask_BR.sum(1).float().mean():.1f}  reward {rewards_B.mean():+.2f}"
        )


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="RLSP on countdown, in one file")
    parser.add_argument("--model", default="nano", help="a local Hugging Face model directory, or 'nano'")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--prompts", type=int, default=32, help="problems a step")
    parser.add_argument("--samples", type=int, default=4, help="responses to a problem")
    parser.add_argument("--minibatch", type=int, default=64, help="rollouts an update")
    parser.add_argument("--max-tokens", type=int, default=96, help="response budget, EOS included")
    parser.add_argument("--demonstrations", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args(argv)
    torch.manual_seed(arguments.seed)
    directory = resolve(arguments.model)
    tokenizer = AutoTokenizer.from_pretrained(directory)
    policy = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32).eval()
    fine_tune(policy, tokenizer, demonstrations(arguments.demonstrations, arguments.seed))
    train(policy, tokenizer, arguments)


if __name__ == "__main__":
    main()

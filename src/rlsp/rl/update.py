"""The PPO update: the only place in RL that moves a weight."""

from __future__ import annotations

from collections import defaultdict

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from rlsp.config import RlRecipe
from rlsp.models import Critic, token_logprobs
from rlsp.optim import adamw, finite, set_learning_rate, warmup_cosine
from rlsp.rl.batch import Experience, microbatches
from rlsp.rl.losses import clip_count, kl_k3, policy_loss, value_loss


class Updater:
    """Policy and critic with their optimizers and schedules."""

    def __init__(self, policy: PreTrainedModel, critic: Critic, rl: RlRecipe, seed: int) -> None:
        self.policy, self.critic, self.rl = policy, critic, rl
        self.actor_optimizer = adamw(policy.parameters(), rl.actor_learning_rate)
        self.critic_optimizer = adamw(critic.parameters(), rl.critic_learning_rate)
        self.generator = torch.Generator().manual_seed(seed)

    def update(self, experience: Experience, step: int) -> dict[str, float]:
        """One iteration's epochs over its minibatches; `step` counts from 0, the actor is frozen while the critic
        warms up.

        Returns:
            Metrics averaged over the minibatches; `logprob_gap` is taken before any weight has moved.

        Raises:
            NonFiniteLossError: before the optimizer is reached.
        """
        self._schedule(step)
        actor_learns = step >= self.rl.critic_warmup_steps
        collected: dict[str, list[float]] = defaultdict(list)
        for _ in range(self.rl.epochs):
            order = torch.randperm(len(experience.batch.ids_BT), generator=self.generator)
            for rows in order.split(self.rl.minibatch_rollouts):
                if not experience.batch.in_loss_B[rows].any():
                    continue  # nothing to learn from; momentum alone must not move a weight
                metrics = self.accumulate(experience, rows, actor_learns)
                for name, value in (metrics | self._step(actor_learns)).items():
                    collected[name].append(value)
        means = {name: sum(values) / len(values) for name, values in collected.items()}
        if collected:
            means["logprob_gap"] = collected["logprob_gap"][0]
        return means

    def accumulate(self, experience: Experience, rows: Tensor, actor_learns: bool) -> dict[str, float]:
        """Add one minibatch's gradients, in micro-batches: both losses are means over the minibatch's tokens, however
        it is cut; the value loss adds up over the streams."""
        batch = experience.batch
        counted_BR = batch.mask_BR & batch.in_loss_B[:, None]
        tokens = max(1, int(counted_BR[rows].sum()))
        sums: dict[str, Tensor] = defaultdict(lambda: torch.zeros(()))
        for piece, ids_bT, sampled_bT in microbatches(batch, rows, self.rl.microbatch_tokens):
            inside = batch.mask_BR[piece]
            counted = counted_BR[piece][inside]
            old, advantages = batch.logprobs_BR[piece][inside], experience.advantages_BR[piece][inside]
            values_old, returns = (
                each[:, piece][:, inside] for each in (experience.values_SBR, experience.returns_SBR)
            )
            values = self.critic(ids_bT, sampled_bT)
            critic_loss = value_loss(values, values_old, returns, counted, self.rl.value_clip, tokens)
            finite(critic_loss, "value loss").backward()
            with torch.set_grad_enabled(actor_learns):
                new, entropies = token_logprobs(self.policy, ids_bT, sampled_bT, batch.temperature)
                actor_loss = policy_loss(new, old, advantages, counted, self.rl.clip, tokens)
            if actor_learns:
                finite(actor_loss, "policy loss").backward()
            with torch.no_grad():
                sums["value_loss"] += critic_loss.cpu()
                sums["policy_loss"] += actor_loss.cpu()
                sums["entropy"] += entropies[counted].sum().cpu() / tokens
                sums["approx_kl"] += kl_k3(old, new)[counted].sum().cpu() / tokens
                sums["clipfrac"] += clip_count(new, old, counted, self.rl.clip).cpu() / tokens
                sums["logprob_gap"] += (new - old)[counted].abs().sum().cpu() / tokens
        return {name: value.item() for name, value in sums.items()}

    def _step(self, actor_learns: bool) -> dict[str, float]:
        """Clip both gradients, and move weights only when both are finite."""
        learners: dict[str, tuple[nn.Module, torch.optim.Optimizer]] = {"critic": (self.critic, self.critic_optimizer)}
        if actor_learns:
            learners["actor"] = (self.policy, self.actor_optimizer)
        norms = {
            f"{name}_grad_norm": finite(
                nn.utils.clip_grad_norm_(module.parameters(), self.rl.grad_clip), f"{name} gradient norm"
            ).item()
            for name, (module, _) in learners.items()
        }
        for _, optimizer in learners.values():
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return norms

    def _schedule(self, step: int) -> None:
        """Warm-up and cosine; the actor's begin when it starts to learn."""
        rl = self.rl
        actor_step, actor_steps = max(0, step - rl.critic_warmup_steps), rl.steps - rl.critic_warmup_steps
        actor_share = warmup_cosine(actor_step, actor_steps, rl.warmup_share)
        set_learning_rate(self.actor_optimizer, rl.actor_learning_rate * actor_share)
        critic_share = warmup_cosine(step, rl.steps, rl.warmup_share)
        set_learning_rate(self.critic_optimizer, rl.critic_learning_rate * critic_share)

"""The update: the only place in RL that moves a weight."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from rlsp import parallel
from rlsp.checkpoints import optimizer_state, restore_optimizer, restore_weights, weights
from rlsp.config import RlRecipe
from rlsp.models import Critic, logprobs_and_states
from rlsp.optim import NonFiniteLossError, adamw, finite, set_learning_rate, warmup_cosine
from rlsp.rl.batch import Experience, microbatches, own
from rlsp.rl.losses import clip_count, denominator, kl_k3, kl_loss, policy_loss, token_weights, value_loss


class Updater:
    """Policy and, where the algorithm has one, critic with their optimizers and schedules.

    Args:
        budget: the longest response in tokens, for algorithms whose loss is divided by it.
    """

    def __init__(
        self, policy: PreTrainedModel, critic: Critic | None, rl: RlRecipe, seed: int, budget: int | None = None
    ) -> None:
        if rl.definition.aggregation == "budget" and not budget:
            raise ValueError(f"the loss of {rl.algorithm} is divided by the response budget: give it")
        self.policy, self.critic, self.rl, self.budget = policy, critic, rl, budget or 0
        self.actor_optimizer = adamw(policy.parameters(), rl.actor_learning_rate)
        self.critic_optimizer = None
        if critic is not None and rl.critic_learning_rate is not None:
            self.critic_optimizer = adamw(critic.parameters(), rl.critic_learning_rate)
        self.generator = torch.Generator().manual_seed(seed)

    def update(self, experience: Experience, step: int) -> dict[str, float]:
        """One iteration's epochs over its minibatches; `step` counts from 0, the actor is frozen while the critic
        warms up.

        Returns:
            Metrics averaged over the minibatches; `logprob_gap` is taken before any weight has moved.

        Raises:
            NonFiniteLossError: of a minibatch, before it has moved any weight.
        """
        self._schedule(step)
        experience = parallel.mirrored(copy.copy, experience)  # sent out once, not with every minibatch
        actor_learns = step >= self.rl.actor_waits
        taught_B = self._taught(experience)
        collected: dict[str, list[float]] = defaultdict(list)
        for _ in range(self.rl.epochs):
            order = torch.randperm(len(experience.batch.ids_BT), generator=self.generator)
            for rows in order.split(self.rl.minibatch_rollouts):
                if not taught_B[rows].any():
                    continue  # nothing to learn from; momentum alone must not move a weight
                for name, value in self.minibatch(experience, rows, actor_learns).items():
                    collected[name].append(value)
                for _, optimizer in self._learners(actor_learns).values():
                    optimizer.step()
                    optimizer.zero_grad(set_to_none=True)
        means = {name: sum(values) / len(values) for name, values in collected.items()}
        if collected:
            means["logprob_gap"] = collected["logprob_gap"][0]
        return means

    def tensors(self) -> dict[str, Tensor]:
        """Everything that updates change, for a checkpoint."""
        named = weights("policy", self.policy) | optimizer_state("actor_optimizer", self.actor_optimizer)
        if self.critic is not None:
            named |= weights("critic", self.critic)
        if self.critic_optimizer is not None:
            named |= optimizer_state("critic_optimizer", self.critic_optimizer)
        return named | {"shuffling_rng": self.generator.get_state()}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Be as `tensors` were taken."""
        restore_weights("policy", self.policy, tensors)
        restore_optimizer("actor_optimizer", self.actor_optimizer, tensors)
        if self.critic is not None:
            restore_weights("critic", self.critic, tensors)
        if self.critic_optimizer is not None:
            restore_optimizer("critic_optimizer", self.critic_optimizer, tensors)
        self.generator.set_state(tensors["shuffling_rng"])

    def accumulate(self, experience: Experience, rows: Tensor, actor_learns: bool) -> dict[str, float]:
        """Add one minibatch's gradients, in micro-batches: the losses are those of the whole minibatch however it is
        cut, among processes too, and whichever rollouts are skipped because they have none. The value loss is a mean
        over tokens and adds up over the streams; the other metrics are means over the tokens that were not skipped. Of
        several processes each adds its own part, to gradients and metrics."""
        batch, rl = experience.batch, self.rl
        aggregation = rl.definition.aggregation
        counted_BR = batch.counted_BR
        weights_BR = token_weights(counted_BR, aggregation)
        divisor, tokens = (denominator(counted_BR[rows], each, self.budget) for each in (aggregation, "token_mean"))
        taught = rows[self._taught(experience)[rows]]
        seen = max(1, int(counted_BR[taught].sum()))
        taught = own(batch, taught)
        sums: dict[str, Tensor] = defaultdict(lambda: torch.zeros(()))

        def values_loss(values_SN: Tensor, piece: Tensor) -> Tensor:
            inside = batch.mask_BR[piece]
            old, returns = (each[:, piece][:, inside] for each in (experience.values_SBR, experience.returns_SBR))
            assert rl.value_clip is not None
            loss = value_loss(values_SN, old, returns, counted_BR[piece][inside], rl.value_clip, tokens)
            sums["value_loss"] += loss.detach().cpu()
            return finite(loss, "value loss")

        for piece, ids_bT, sampled_bT in microbatches(batch, taught, rl.microbatch_tokens):
            inside = batch.mask_BR[piece]
            counted, weights = counted_BR[piece][inside], weights_BR[piece][inside]
            old, advantages = batch.logprobs_BR[piece][inside], experience.advantages_BR[piece][inside]
            critic = self.critic
            if critic is not None and not critic.shared:
                values_loss(critic(ids_bT, sampled_bT), piece).backward()
            with torch.set_grad_enabled(actor_learns):
                new, entropies, states = logprobs_and_states(self.policy, ids_bT, sampled_bT, batch.temperature)
                surrogate = policy_loss(new, old, advantages, weights, rl.clip, divisor, rl.clip_high)
                actor_loss = surrogate
                if rl.kl_in_loss:
                    drift = kl_loss(new, experience.reference_logprobs_BR[piece][inside], weights, divisor)
                    actor_loss = surrogate + rl.kl_coefficient * drift
                    sums["kl_loss"] += drift.detach().cpu()
            losses = [finite(actor_loss, "policy loss")] if actor_learns else []
            if critic is not None and critic.shared and rl.value_coefficient is not None:
                losses.append(rl.value_coefficient * values_loss(critic.values(states), piece))
            if losses:
                torch.stack(losses).sum().backward()
            with torch.no_grad():
                sums["policy_loss"] += surrogate.cpu()
                sums["entropy"] += entropies[counted].sum().cpu() / seen
                sums["approx_kl"] += kl_k3(old, new)[counted].sum().cpu() / seen
                sums["clipfrac"] += clip_count(new, old, counted, rl.clip, rl.clip_high).cpu() / seen
                sums["logprob_gap"] += (new - old)[counted].abs().sum().cpu() / seen
        return {name: value.item() for name, value in sums.items()}

    def _taught(self, experience: Experience) -> Tensor:
        """Which rollouts have a loss at all, [B], on the CPU: without critic and KL term those with an advantage."""
        in_loss_B = experience.batch.in_loss_B
        everyone = self.critic is not None or self.rl.kl_in_loss
        return (in_loss_B if everyone else experience.driven_B & in_loss_B).cpu()

    def minibatch(self, experience: Experience, rows: Tensor, actor_learns: bool) -> dict[str, float]:
        """One minibatch's gradients, clipped, with their norms among the metrics.

        Raises:
            NonFiniteLossError: a loss or a norm is not finite; then there are no gradients.
        """
        try:
            learners = self._learners(actor_learns)
            models = [module for module in (self.policy, self.critic) if module is not None]
            told = (self, experience, rows, actor_learns)
            learn = [module for module, _ in learners.values()]
            parts = parallel.everywhere(Updater.accumulate, *told, weights=models, gradients=learn)
            metrics = {name: sum(part.get(name, 0.0) for part in parts) for part in parts for name in part}
            for name, (module, _) in learners.items():
                norm = nn.utils.clip_grad_norm_(module.parameters(), self.rl.grad_clip)
                metrics[f"{name}_grad_norm"] = finite(norm, f"{name} gradient norm").item()
            return metrics
        except NonFiniteLossError as error:
            self.forget()
            error.rows = tuple(rows.tolist())
            raise

    def forget(self) -> None:
        """Drop all gradients."""
        for module in (self.policy, self.critic):
            if module is not None:
                module.zero_grad(set_to_none=True)

    def _learners(self, actor_learns: bool) -> dict[str, tuple[nn.Module, torch.optim.Optimizer]]:
        learners: dict[str, tuple[nn.Module, torch.optim.Optimizer]] = {}
        if self.critic is not None and self.critic_optimizer is not None:
            learners["critic"] = (self.critic, self.critic_optimizer)
        if actor_learns:
            learners["actor"] = (self.policy, self.actor_optimizer)
        return learners

    def _schedule(self, step: int) -> None:
        """Warm-up and cosine; the actor's begin when it starts to learn."""
        rl = self.rl
        actor_step, actor_steps = max(0, step - rl.actor_waits), rl.steps - rl.actor_waits
        actor_share = warmup_cosine(actor_step, actor_steps, rl.warmup_share)
        set_learning_rate(self.actor_optimizer, rl.actor_learning_rate * actor_share)
        if self.critic_optimizer is not None and rl.critic_learning_rate is not None:
            critic_share = warmup_cosine(step, rl.steps, rl.warmup_share)
            set_learning_rate(self.critic_optimizer, rl.critic_learning_rate * critic_share)

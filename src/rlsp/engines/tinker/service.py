"""A model and an adapter on a service of the Tinker API, as sampler and learner."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from rlsp.checkpoints import Checkpoint
from rlsp.config import Recipe
from rlsp.models import load_generation, load_tokenizer
from rlsp.optim import BETAS, NonFiniteLossError, finite, warmup_cosine
from rlsp.prompts import finished, stop_ids
from rlsp.rl.batch import Batch, Experience
from rlsp.rl.experience import gather
from rlsp.rl.loop import SEEDS_PER_RUN
from rlsp.rl.losses import clip_count, denominator, kl_k3, token_weights
from rlsp.rollouts import Prompt, SamplingSettings
from rlsp.rollouts.sampler import ignore, request_seed
from rlsp.types import Rollout

if TYPE_CHECKING:
    from tinker import Datum, ServiceClient

LIFE = 30 * 24 * 3600
"""Seconds that the service is asked to keep the state of a checkpoint; the trained weights stay."""
EPS = 1e-8
"""AdamW's, as in the native engine."""


class Model:
    """A model of the service with the tokenizer that is needed here: it samples, by the client that is set."""

    def __init__(self, recipe: Recipe, service: ServiceClient) -> None:
        assert recipe.tinker is not None
        self.tokenizer: PreTrainedTokenizerBase = load_tokenizer(recipe.model.path)
        self.stops = stop_ids(self.tokenizer, load_generation(recipe.model.path))
        self.client = service.create_sampling_client(base_model=recipe.tinker.base_model)

    @property
    def sampler(self) -> Model:
        return self

    def sample(
        self,
        prompts: Sequence[Prompt],
        samples: int,
        settings: SamplingSettings,
        seed: int,
        policy_version: int,
        on_ended: Callable[[Sequence[Rollout]], None] = ignore,
    ) -> list[Rollout]:
        """See `Sampler.sample`; the samples of a prompt come from one seed."""
        from tinker import ModelInput, SamplingParams

        asked = []
        for prompt in prompts:
            params = SamplingParams(
                max_tokens=settings.max_response_tokens,
                temperature=settings.temperature,
                seed=request_seed(seed, prompt.problem_id, 0) % 2**31,
                stop=sorted(self.stops),
            )
            asked.append(self.client.sample(ModelInput.from_ints(list(prompt.ids)), samples, params))
        rollouts: list[Rollout] = []
        for prompt, future in zip(prompts, asked, strict=True):
            group = []
            for number, drawn in enumerate(future.result().sequences):
                sampled = (prompt, number, drawn.tokens, drawn.logprobs)
                group.append(finished(self.tokenizer, self.stops, *sampled, settings.temperature, policy_version))
            on_ended(group)
            rollouts += group
        return rollouts


class Adapter:
    """An adapter on the service that learns, begun now or gone on with; `model` samples with it."""

    def __init__(self, model: Model, service: ServiceClient, recipe: Recipe, checkpoint: Checkpoint | None) -> None:
        assert recipe.tinker is not None and recipe.model.lora is not None
        self.model, self.recipe, self.device = model, recipe, torch.device("cpu")
        if checkpoint is None:
            rank, base = recipe.model.lora.rank, recipe.tinker.base_model
            self.client = service.create_lora_training_client(base, rank=rank, seed=recipe.seed, train_unembed=False)
        else:
            self.client = service.create_training_client_from_state_with_optimizer(checkpoint.state["weights"])
        self.model.client = self.client.save_weights_and_get_sampling_client()

    def experience(self, batch: Batch) -> Experience:
        return gather(batch, None, None, self.recipe.rl)

    def update(self, experience: Experience, step: int) -> dict[str, float]:
        """One iteration's epochs over its minibatches.

        Returns:
            Metrics averaged over the minibatches; `logprob_gap` is the first's, before any weight has moved.

        Raises:
            NonFiniteLossError: the service's log-probs of a minibatch are not finite; it has moved no weight.
        """
        from tinker import AdamParams

        rl, batch = self.recipe.rl, experience.batch
        rate = rl.actor_learning_rate * warmup_cosine(step, rl.steps, rl.warmup_share)
        adam = AdamParams(learning_rate=rate, beta1=BETAS[0], beta2=BETAS[1], eps=EPS, grad_clip_norm=rl.grad_clip)
        clips = {"clip_low_threshold": 1 - rl.clip, "clip_high_threshold": 1 + rl.clip_high}
        taught_B = experience.driven_B & batch.in_loss_B
        generator = torch.Generator().manual_seed(self.recipe.seed * SEEDS_PER_RUN + step)
        collected: dict[str, list[float]] = defaultdict(list)
        for _ in range(rl.epochs):
            for rows in torch.randperm(len(taught_B), generator=generator).split(rl.minibatch_rollouts):
                taught = rows[taught_B[rows]]
                if not len(taught):
                    continue
                answer = self.client.forward_backward(self._data(experience, rows, taught), "ppo", clips).result()
                new = torch.cat(
                    [
                        torch.tensor(each["logprobs"].data)[-int(batch.mask_BR[row].sum()) :]
                        for row, each in zip(taught, answer.loss_fn_outputs, strict=True)
                    ]
                )
                try:
                    finite(new.sum(), "sum of the service's log-probs")
                except NonFiniteLossError as error:
                    error.rows = tuple(rows.tolist())
                    raise
                self.client.optim_step(adam).result()
                old = batch.logprobs_BR[taught][batch.mask_BR[taught]]
                everything = torch.ones_like(old, dtype=torch.bool)
                collected["approx_kl"].append(kl_k3(old, new).mean().item())
                collected["clipfrac"].append(clip_count(new, old, everything, rl.clip, rl.clip_high).item() / len(old))
                collected["logprob_gap"].append((new - old).abs().mean().item())
        self.model.client = self.client.save_weights_and_get_sampling_client()
        means = {name: sum(values) / len(values) for name, values in collected.items()}
        return means | ({"logprob_gap": collected["logprob_gap"][0]} if collected else {})

    def _data(self, experience: Experience, rows: Tensor, taught: Tensor) -> list[Datum]:
        """The taught rollouts of a minibatch. The service adds up −min(ρA, clip(ρ)A) over tokens, so that each token's
        weight and the minibatch's denominator go into its advantage."""
        from tinker import Datum, ModelInput

        batch, aggregation = experience.batch, self.recipe.rl.definition.aggregation
        whole = denominator(batch.counted_BR[rows], aggregation, self.recipe.sampling.max_response_tokens)
        weighed_BR = experience.advantages_BR * token_weights(batch.counted_BR, aggregation) / whole
        data = []
        for row in taught.tolist():
            inside_R, end = batch.mask_BR[row], int(batch.ends_B[row])
            ids = batch.ids_BT[row, :end].tolist()
            before = [0.0] * (end - 1 - int(inside_R.sum()))
            inputs: dict[str, Any] = {
                "target_tokens": ids[1:],
                "logprobs": before + batch.logprobs_BR[row][inside_R].tolist(),
                "advantages": before + weighed_BR[row][inside_R].tolist(),
            }
            data.append(Datum(model_input=ModelInput.from_ints(ids[:-1]), loss_fn_inputs=inputs))
        return data

    def kept(self, step: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """What the service calls the training."""
        name = f"{self.recipe.name}-{self.recipe.seed}-{step}"
        return {}, {"weights": self.client.save_state(name, ttl_seconds=LIFE).result().path}

    def restore(self, checkpoint: Checkpoint) -> None:
        """It was begun with the checkpoint."""

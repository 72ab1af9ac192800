"""What the engine tinker asks its service to learn, by a service that only computes losses."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from rlsp.config import Recipe, load
from rlsp.engines import drawing, stages
from rlsp.engines.tinker.service import Adapter
from rlsp.optim import NonFiniteLossError
from rlsp.rl.batch import Experience
from rlsp.rl.experience import gather
from rlsp.rl.losses import denominator, policy_loss, token_weights

RECIPE = str(Path(__file__).with_name("tinker_nano.toml"))
SETTINGS = ["rl.minibatch_rollouts=16", "reward.truncation=mask", "sampling.max_response_tokens=40"]


def moved(target: int, place: int) -> float:
    """How far the service's weights have moved a token's log-prob away, by the token and its place."""
    return 0.4 * math.sin(target + 3 * place)


@dataclass
class Service:
    """Service, training client and sampling client in one."""

    spoilt: bool = False
    losses: list[float] = field(default_factory=list)
    steps: int = 0
    asked: dict[str, Any] = field(default_factory=dict)

    def create_sampling_client(self, base_model: str) -> Service:
        return self

    def create_lora_training_client(self, base_model: str, **settings: Any) -> Service:
        self.asked = settings
        return self

    def save_weights_and_get_sampling_client(self) -> Service:
        return self

    def optim_step(self, adam: Any) -> Any:
        self.steps += 1
        return SimpleNamespace(result=lambda: None)

    def forward_backward(self, data: list[Any], name: str, clips: dict[str, float]) -> Any:
        """Σ −min(ρA, clip(ρ)A), as the API documents its loss `ppo`."""
        assert name == "ppo"
        total, outputs = 0.0, []
        for datum in data:
            inputs = datum.loss_fn_inputs
            assert len({len(datum.model_input), *map(len, inputs.values())}) == 1
            tokens = list(zip(inputs["target_tokens"], inputs["logprobs"], inputs["advantages"], strict=True))
            new = [old + moved(target, place) for place, (target, old, _) in enumerate(tokens)]
            for (_, old, advantage), now in zip(tokens, new, strict=True):
                ratio = math.exp(now - old)
                clipped = min(max(ratio, clips["clip_low_threshold"]), clips["clip_high_threshold"])
                total -= min(ratio * advantage, clipped * advantage)
            outputs.append({"logprobs": SimpleNamespace(data=[math.nan] * len(new) if self.spoilt else new)})
        self.losses.append(total)
        return SimpleNamespace(result=lambda: SimpleNamespace(loss_fn_outputs=outputs))


@pytest.fixture(autouse=True)
def client(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = SimpleNamespace(
        Datum=SimpleNamespace, ModelInput=SimpleNamespace(from_ints=list), AdamParams=SimpleNamespace
    )
    monkeypatch.setitem(sys.modules, "tinker", fake)


def learning(service: Service, *overrides: str) -> tuple[Adapter, Experience]:
    """An adapter on the service, and what it is to learn from: rollouts of the nano model."""
    recipe = load(Recipe, RECIPE, [*SETTINGS, *overrides])
    with stages.reinforcing(stages.open_policy("nano"), recipe) as training:
        seen = training.observe(0, next(drawing.training_problems(recipe)))
    model = SimpleNamespace(client=service)
    return Adapter(model, service, recipe, None), gather(seen.experience.batch, None, None, recipe.rl)  # type: ignore[arg-type]


@pytest.mark.parametrize("algorithm", ["dr_grpo", "grpo", "dapo", "rloo", "reinforce++"])
def test_the_loss_of_the_service_is_the_native_engines(algorithm: str) -> None:
    """However the algorithm weighs tokens, with rollouts among them that are left out."""
    service = Service()
    adapter, experience = learning(service, f"rl.algorithm={algorithm}", "rl.kl_coefficient=0")
    metrics = adapter.update(experience, 0)
    batch, rl, aggregation = experience.batch, adapter.recipe.rl, adapter.recipe.rl.definition.aggregation
    shift_BR = torch.zeros_like(batch.logprobs_BR)
    for row in range(len(batch.ids_BT)):
        start = int(batch.ends_B[row]) - int(batch.mask_BR[row].sum())
        for place in range(int(batch.mask_BR[row].sum())):
            shift_BR[row, place] = moved(int(batch.ids_BT[row, start + place]), start + place - 1)
    weights_BR = token_weights(batch.counted_BR, aggregation)
    expected, old_BR = [], batch.logprobs_BR
    for rows in torch.randperm(32, generator=torch.Generator().manual_seed(0)).split(16):
        divisor = denominator(batch.counted_BR[rows], aggregation, adapter.recipe.sampling.max_response_tokens)
        new, old = old_BR[rows] + shift_BR[rows], old_BR[rows]
        told = (new, old, experience.advantages_BR[rows], weights_BR[rows], rl.clip, divisor, rl.clip_high)
        expected.append(policy_loss(*told).item())
    assert not batch.in_loss_B.all() and experience.driven_B.any()
    assert service.losses == pytest.approx(expected, abs=1e-6)
    assert all(service.losses) and service.steps == 2 and metrics["clipfrac"] > 0
    assert service.asked == {"rank": 8, "seed": 0, "train_unembed": False}


def test_logprobs_that_are_not_finite_stop_before_the_optimizer() -> None:
    service = Service(spoilt=True)
    adapter, experience = learning(service)
    with pytest.raises(NonFiniteLossError, match="log-probs is nan") as raised:
        adapter.update(experience, 0)
    assert len(raised.value.rows) == 16 and service.steps == 0

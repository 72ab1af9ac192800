"""The learning-rate schedule and the optimizer, by hand and against transformers' and torch's own."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM, get_cosine_with_min_lr_schedule_with_warmup

from rlsp.optim import BETAS, FLOOR, adamw, muon, set_learning_rate, warmup_cosine


def test_schedule_by_hand() -> None:
    # 10 steps, 20 % of them warm-up: 1/2, 2/2; then 0.1 + 0.9 · ½(1 + cos(π·k/8)), k = 0 … 7
    shares = [warmup_cosine(step, 10, 0.2) for step in range(10)]
    assert shares[:3] == [0.5, 1.0, 1.0]
    # k = 4: cos(π/2) = 0 → 0.1 + 0.45 = 0.55
    assert shares[6] == pytest.approx(0.55)
    # k = 2: cos(π/4) = 0.707107 → 0.1 + 0.45 · 1.707107 = 0.868198
    assert shares[4] == pytest.approx(0.868198, abs=1e-6)


@pytest.mark.parametrize(("total", "share"), [(1, 0.03), (2, 0.03), (7, 0.0), (10, 0.2), (1000, 0.03), (5, 1.0)])
def test_schedule_keeps_its_shape(total: int, share: float) -> None:
    shares = [warmup_cosine(step, total, share) for step in range(total + 3)]
    peak = shares.index(max(shares))
    assert shares[peak] == 1.0
    assert peak == max(1, round(share * total)) - 1, "warm-up ends at the peak"
    assert all(0 < value <= 1 for value in shares), "no step is wasted on a rate of 0"
    rising, falling = shares[: peak + 1], shares[peak:]
    assert rising == sorted(rising) and falling == sorted(falling, reverse=True)
    assert shares[-1] == pytest.approx(FLOOR), "beyond the end it stays at the floor"
    if peak < total - 1:
        assert shares[total] == shares[-1]


@pytest.mark.parametrize(("total", "share"), [(50, 0.1), (200, 0.03), (8, 0.25)])
def test_cosine_is_that_of_transformers(total: int, share: float) -> None:
    """After the warm-up, which transformers begins at a rate of 0."""
    warmup = round(share * total)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = get_cosine_with_min_lr_schedule_with_warmup(optimizer, warmup, total, min_lr_rate=FLOOR)
    for step in range(total):
        if step >= warmup:
            assert warmup_cosine(step, total, share) == pytest.approx(schedule.get_last_lr()[0], abs=1e-12)
        optimizer.step()
        schedule.step()


def test_adamw_is_its_definition() -> None:
    """Three steps with decoupled weight decay, written out (Loshchilov & Hutter 2019, Algorithm 2)."""
    weight = nn.Parameter(torch.tensor([0.7], dtype=torch.float64))
    optimizer = adamw([weight], learning_rate=0.1, weight_decay=0.01)
    value, first, second = 0.7, 0.0, 0.0
    for step, gradient in enumerate((0.3, -0.2, 0.5), 1):
        rate = 0.1 / step
        set_learning_rate(optimizer, rate)
        weight.grad = torch.tensor([gradient], dtype=torch.float64)
        optimizer.step()
        first = BETAS[0] * first + (1 - BETAS[0]) * gradient
        second = BETAS[1] * second + (1 - BETAS[1]) * gradient**2
        unbiased = first / (1 - BETAS[0] ** step), second / (1 - BETAS[1] ** step)
        value = value - rate * 0.01 * value - rate * unbiased[0] / (math.sqrt(unbiased[1]) + 1e-8)
        assert weight.item() == pytest.approx(value, abs=1e-12)


def test_the_papers_betas_and_floor() -> None:
    assert (BETAS, FLOOR) == ((0.9, 0.95), 0.1)


def test_every_group_gets_the_rate() -> None:
    groups: list[dict[str, Any]] = [
        {"params": [nn.Parameter(torch.zeros(1))]},
        {"params": [nn.Parameter(torch.zeros(1))], "lr": 5.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=1.0)
    set_learning_rate(optimizer, 0.25)
    assert [group["lr"] for group in optimizer.param_groups] == [0.25, 0.25]


def names_by_optimizer(model: LlamaForCausalLM) -> list[set[str]]:
    """The parameters of Muon, and those of AdamW beside it."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    return [
        {names[id(parameter)] for group in optimizer.param_groups for parameter in group["params"]}
        for optimizer in muon(model, learning_rate=0.02, weight_decay=0.1)
    ]


def test_muon_takes_the_matrices_inside_the_layers(tiny_model: LlamaForCausalLM) -> None:
    matrices, others = names_by_optimizer(tiny_model)
    assert matrices | others == {name for name, _ in tiny_model.named_parameters()}
    assert not matrices & others
    assert all(".layers." in name and name.endswith("proj.weight") for name in matrices)
    assert len(matrices) == 2 * 7, "two layers of q, k, v, o, gate, up and down"
    assert all("norm" in name or "embed" in name for name in others)


def test_muon_leaves_an_untied_head_to_adamw() -> None:
    sizes: dict[str, Any] = {"vocab_size": 10, "hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1}
    model = LlamaForCausalLM(LlamaConfig(**sizes, num_attention_heads=2, tie_word_embeddings=False))
    _, others = names_by_optimizer(model)
    assert "lm_head.weight" in others

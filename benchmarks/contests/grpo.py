"""GRPO step by step: this project and TRL."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

from contests.common import NANO, Bar, Setting, at_least, bar, in_turn, ratios, same_work, show, speed

LENGTH_REWARD = ("exploration={length = {}}", "reward.alpha=0.5", "rl.kl_coefficient=0")
"""Responses of different lengths earn different rewards: advantages are not 0, and no rollout may be skipped."""


def grpo(setting: Setting) -> list[Bar]:
    common = [*LENGTH_REWARD, "rl.steps=100", "rl.samples_per_prompt=8"]
    nano = [*common, "rl.prompts_per_step=16", "rl.minibatch_rollouts=128", f"model.path={NANO}"]
    large = [
        *common,
        "rl.prompts_per_step=4",
        "rl.minibatch_rollouts=32",
        f"model.path={setting.model}",
        "rl.microbatch_tokens=512",
        "sampling.max_prompt_tokens=64",
        "sampling.max_response_tokens=128",
        "rl.actor_learning_rate=1e-6",
    ]
    bars = _grpo(setting, "nano", nano, 128, wanted=4, microbatches=(128, 32), rounds=4 * setting.rounds)
    return bars + _grpo(setting, "SmolLM2-135M", large, 32, wanted=2, microbatches=(16, 4), rounds=setting.rounds)


def _grpo(
    setting: Setting,
    name: str,
    settings: list[str],
    rollouts: int,
    wanted: float,
    microbatches: Sequence[int],
    rounds: int,
) -> list[Bar]:
    """Against TRL at the micro-batch that suits it best."""
    request = {"recipe": "nano-grpo", "settings": settings, "threads": setting.threads}
    best = max(microbatches, key=lambda each: _trl_speed(setting, request | {"microbatch": each}))
    with setting.ours() as ours, setting.trl() as trl:
        ours.ask(do="grpo", **request)
        trl.ask(**request, microbatch=best)
        answers = in_turn({"ours": ours, "TRL": trl}, {"do": "step"}, rounds)
    show(f"GRPO step of {rollouts} rollouts, {name}; TRL's micro-batch: {best}", answers)
    memory = [answers[each][-1]["peak_bytes"] / 2**30 for each in ("ours", "TRL")]
    return [
        same_work(answers, "TRL"),
        at_least(f"{name} GRPO step ÷ TRL", ratios(answers, "TRL"), wanted),
        bar(f"{name} peak memory {memory[0]:.2f} GiB, TRL {memory[1]:.2f} GiB", memory[0] <= memory[1]),
    ]


def _trl_speed(setting: Setting, request: dict[str, Any]) -> float:
    with setting.trl() as trl:
        trl.ask(**request)
        return median(speed(in_turn({"TRL": trl}, {"do": "step"}, rounds=1)["TRL"]))

"""What tests/test_parallel.py has done alone and by two processes:

python -m tests.parallel_training DIRECTORY
python -m tests.parallel_training interrupted
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import PreTrainedModel

from rlsp import parallel
from rlsp.checkpoints import weights
from rlsp.config import PretrainRecipe, Recipe, load
from rlsp.engines import drawing, stages
from rlsp.engines.progress import Silent
from rlsp.engines.stages import Policy
from rlsp.engines.stopping import Stopping
from rlsp.errors import InputError
from rlsp.models import load_policy
from rlsp.nano.pretrain import pretrain
from rlsp.optim import NonFiniteLossError
from rlsp.rollouts.native import NativeSampler
from tests.shrunk import SHRUNK

SETTINGS = [*SHRUNK, "rl.steps=4", "demonstrations.count=40", "sft.batch_tokens=400", "rl.microbatch_tokens=200"]
TINY = [
    "corpus.tokens=20000",
    "sft.batch_tokens=4096",
    "architecture.layers=1",
    "architecture.hidden_size=32",
    "architecture.heads=2",
]
GROUPS = [each for each in SETTINGS if not each.startswith(("demonstrations", "sft", "rl.critic"))]
SMALL = load(Recipe, "nano", SETTINGS)
VARIANTS = {
    "ppo": SMALL,
    "shared-critic": load(Recipe, "nano", [*SETTINGS, "rl.critic_trunk=shared"]),
    "two-streams": load(Recipe, "nano", [*SETTINGS, "reward.mix=advantage", "reward.truncation=floor"]),
    "grpo": load(Recipe, "nano-grpo", GROUPS),
    "lora": load(Recipe, "nano", [*SETTINGS, "model.lora={rank = 4}", "model.gradient_checkpointing=true"]),
}


def doubled() -> PreTrainedModel:
    return load_policy("nano", torch.device("cpu")).double()


def trained(recipe: Recipe) -> dict[str, Tensor]:
    """What SFT and RL at the recipe's learning rates come to in double precision, all sampled in one process from the
    model as it began: what differs between one process and two then is not rounding."""
    single = stages.open_policy("nano")
    sampler = NativeSampler(load_policy("nano", torch.device("cpu")), single.tokenizer)
    policy = Policy(parallel.mirrored(doubled), single.tokenizer, sampler)
    if recipe.sft is not None:
        stages.finetune(policy, drawing.demonstrate(recipe, Silent()), recipe, Silent())
    with stages.reinforcing(policy, recipe) as training:
        for step, problems in enumerate(drawing.training_problems(recipe)):
            training.iterate(step, problems)
        critic = {} if training.learner.critic is None else weights("critic", training.learner.critic)
    return {**weights("policy", policy.model), **critic}


def sampled() -> list[Any]:
    """Prompts that do not divide among two processes, and one alone; with what was told while they ended."""
    policy, drawn = stages.open_policy("nano"), []
    problems = drawing.held_out_problems(SMALL)
    for asked in (problems[:5], problems[:1]):
        ended: list[Any] = []
        prompts = stages.encode_prompts(policy.tokenizer, asked, SMALL)
        settings = stages.SamplingSettings(0.7, 40, 8192)
        rollouts = policy.sampler.sample(prompts, 3, settings, 0, 0, on_ended=ended.extend)
        drawn.append([[each.problem_id, each.sample, list(each.response_ids)] for each in rollouts])
        drawn.append(sorted([each.problem_id, each.sample] for each in ended))
    return drawn


# Failures


class UnpicklableError(Exception):
    def __init__(self, one: int, two: int) -> None:
        super().__init__("it has two arguments and remembers none")


def fail(kind: str, who: int) -> str:
    if parallel.rank() == who:
        if kind == "unpicklable":
            raise UnpicklableError(1, 2)
        raise {"input": InputError, "loss": NonFiniteLossError}[kind](f"{kind} of rank {who}")
    return "done"


def held() -> int:
    """How many mirrored objects a process holds."""
    team = parallel._team
    return len(team.objects) if team else 0


def failures() -> dict[str, Any]:
    """What is raised here when a process fails, and whether all go on afterwards."""
    told: dict[str, Any] = {}
    for kind, who in (("input", 1), ("loss", 0), ("loss", 1), ("unpicklable", 0), ("unpicklable", 1)):
        try:
            parallel.everywhere(fail, kind, who)
        except Exception as error:
            told[f"{kind} {who}"] = f"{type(error).__name__}: {error}"
            told[f"{kind} {who}, notes"] = getattr(error, "__notes__", [])
        assert parallel.everywhere(fail, kind, 99) == ["done"] * parallel.size()
    try:
        parallel.mirrored(fail, "input", 1)
    except InputError as error:
        told["mirrored"] = str(error)
    try:
        parallel.everywhere(fail, "input", 99, weights=[nn.Linear(2, 2)])
    except ValueError as error:
        told["not mirrored"] = f"ValueError: {error}"
    gc.collect()
    model = parallel.mirrored(nn.Linear, 2, 2)
    before = parallel.everywhere(held)[1]
    del model
    told["held"] = [before, parallel.everywhere(held)[1]]
    return told


def spoilt() -> str:
    """A loss that is not finite in the second process alone."""
    with stages.reinforcing(stages.open_policy("nano"), SMALL) as training:
        seen = training.observe(0, next(drawing.training_problems(SMALL)))
        order = seen.experience.batch.ends_B.argsort(descending=True, stable=True)
        advantages_BR = seen.experience.advantages_BR.clone()
        advantages_BR[order[1]] = torch.nan
        try:
            training.learner.updater.minibatch(
                replace(seen.experience, advantages_BR=advantages_BR), order, actor_learns=True
            )
        except NonFiniteLossError as error:
            return f"{error} {sorted(error.rows)}"
    return ""


class Losses(Silent):
    def __init__(self) -> None:
        self.said: list[float] = []

    def advance(self, done: int, note: str = "") -> None:
        if note:
            self.said.append(float(note.removeprefix("loss ")))


def pretrained(out: Path) -> list[float]:
    """The losses of a tiny base model, whose skills are not measured."""
    recipe, losses = load(PretrainRecipe, "nano-base", TINY), Losses()
    with patch("rlsp.nano.pretrain.measure", lambda *_: {}):
        pretrain(recipe, out, losses)
    return losses.said


def of_one_rollout() -> dict[str, float]:
    """The metrics of a minibatch that has nothing to do for the second process."""
    with stages.reinforcing(stages.open_policy("nano"), SMALL) as training:
        seen = training.observe(0, next(drawing.training_problems(SMALL)))
        return training.learner.updater.minibatch(seen.experience, torch.tensor([3]), actor_learns=True)


def interrupted() -> None:
    """The second signal to stop, while every process is at it."""
    with Stopping(print) as stopping, stages.reinforcing(stages.open_policy("nano"), SMALL), stopping.step():
        for _ in range(2):
            parallel.everywhere(signalled)


def signalled() -> None:
    if parallel.rank() == 0:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.1)


def main(out: Path) -> None:
    for name, recipe in VARIANTS.items():
        tensors = {key: each.contiguous() for key, each in trained(recipe).items()}
        save_file(tensors, out / f"{name}.safetensors")
    told = {"sampled": sampled(), "spoilt": spoilt(), "of one rollout": of_one_rollout()}
    told["pretrained"] = pretrained(out / "base")
    if parallel.size() > 1:
        told["failures"] = failures()
    (out / "told.json").write_text(json.dumps(told), encoding="utf-8")


if __name__ == "__main__":
    with parallel.joined() as first:
        if first and sys.argv[1] == "interrupted":
            interrupted()
        elif first:
            main(Path(sys.argv[1]))

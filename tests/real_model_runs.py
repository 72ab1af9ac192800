"""Runs of a real model, SmolLM2-135M-Instruct or another in $RLSP_REAL_MODEL: one that was stopped goes on to the same
bytes, and what the doctor says is so. `make test-faults` runs this where the model is; `make test` leaves it out."""

from __future__ import annotations

import os
import re
import shutil
import signal
from pathlib import Path

import pytest
import torch

from rlsp import runs
from rlsp.config import CheckpointRecipe, Recipe, load, override, to_toml
from rlsp.engines import drawing, native, stages
from rlsp.engines.progress import Silent
from rlsp.errors import Stopped
from rlsp.prompts import stop_ids
from rlsp.rl.health import MOST_TRUNCATED
from tests.test_replay import called
from tests.test_resume import assert_same, before, products

MODEL = os.environ.get("RLSP_REAL_MODEL", "")
SHORT = [
    "model.instruction='{question} Answer with the number alone.'",
    "task={name='chain-sum'}",
    "sampling.max_response_tokens=32",
    "rl.prompts_per_step=4",
    "rl.samples_per_prompt=2",
    "rl.minibatch_rollouts=4",
    "rl.critic_trunk=shared",
    "rl.critic_warmup_steps=0",
]
ASKED = 32
"""Responses by `generate`, to see how many of them are cut off."""


@pytest.fixture
def recipe() -> Recipe:
    """Two PPO steps of every weight; one trunk has a checkpoint of half the size."""
    if not MODEL:
        pytest.fail("set RLSP_REAL_MODEL to a model directory, or use make test-faults")
    return load(Recipe, "smollm2-gsm8k", [override("model.path", MODEL), *SHORT])


def test_a_run_that_is_stopped_after_a_step_ends_the_same(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe.model_copy(update={"checkpoints": CheckpointRecipe(every=1000)})
    whole = runs.create(tmp_path / "whole", recipe)
    native.reinforce(recipe, whole, Silent())
    metrics = runs.read_metrics(whole.path("rl", "metrics.jsonl"))
    assert len(metrics) == 2 and all(step["approx_kl"] > 0 for step in metrics), "it has learned something"
    run = runs.create(tmp_path / "stopped", recipe)
    with monkeypatch.context() as patched, pytest.raises(Stopped):
        before(patched, "rl", 0, lambda: os.kill(os.getpid(), signal.SIGTERM))
        native.reinforce(recipe, run, Silent())
    assert len(run.step_files("rollouts")) == 1
    native.reinforce(recipe, runs.resume(run.directory, recipe), Silent())
    shutil.rmtree(run.path("rl", "checkpoints"))
    assert_same(run, products(whole))


def test_what_the_doctor_finds_is_so(
    recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "recipe.toml").write_text(to_toml(recipe))
    code, text = called(monkeypatch, capsys, "doctor", tmp_path / "recipe.toml", "--out", tmp_path / "run")
    found = dict(re.findall(r"^(?:ok|!!)  (\S+) +(.+)$", text, re.MULTILINE))
    ill = set(re.findall(r"^!!  (\S+)", text, re.MULTILINE))
    assert code == bool(ill) and text.rstrip().endswith(f"{len(ill)} of {len(found)} checks found something"), text
    assert {"padding", "template", "references", "memory", "disk", "clamp", "signal"} <= found.keys()
    policy = stages.open_policy(MODEL)
    tokenizer = policy.tokenizer
    assert ("padding" in ill) is (tokenizer.pad_token_id == tokenizer.eos_token_id)
    assert ill.isdisjoint({"template", "references", "memory", "disk"}), "of SmolLM2, on a usual machine"
    assert ("truncation" in ill or "eos" in ill) is (cut_off(policy, recipe) > MOST_TRUNCATED)


def cut_off(policy: stages.Policy, recipe: Recipe) -> float:
    """The share of responses that do not end within the budget, by transformers' own sampling."""
    torch.manual_seed(0)
    budget, ends = recipe.sampling.max_response_tokens, stop_ids(policy.tokenizer, policy.model.generation_config)
    cut, problems = 0, next(drawing.training_problems(recipe))
    for prompt in stages.encode_prompts(policy.tokenizer, problems, recipe):
        ids_1T = torch.tensor([prompt.ids])
        answers_BT = policy.model.generate(  # type: ignore[operator]
            ids_1T,
            attention_mask=torch.ones_like(ids_1T),
            do_sample=True,
            temperature=recipe.sampling.temperature,
            top_k=0,
            max_new_tokens=budget,
            num_return_sequences=ASKED // len(problems),
        )
        cut += sum(not ends & set(answer.tolist()) for answer in answers_BT[:, len(prompt.ids) :])
    return cut / ASKED

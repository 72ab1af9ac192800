"""Each finding is provoked, with its fix, and absent from the healthy recipe."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from transformers import LlamaForCausalLM, PreTrainedTokenizerBase

from rlsp import runs
from rlsp.config import Recipe, load
from rlsp.engines import doctor, drawing, native, stages
from rlsp.engines.estimate import estimate
from rlsp.rl.health import Check, Vigil, of_rollouts, why_nothing
from rlsp.types import Exploration, Finish, Problem, Reason, Rollout, Score, Verdict
from tests.shrunk import SHRUNK, Remembering

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<eos>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def by_name(checks: list[Check]) -> dict[str, Check]:
    assert len({check.name for check in checks}) == len(checks)
    return {check.name: check for check in checks}


@pytest.mark.parametrize("name", ["nano", "nano-grpo"])
def test_a_healthy_recipe_has_no_finding(name: str, tmp_path: Path) -> None:
    recipe = load(Recipe, name)
    policy, problems = stages.open_policy("nano"), next(drawing.training_problems(recipe))
    found = [
        doctor.of_padding(policy.tokenizer),
        *doctor.of_recipe(recipe, policy, problems, tmp_path / "run"),
        *doctor.of_policy(recipe, policy, problems),
    ]
    assert [check for check in found if not check.healthy] == []
    assert {"padding", "template", "references", "memory", "disk", "truncation", "clamp", "signal"} <= {
        check.name for check in found
    }


# Rollouts


def rollout(problem: str, sample: int, length: int = 10, truncated: bool = False) -> Rollout:
    ids = (7,) * length
    finish = Finish.LENGTH if truncated else Finish.EOS
    return Rollout(problem, sample, (1,), ids, (-0.1,) * length, "", finish, 1.0, 0)


def paid(problem: str, sample: int, total: float | None, right: bool = False) -> Score:
    reason = Reason.MATCH if right else Reason.MISMATCH
    return Score(problem, sample, Verdict(right, "", reason), Exploration(0.0, {}), 0.8, total)


def checked(
    name: str = "nano", totals: list[float] | None = None, truncated: int = 0, right: bool = False
) -> dict[str, Check]:
    """The checks of four problems with two rollouts each."""
    given = totals or [0.1 * place for place in range(8)]
    names = [(f"p{place // 2}", place % 2) for place in range(8)]
    rollouts = [rollout(*each, truncated=place < truncated) for place, each in enumerate(names)]
    scores = [paid(*each, total, right) for each, total in zip(names, given, strict=True)]
    return by_name(list(of_rollouts(load(Recipe, name), rollouts, scores)))


def test_truncation_is_found_from_a_fifth_on() -> None:
    assert checked(truncated=1)["truncation"].healthy
    check = checked(truncated=2)["truncation"]
    assert check.found == "25% of 8 responses were cut off at 136 tokens"
    assert check.fix.startswith("raise sampling.max_response_tokens to 272")


def test_an_end_that_never_comes_is_another_finding() -> None:
    found = checked(truncated=8)
    assert "truncation" not in found
    assert not found["eos"].healthy and "does not say EOS" in found["eos"].fix


def test_one_and_the_same_reward_teaches_nothing() -> None:
    same = [0.5, 0.5, 0.1, 0.1, 0.7, 0.7, 0.2, 0.2]
    assert checked("nano", same)["signal"].healthy, "a critic compares within the batch"
    assert not checked("nano", [0.5] * 8)["signal"].healthy
    check = checked("nano-grpo", same)["signal"]
    assert check.found == "100% of 4 problems had rollouts of one and the same reward; 0% were right"
    assert check.fix.startswith("choose easier problems") and "rl.samples_per_prompt" in check.fix
    assert checked("nano-grpo", same, right=True)["signal"].fix.startswith("choose harder problems")
    assert checked("nano-grpo", [0.5, 0.6, 0.1, 0.2, 0.7, 0.7, 0.2, 0.2])["signal"].healthy


def test_rewards_that_a_clamp_makes_equal() -> None:
    assert checked(totals=[10.0] * 4 + [1.0, 2.0, 3.0, 4.0])["clamp"].healthy
    check = checked(totals=[-10.0] * 5 + [2.0, 3.0, 4.0])["clamp"]
    assert check.found == "62% of 8 rewards stand at the clamp of ±10" and "raise reward.clamp above 10" in check.fix


def test_a_tax_that_eats_the_pay() -> None:
    (healthy,) = doctor.of_tax(load(Recipe, "nano"), 17.0)
    assert healthy.healthy
    (check,) = doctor.of_tax(load(Recipe, "nano", ["rl.kl_coefficient=2"]), 17.0)
    assert check.name == "kl" and "lower rl.kl_coefficient = 2" in check.fix
    assert list(doctor.of_tax(load(Recipe, "nano-grpo"), 17.0)) == [], "pays for no length"


# The model


@pytest.fixture
def own(tokenizer: PreTrainedTokenizerBase) -> PreTrainedTokenizerBase:
    """A tokenizer to harm."""
    return copy.deepcopy(tokenizer)


def test_padding_by_eos(own: PreTrainedTokenizerBase) -> None:
    assert doctor.of_padding(own).healthy
    own.pad_token = own.eos_token
    assert "set another pad_token" in doctor.of_padding(own).fix


@pytest.mark.parametrize(
    ("template", "found"),
    [
        (CHATML, ""),
        (CHATML.replace("{% if add_generation_prompt %}", "{% if false %}"), "does not open the answer's turn"),
        (CHATML.replace("<eos>", "<end>"), "which does not stop sampling"),
        ("<bos><bos>" + CHATML, "begin with two BOS tokens"),
    ],
    ids=["healthy", "not-opened", "not-ended", "two-bos"],
)
def test_chat_templates(template: str, found: str, own: PreTrainedTokenizerBase, tiny_model: LlamaForCausalLM) -> None:
    own.add_special_tokens({"bos_token": "<bos>"})
    own.chat_template = template
    check = doctor.of_template(own, tiny_model)
    assert check.healthy is (found == "")
    assert found in check.found


# Data and room


def test_references_that_match_letter_by_letter_only() -> None:
    problems = [Problem("a", "math", "?", "72"), Problem("b", "math", "?", "a banana \\frac{", 0, "file")]
    assert doctor.of_references(problems[:1]).healthy
    check = doctor.of_references(problems)
    assert check.found.startswith("1 of 2 references can't be read, e.g. 'a banana \\\\frac{' of b")
    assert "rlsp tasks check" in check.fix


def test_memory_and_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    recipe = load(Recipe, "nano")
    needed = estimate(recipe)
    assert doctor.of_memory(needed).healthy and doctor.of_disk(recipe, needed, tmp_path / "a" / "run").healthy
    monkeypatch.setattr(doctor, "memory", lambda: (needed.total_bytes - 1, "of memory"))
    assert "rl.critic_trunk = 'shared'" in doctor.of_memory(needed).fix
    usage = doctor.shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: usage)
    assert "lower checkpoints.keep" in doctor.of_disk(recipe, needed, tmp_path / "run").fix


# While it trains


def test_a_run_says_what_it_finds_before_its_first_step_and_why_nothing_was_learned(tmp_path: Path) -> None:
    settings = [*SHRUNK, "rl.steps=6", "alarms.window=3", "sampling.max_response_tokens=14"]
    recipe = load(Recipe, "nano", settings).model_copy(update={"demonstrations": None, "sft": None})
    progress = Remembering()
    native.reinforce(recipe, runs.create(tmp_path / "run", recipe), progress)
    warned = [said for said in progress.said if said.startswith("warning: truncation: ")]
    assert warned and all("Fix: raise sampling.max_response_tokens" in said for said in warned)
    assert len(warned) >= 2, "before the first step, after a window of steps, and at the end"


def test_what_lasts_a_window_is_told_once() -> None:
    vigil, ill = Vigil(3), Check("signal", "found", "fix")
    assert [bool(vigil.see([each])) for each in [ill] * 5] == [False, False, True, False, False]
    assert vigil.see([replace(ill, fix="")]) == []
    assert [bool(vigil.see([ill])) for _ in range(3)] == [False, False, True]


def metrics(steps: int, accuracy: Callable[[int], float], **others: float) -> list[dict[str, float]]:
    return [{"step": step, "accuracy": accuracy(step)} | others for step in range(1, steps + 1)]


@pytest.mark.parametrize(
    ("others", "name"),
    [
        ({"approx_kl": 1e-3}, "learning"),
        ({"zero_advantage": 0.95}, "signal"),
        ({"truncated": 0.5}, "truncation"),
        ({"unjudged": 0.5}, "unjudged"),
        ({"approx_kl": 1e-7}, "standing-still"),
    ],
)
def test_why_nothing_was_learned(others: dict[str, Any], name: str) -> None:
    reasons = why_nothing(metrics(10, lambda step: 0.3, **others), 5)
    assert [reason.name for reason in reasons] == [name]
    assert reasons[0].fix


def test_no_reason_is_given_where_something_was_learned_or_there_were_few_steps() -> None:
    assert why_nothing(metrics(10, lambda step: 0.1 * step, truncated=1.0), 5) == []
    assert why_nothing(metrics(9, lambda step: 0.3, truncated=1.0), 5) == []

"""TRL's own trainer with our rewards:

make test-integrations
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import GRPOConfig, GRPOTrainer

from rlsp.config import Recipe, load
from rlsp.errors import InputError
from rlsp.integrations.scorer import Answered, Scorer
from rlsp.integrations.trl import PROBLEM, questions, rewards
from rlsp.model_files import resolve
from rlsp.models import load_tokenizer
from rlsp.tasks import problems
from rlsp.tasks.splits import Split

STEPS = 3


@pytest.fixture(scope="module")
def nano() -> str:
    return str(resolve("nano"))


def trained(nano: str, out: Path, *overrides: str) -> tuple[list[dict[str, float]], Any]:
    """(what TRL logged at each step, the trainer)."""
    recipe = load(Recipe, "nano", list(overrides))
    tokenizer = AutoTokenizer.from_pretrained(nano)
    paid = rewards(recipe, tokenizer)
    trainer = GRPOTrainer(
        AutoModelForCausalLM.from_pretrained(nano),
        reward_funcs=paid.functions,
        train_dataset=questions(recipe, 40, tokenizer),
        processing_class=tokenizer,
        args=GRPOConfig(
            output_dir=str(out), max_steps=STEPS, per_device_train_batch_size=16, num_generations=4, logging_steps=1,
            max_completion_length=64, report_to="none", use_cpu=True, bf16=False, save_strategy="no", **paid.arguments,
        ),
    )  # fmt: skip
    trainer.train()
    return [each for each in trainer.state.log_history if "reward" in each], trainer


def test_grpo_trains_with_both_streams_logged(nano: str, tmp_path: Path) -> None:
    before = AutoModelForCausalLM.from_pretrained(nano).state_dict()
    logs, trainer = trained(nano, tmp_path)
    assert len(logs) == STEPS
    for each in logs:
        correct, explore = each["rewards/correct/mean"], each["rewards/explore/mean"]
        assert 0 <= correct <= 1 and explore < 0
        assert each["reward"] == pytest.approx(0.8 * correct + 0.2 * explore, abs=1e-5), "Eq. 1"
        assert each["rlsp/correct"] == pytest.approx(correct) and each["rlsp/explore"] == pytest.approx(explore)
        assert each["rlsp/alpha"] == pytest.approx(0.8) and each["rlsp/unjudged"] == 0
    after = trainer.model.state_dict()
    assert any((after[name] != value).any() for name, value in before.items()), "it learned"


def test_alpha_follows_its_schedule_by_trls_steps(nano: str, tmp_path: Path) -> None:
    logs, _ = trained(nano, tmp_path, "reward.schedule.kind=linear", "reward.schedule.end=0.4")
    assert [each["rlsp/alpha"] for each in logs] == pytest.approx([0.8, 0.6, 0.4])
    for each in logs:
        paid = each["rlsp/alpha"] * each["rlsp/correct"] + (1 - each["rlsp/alpha"]) * each["rlsp/explore"]
        assert each["reward"] == pytest.approx(paid, abs=1e-5)


def test_signals_mixed_as_advantages(nano: str, tmp_path: Path) -> None:
    logs, trainer = trained(nano, tmp_path, "reward.mix=advantage")
    assert len(logs) == STEPS and trainer.multi_objective_aggregation == "normalize_then_sum"


def test_the_functions_pay_what_the_native_engine_pays(nano: str) -> None:
    recipe = load(Recipe, "nano", ["reward.truncation=floor"])
    tokenizer = load_tokenizer("nano")
    data = questions(recipe, 8, tokenizer)
    texts = ["1 + 1 = 2", "", "nonsense", "3 * 4 = 12, 12 + 5 = 17; is it 17? yes"] * 2
    ids = [[*tokenizer(text, add_special_tokens=False).input_ids, tokenizer.eos_token_id] for text in texts]
    ids[3] = ids[3][:-1]
    log: list[tuple[str, float]] = []
    batch = {
        "prompts": data["prompt"], "completions": texts, "completion_ids": ids, PROBLEM: data[PROBLEM],
        "trainer_state": SimpleNamespace(global_step=0, max_steps=3), "log_metric": lambda *pair: log.append(pair),
    }  # fmt: skip
    correct, explore = (function(**batch) for function in rewards(recipe, tokenizer).functions)
    asked = problems(recipe.task, Split.TRAIN, 8, recipe.seed)
    scores = Scorer(recipe).score(
        [
            Answered(*each, truncated=number == 3)
            for number, each in enumerate(zip(asked, texts, map(tuple, ids), strict=True))
        ]
    )
    assert correct == [float(each.verdict.correct) for each in scores]
    assert explore == [each.exploration.value for each in scores]
    assert explore[3] == min(each for each in explore if each is not None), "what the budget cut off gets the floor"
    assert len([name for name, _ in log if name == "rlsp/correct"]) == 1, "judged once for both"


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (
            ["reward.schedule.kind=accuracy", "reward.schedule.end=0.5", "probe.every=5", "probe.problems=20"],
            "linear or cosine",
        ),
        (["reward.mix=advantage", "reward.schedule.kind=linear", "reward.schedule.end=0.5"], "mix 'reward'"),
        (["reward.truncation=mask"], "mask_truncated_completions"),
    ],
)
def test_what_trl_cannot_do_is_refused(overrides: list[str], words: str) -> None:
    with pytest.raises(InputError, match=words):
        rewards(load(Recipe, "nano", overrides), load_tokenizer("nano"))


def test_a_data_set_without_problems_is_refused() -> None:
    functions = rewards("nano", load_tokenizer("nano")).functions
    with pytest.raises(InputError, match="rlsp_problem"):
        functions[0](completion_ids=[[1]], trainer_state=SimpleNamespace(global_step=0, max_steps=1), log_metric=print)

"""A recipe for verl as files, and jobs, where there is no verl."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from rlsp.cli import app
from rlsp.config import Recipe, load
from rlsp.engines import drawing
from rlsp.engines.verl import jobs, settings
from rlsp.errors import InputError, JobFailed
from rlsp.models import load_tokenizer
from rlsp.prompts import encode_prompt, instruct
from rlsp.types import to_json

RECIPE = str(Path(__file__).with_name("verl_nano.toml"))


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("export") / "out"
    done = CliRunner().invoke(app, ["export", RECIPE, "--engine", "verl", "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert "node.sh" in done.output
    return out


def test_prompts_are_those_of_the_native_engine(exported: Path) -> None:
    recipe, tokenizer = load(Recipe, RECIPE, []), load_tokenizer("nano")
    problems = [problem for batch in drawing.training_problems(recipe) for problem in batch]
    rows = pq.read_table(exported / "train.parquet").to_pylist()
    assert len(rows) == len(problems) == 24
    for problem, row in zip(problems, rows, strict=True):
        assert (
            tuple(row["extra_info"]["prompt_ids"]) == encode_prompt(tokenizer, problem, instruct(problem, recipe)).ids
        )
        assert json.loads(row["reward_model"]["ground_truth"]) == to_json(problem)


@pytest.mark.parametrize("name", ["node.sh", "ray.sh", "slurm.sh"])
def test_scripts_are_bash_and_start_the_run(exported: Path, name: str) -> None:
    script = exported / name
    assert script.stat().st_mode & 0o111
    subprocess.run(["bash", "-n", str(script)], check=True)
    assert "rlsp run recipe.toml --engine verl" in script.read_text()
    assert load(Recipe, str(exported / "recipe.toml"), []).rl == load(Recipe, RECIPE, []).rl


def test_overrides_say_what_the_paper_says(exported: Path) -> None:
    told = dict(line.split("=", 1) for line in (exported / "overrides.txt").read_text().splitlines())
    assert told["algorithm.use_kl_in_reward"] == "true" and told["algorithm.kl_ctrl.kl_coef"] == "0.05"
    assert told["algorithm.gamma"] == "1.0" and told["algorithm.lam"] == "0.95"
    assert told["critic.cliprange_value"] == "0.2" and told["actor_rollout_ref.actor.clip_ratio"] == "0.2"
    assert told["++critic.model.override_config.rlsp_streams"] == "3"
    assert told["actor_rollout_ref.actor.ppo_mini_batch_size"] == "4", "in prompts, each of two rollouts"
    assert told["trainer.critic_warmup"] == "2", "verl counts steps from 1: the first is the critic's alone"
    assert told["trainer.device"] == '"cpu"', "the user's own keys win"
    loops = Path(json.loads(told["actor_rollout_ref.rollout.agent.agent_loop_config_path"]))
    assert loops == exported / "agent_loop.yaml" and "PromptLoop" in loops.read_text()


def test_files_of_the_recipe_are_found_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [{"question": f"What is {n} + 2?", "answer": str(n + 2), "trace": f"\\boxed{{{n + 2}}}"} for n in range(90)]
    Path("mine.jsonl").write_text("\n".join(map(json.dumps, rows)))
    recipe = str(Path(__file__).parents[1] / "recipes" / "llama31-8b-math.toml")
    overrides = ["task.data=mine.jsonl", "demonstrations.data=mine.jsonl", "task.filters.decontaminate=['test.jsonl']"]
    Path("test.jsonl").write_text(json.dumps(rows[0]))
    for each in ["model.path=nano", "evaluation.problems=2", "rl.steps=1", "rl.prompts_per_step=32"]:
        overrides += [each]
    overrides += ["rl.minibatch_rollouts=16", "rl.critic_warmup_steps=0", "sampling.max_response_tokens=40"]
    command = ["export", recipe, "--engine", "verl", "--out", "out"]
    done = CliRunner().invoke(app, [*command, *(part for each in overrides for part in ("--set", each))])
    assert done.exit_code == 0, done.output
    monkeypatch.chdir("/")
    moved = load(Recipe, str(tmp_path / "out" / "recipe.toml"), [])
    assert moved.files == (tmp_path / "mine.jsonl", tmp_path / "test.jsonl", tmp_path / "mine.jsonl")
    assert Path(moved.model.path).is_dir()


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("cluster.gpus_per_node=3", "does not divide among 3 GPUs"),
        ("rl.minibatch_rollouts=1", "multiple of rl.samples_per_prompt"),
        ("reward.schedule.kind=accuracy", "native engine"),
        ("sft.optimizer=muon", "native engine"),
    ],
)
def test_what_verl_cannot_do_is_refused_before_anything_is_written(tmp_path: Path, override: str, words: str) -> None:
    arguments = ["export", RECIPE, "--engine", "verl", "--out", str(tmp_path / "out"), "--set", override]
    found = CliRunner().invoke(app, arguments)
    assert isinstance(found.exception, InputError) and words in str(found.exception)
    assert not (tmp_path / "out").exists()


def test_a_recipe_without_a_cluster_is_refused() -> None:
    with pytest.raises(InputError, match=r"give \[cluster\]"):
        settings.check(load(Recipe, "nano", []))


def test_stock_gae_only_where_it_is_the_same() -> None:
    def stock(*overrides: str) -> bool:
        return settings.stock_advantages(load(Recipe, RECIPE, ["reward.mix=reward", *overrides]))

    assert stock()
    assert not stock("reward.mix=advantage")
    assert not stock("exploration.repetition.weight=1"), "token rewards"
    assert not stock("exploration.length.gamma=0.9"), "a discount of its own"


def test_a_job_that_fails_says_where_its_log_is(tmp_path: Path) -> None:
    with pytest.raises(JobFailed, match=r"code 3: ValueError: no such rank; see .*log\.txt"):
        jobs.run(
            tmp_path,
            [sys.executable, "-c", "print('ValueError: no such rank'); print('W: KeyError(1)'); exit(3)"],
            lambda: None,
        )


def test_a_job_ends_with_whoever_waits(tmp_path: Path) -> None:
    begun = tmp_path / "pid"
    program = f"import os, time, pathlib; pathlib.Path({str(begun)!r}).write_text(str(os.getpid())); time.sleep(600)"

    def give_up() -> None:
        if begun.exists() and begun.read_text():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        jobs.run(tmp_path, [sys.executable, "-c", program], give_up)
    with pytest.raises(ProcessLookupError):
        os.kill(int(begun.read_text()), 0)


def test_metrics_of_sft_are_kept_over_a_resume(tmp_path: Path) -> None:
    def logged(number: int, steps: range, torn: str = "") -> None:
        lines = [
            {"step": step, "data": {"train/loss": 1 / step + number, "train/grad_norm": 1.0, "train/global_tokens": 9}}
            for step in steps
        ]
        text = "".join(json.dumps(line) + "\n" for line in lines) + torn
        (tmp_path / jobs.METRICS.format(number)).write_text(text, encoding="utf-8")

    assert jobs.sft_metrics(tmp_path, 6) == []
    logged(0, range(1, 5), torn='{"step": 5, "da')
    assert [each["step"] for each in jobs.sft_metrics(tmp_path, 6)] == [1, 2, 3, 4]
    logged(1, range(3, 7))
    told = jobs.sft_metrics(tmp_path, 6)
    assert [each["loss"] for each in told] == [1, 1 / 2, 1 + 1 / 3, 1 + 1 / 4, 1 + 1 / 5, 1 + 1 / 6]
    assert {each["steps"] for each in told} == {6}

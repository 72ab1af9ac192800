"""A whole run on verl, two ranks without a GPU: SFT, decoupled PPO, a kill in the middle of it, evaluation, report.

make test-verl
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from transformers import AutoModelForCausalLM

from rlsp.engines import drawing, stages
from rlsp.files import read_records
from rlsp.rl.loop import Observation
from rlsp.rollouts import Prompt
from rlsp.runs import Run, read_metrics
from rlsp.types import Advantages, Demonstration, Problem, Rollout, Score

HERE = Path(__file__).parent
RECIPE = HERE / "verl_nano.toml"
RLSP = [sys.executable, "-m", "rlsp"]
PATIENCE = 900


def rlsp(*arguments: object) -> str:
    """The command's output; it has to succeed."""
    done = subprocess.run([*RLSP, *map(str, arguments)], capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


def killed_after_a_step(where: Path) -> int:
    """Begin the run, and kill it without a warning once RL has a checkpoint; how many steps it had written by then."""
    begun = subprocess.Popen([*RLSP, "run", str(RECIPE), "--engine", "verl", "--out", str(where)])
    newest = where / "verl" / "rl" / "checkpoints" / "latest_checkpointed_iteration.txt"
    deadline = time.monotonic() + PATIENCE
    while not newest.exists():
        assert begun.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    workers = psutil.Process(begun.pid).children(recursive=True)
    begun.send_signal(signal.SIGKILL)
    begun.wait()
    _, alive = psutil.wait_procs(workers, timeout=60)
    assert not alive, f"{[each.cmdline() for each in alive]} outlive the run"
    return len(read_metrics(where / "rl" / "metrics.jsonl"))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Begun, killed and resumed."""
    where = tmp_path_factory.mktemp("verl") / "run"
    before = killed_after_a_step(where)
    assert 0 < before < 3
    print(f"\nkilled after {before} of 3 steps")
    print(rlsp("resume", where))
    return Run(where)


def test_it_went_on_from_the_checkpoint(run: Run) -> None:
    log = (run.path("verl", "rl", "log.txt")).read_text()
    assert "Resuming from" in log
    assert [each["step"] for each in read_metrics(run.path("rl", "metrics.jsonl"))] == [1, 2, 3]
    for kind in ("rollouts", "scores", "advantages"):
        assert len(run.step_files(kind)) == 3
    run.check()


def test_the_run_directory_is_like_any_other(run: Run) -> None:
    assert run.complete and run.engine == "verl"
    assert set(run.evaluations()) == {"base", "sft", "rlsp", "self-consistency"}
    for step in (1, 2, 3):
        rollouts = list(read_records(run.step_file("rollouts", step), Rollout))
        scores = list(read_records(run.step_file("scores", step), Score))
        advantages = list(read_records(run.step_file("advantages", step), Advantages))
        names = [(each.problem_id, each.sample) for each in rollouts]
        assert len(names) == len(set(names)) == 16
        assert names == [(each.problem_id, each.sample) for each in scores]
        assert [len(each.values) for each in advantages] == [each.length for each in rollouts]
    metrics = read_metrics(run.path("rl", "metrics.jsonl"))
    assert all({"reward_correctness", "reward_exploration", "value_loss", "kl"} <= set(each) for each in metrics)
    assert "policy_loss" not in metrics[0] and "policy_loss" in metrics[1], "the actor waits for the critic"
    assert all(each["logprob_gap"] < 1e-4 for each in metrics)
    assert ["held_out_accuracy" in each for each in metrics] == [True, False, True]
    sft = read_metrics(run.path("sft", "metrics.jsonl"))
    assert len(sft) > 1 and sft[-1]["loss"] < sft[0]["loss"]


def test_other_commands_read_it(run: Run) -> None:
    model = run.path("rl", "model")
    AutoModelForCausalLM.from_pretrained(model)
    rlsp("eval", RECIPE, "--model", model, "--set", "evaluation.problems=4")
    rlsp("report", run.directory)
    evaluated = read_records(run.path("evaluation", "rlsp.rollouts.jsonl.zst"), Rollout)
    assert all(min(each.logprobs) < 0 for each in evaluated), "the sampler's own"
    assert "RLSP" in run.path("report.html").read_text()
    rlsp("analyze", run.directory)


class Again:
    """A sampler that says what was said before."""

    def __init__(self, rollouts: Sequence[Rollout]) -> None:
        self.rollouts = list(rollouts)

    def sample(self, prompts: Sequence[Prompt], *_: Any, on_ended: Any = None, **__: Any) -> list[Rollout]:
        by_problem = {prompt.problem_id: prompt.ids for prompt in prompts}
        assert all(by_problem[each.problem_id] == each.prompt_ids for each in self.rollouts), "other prompts"
        on_ended(self.rollouts)
        return self.rollouts


def natively(run: Run) -> Observation:
    """The native engine's first step, of the rollouts that verl has drawn."""
    recipe = run.recipe()
    problems = next(drawing.training_problems(recipe))
    places = {problem.id: place for place, problem in enumerate(problems)}
    said = sorted(read_records(run.step_file("rollouts", 1), Rollout), key=lambda each: places[each.problem_id])
    policy = stages.open_policy(str(run.path("sft", "model")))
    shown = list(read_records(run.path("demonstrations.jsonl"), Demonstration))
    with stages.reinforcing(policy, recipe, demonstrations=shown) as training:
        training.sampler, training.probe = Again(said), None
        return training.observe(0, problems)


def test_the_native_engine_agrees_on_the_first_step(run: Run) -> None:
    seen = natively(run)
    scores = {(each.problem_id, each.sample): each for each in read_records(run.step_file("scores", 1), Score)}
    kept = {(each.problem_id, each.sample): each for each in read_records(run.step_file("advantages", 1), Advantages)}
    assert len(seen.scores) == len(scores) == 16
    for score in seen.scores:
        assert scores[score.problem_id, score.sample] == score
    for ours in seen.experience.advantages_of(seen.rollouts):
        theirs = torch.tensor(kept[ours.problem_id, ours.sample].values)
        assert torch.allclose(torch.tensor(ours.values), theirs, atol=1e-3), (ours, theirs)
    assert [each.id for each in read_records(run.path("problems", "train.jsonl"), Problem)][:8] == [
        each.id for each in seen.problems
    ]


def test_a_broken_job_says_where_to_look(tmp_path: Path, run: Run) -> None:
    """A run whose RL can't start: an error of verl's own comes back with its log, and nothing counts as finished."""
    where = tmp_path / "broken"
    shutil.copytree(run.directory, where)
    manifest = json.loads((where / "manifest.json").read_text())
    manifest["stages"] = {name: made for name, made in manifest["stages"].items() if name in ("problems",)}
    (where / "manifest.json").write_text(json.dumps(manifest))
    environment = os.environ | {"VERL_PLATFORM": "none-such"}
    done = subprocess.run([*RLSP, "resume", str(where)], env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 5
    assert "log.txt" in done.stderr and "none-such" in done.stderr
    assert set(Run(where).manifest()["stages"]) == {"problems"}

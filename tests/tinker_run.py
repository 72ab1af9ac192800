"""RL against a real server of the Tinker API, on this machine's CPU: stopped, resumed, evaluated, reported.

make test-tinker
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rlsp.config import Recipe, load
from rlsp.engines import stages
from rlsp.files import read_json, read_records
from rlsp.model_files import resolve
from rlsp.reward import alpha_at, score
from rlsp.runs import Run, read_metrics
from rlsp.types import Problem, Rollout, Score

HERE = Path(__file__).parent
RECIPE = str(HERE / "tinker_nano.toml")
PATIENCE = 600
NANO = str(resolve("nano").resolve())
RUN = [sys.executable, "-m", "rlsp", "run", RECIPE, "--engine", "tinker", "--set", f"tinker.base_model={NANO}"]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment in which the client finds a server."""
    folder = tmp_path_factory.mktemp("service")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, str(HERE / "tinker_server.py"), "serve", NANO, str(folder), str(port)]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        try:
            deadline = time.monotonic() + PATIENCE
            while True:
                assert server.poll() is None and time.monotonic() < deadline, (folder / "log").read_text()[-3000:]
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.5)
            yield os.environ | {"TINKER_BASE_URL": f"http://127.0.0.1:{port}", "TINKER_API_KEY": "tml-test"}
        finally:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(30)


@pytest.fixture(scope="module")
def run(service: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A whole run, stopped after its first step and resumed."""
    where = tmp_path_factory.mktemp("runs") / "run"
    begun = subprocess.Popen([*RUN, "--out", str(where)], env=service, stderr=subprocess.PIPE, text=True)
    log, deadline = where / "rl" / "metrics.jsonl", time.monotonic() + PATIENCE
    while not (log.exists() and read_metrics(log)):
        assert begun.poll() is None and time.monotonic() < deadline
        time.sleep(0.1)
    begun.send_signal(signal.SIGTERM)
    _, said = begun.communicate(timeout=PATIENCE)
    assert begun.returncode == 128 + signal.SIGTERM, said
    assert 1 <= len(read_metrics(log)) < 3
    command = [sys.executable, "-m", "rlsp", "resume", str(where)]
    done = subprocess.run(command, env=service, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return Run(where)


def test_every_step_learns_from_what_the_policy_of_that_step_said(run: Run) -> None:
    """Before the update its log-probs are those of sampling: the tokens, their places and the weights agree."""
    metrics = read_metrics(run.path("rl", "metrics.jsonl"))
    assert [each["step"] for each in metrics] == [1, 2, 3]
    assert all(each["logprob_gap"] < 1e-4 for each in metrics)
    assert any(each["approx_kl"] > 0 for each in metrics), "the second minibatch of a step meets moved weights"
    assert all({"reward_correctness", "reward_exploration"} <= each.keys() for each in metrics)


def test_scores_are_the_native_engines(run: Run) -> None:
    recipe = load(Recipe, RECIPE, [])
    problems = {each.id: each for each in read_records(run.path("problems", "train.jsonl"), Problem)}
    rollouts = list(read_records(run.step_file("rollouts", 1), Rollout))
    assert len(rollouts) == recipe.rl.rollouts_per_step
    asked = [problems[each] for each in dict.fromkeys(rollout.problem_id for rollout in rollouts)]
    alpha = alpha_at(recipe.reward, 0.0)
    ours = score(asked, rollouts, stages.explorer_for(recipe), recipe.reward, alpha=alpha)
    assert ours == list(read_records(run.step_file("scores", 1), Score))


def test_the_trained_weights_have_names_and_a_report(run: Run) -> None:
    assert read_json(run.path("rl", "tinker.json")).keys() == {"state", "sampler"}
    assert run.evaluations().keys() == {"base", "rlsp", "self-consistency"}
    assert "<html" in run.path("report.html").read_text(encoding="utf-8")

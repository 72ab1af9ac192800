"""A stored step comes out token for token; a failed one fails again; forks and exports begin where a run stood."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from rlsp import checkpoints, runs
from rlsp.cli import main
from rlsp.config import changed
from rlsp.engines import fork, native, replay, stages
from rlsp.engines.progress import Silent
from rlsp.errors import Diverged, InputError
from rlsp.files import read_records, write_json, write_records
from rlsp.models import load_policy, token_logprobs
from rlsp.optim import NonFiniteLossError
from rlsp.rl.update import Updater
from rlsp.runs import Run
from rlsp.sft import Finetuning
from rlsp.types import Problem, Rollout
from tests.test_resume import assert_same, products, small


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A whole run of four RL steps that has kept every checkpoint."""
    recipe = changed(small("ppo"), ["checkpoints.keep=9"])
    run = runs.create(tmp_path_factory.mktemp("runs") / "finished", recipe)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("rlsp.engines.keeper.Keeper.prune", lambda self, keep: None)
        native.run(recipe, run, Silent())
    return run


def called(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: Any) -> tuple[int, str]:
    """(exit code, everything printed)"""
    monkeypatch.setattr("sys.argv", ["rlsp", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    captured = capsys.readouterr()
    return int(ended.value.code or 0), captured.out + captured.err


# Replay


@pytest.mark.parametrize("kept", [[1, 2, 3, 4], [1], []], ids=["all", "the-first", "none"])
def test_a_step_comes_out_token_for_token_from_whatever_checkpoint_is_left(
    finished: Run, kept: list[int], tmp_path: Path
) -> None:
    run = Run(tmp_path / "copy")
    shutil.copytree(finished.directory, run.directory)
    for step in {1, 2, 3, 4} - set(kept):
        shutil.rmtree(run.path("rl", "checkpoints", f"{step:06d}"))
    found = replay.replay(run, 3)
    stored = list(read_records(run.path("rl", "rollouts", "000003.jsonl.zst"), Rollout))
    assert [each.stored for each in found] == stored
    assert [each.again for each in found] == stored, "log-probs and all"


def test_what_training_saw_of_a_token(finished: Run) -> None:
    found = replay.replay(finished, 4)
    metrics = [json.loads(line) for line in finished.path("rl", "metrics.jsonl").read_text().splitlines()][3]
    assert all(each.difference is None and len(each.tokens) == each.stored.length for each in found)
    tokens = [token for each in found for token in each.tokens]
    assert "".join(token.text for token in found[0].tokens).startswith(found[0].stored.text)
    assert sum(token.kl or 0 for token in tokens) / len(tokens) == pytest.approx(metrics["kl"], abs=1e-6)
    assert all(token.entropy >= 0 and len(token.values) == 1 for token in tokens)
    mean = sum(token.advantage for token in tokens) / len(tokens)
    assert mean == pytest.approx(0, abs=1e-5), "whitened over the batch"
    assert [each.streams for each in found] == [("reward",)] * len(found)


def test_a_difference_is_found_where_it_is(finished: Run) -> None:
    (one, *_) = replay.replay(finished, 2)
    ids = one.stored.response_ids
    other = Rollout(**{**vars_of(one.stored), "response_ids": (*ids[:3], ids[3] + 1, *ids[4:])})
    assert replay.Replayed(other, one.again, one.score, (), one.tokens).difference == 3
    shorter = Rollout(**{**vars_of(one.stored), "response_ids": ids[:-1], "logprobs": one.stored.logprobs[:-1]})
    assert replay.Replayed(shorter, one.again, one.score, (), one.tokens).difference == len(ids) - 1


def vars_of(rollout: Rollout) -> dict[str, Any]:
    return {name: getattr(rollout, name) for name in Rollout.__dataclass_fields__}


def test_the_command_shows_one_and_all(
    finished: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, text = called(monkeypatch, capsys, "replay", finished.directory, 2)
    assert code == 0 and "all 8 rollouts of step 2 come out token for token" in text
    code, text = called(monkeypatch, capsys, "replay", finished.directory, 2, 5)
    assert code == 0 and all(word in text for word in ("log π", "entropy", "value reward", "advantage", "KL"))
    for step, sample, message in ((9, 0, "has no rollouts of step 9: it has steps 1 to 4"), (2, 8, "there is no 8")):
        code, text = called(monkeypatch, capsys, "replay", finished.directory, step, sample)
        assert code == 2 and message in text
    run = Run(tmp_path / "copy")
    shutil.copytree(finished.directory, run.directory)
    path = run.path("rl", "rollouts", "000002.jsonl.zst")
    first, *others = read_records(path, Rollout)
    ids = first.response_ids
    write_records(path, [Rollout(**{**vars_of(first), "response_ids": (ids[0] + 1, *ids[1:])}), *others])
    code, text = called(monkeypatch, capsys, "replay", run.directory, 2)
    assert code == 1 and "1 of 8 rollouts differ, the first is 0" in text


# A loss that is not finite


def test_a_step_that_fails_is_kept_and_fails_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = small("ppo")
    run = runs.create(tmp_path / "run", recipe)
    update = Updater.update

    def harmed(self: Updater, experience: Any, step: int) -> dict[str, float]:
        if step == 2:
            experience.advantages_BR[5, 0] = float("nan")
        return update(self, experience, step)

    with monkeypatch.context() as patched, pytest.raises(Diverged, match=r"step 3: the policy loss is nan.*rlsp fork"):
        patched.setattr(Updater, "update", harmed)
        native.run(recipe, run, Silent())
    assert len(run.path("rl", "metrics.jsonl").read_text().splitlines()) == 2, "the failed step is none"
    assert replay.failed_step(run) == 3
    failure = replay.reproduce(run)
    assert "policy loss is nan" in failure.said and failure.again == failure.said
    assert failure.culprits == (5,) and 5 in failure.rows
    code, text = called(monkeypatch, capsys, "replay", run.directory, 3)
    assert code == 0 and "no finite loss or gradient: 5" in text
    native.run(recipe, runs.resume(run.directory, recipe), Silent())
    assert run.finished("rl"), "without the harm it goes on"
    assert replay.failed_step(run) is None, "and the step is one like any other"


def test_sft_that_fails_at_its_first_step_goes_on_from_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = small("ppo")
    run = runs.create(tmp_path / "run", recipe)

    def fail(self: Finetuning, number: int) -> dict[str, float]:
        raise NonFiniteLossError("the loss is nan.")

    with monkeypatch.context() as patched, pytest.raises(Diverged, match=r"SFT step 1: the loss is nan.*start over"):
        patched.setattr(Finetuning, "step", fail)
        native.run(recipe, run, Silent())
    native.run(recipe, runs.resume(run.directory, recipe), Silent())
    assert run.finished("rl"), "without the harm it goes on"


def test_a_damaged_checkpoint_is_passed_over_by_a_replay(finished: Run, tmp_path: Path) -> None:
    run = Run(tmp_path / "copy")
    shutil.copytree(finished.directory, run.directory)
    run.path("rl", "checkpoints", "000002", "tensors.safetensors").write_bytes(b"")
    assert all(each.difference is None for each in replay.replay(run, 3))


# Forks and exports


def test_a_fork_has_the_same_past_and_another_future(finished: Run, tmp_path: Path) -> None:
    recipe = changed(finished.recipe(), ["rl.actor_learning_rate=1e-5", "rl.steps=5"])
    out = Run(tmp_path / "fork")
    fork.fork(finished, fork.checkpoint_of(finished, 2), recipe, out.directory)
    native.run(recipe, runs.resume(out.directory, recipe), Silent())
    old, new = (
        [json.loads(line) for line in run.path("rl", "metrics.jsonl").read_text().splitlines()]
        for run in (finished, out)
    )
    assert len(new) == 5 and new[:2] == old[:2] and new[3] != old[3]
    for step in (1, 2):
        name = f"{step:06d}.jsonl.zst"
        assert out.path("rl", "rollouts", name).read_bytes() == finished.path("rl", "rollouts", name).read_bytes()
    known = {problem.id for problem in read_records(out.path("problems", "train.jsonl"), Problem)}
    for path in out.step_files("rollouts"):
        assert {rollout.problem_id for rollout in read_records(path, Rollout)} <= known
    assert "evaluation/base" in out.manifest()["stages"]
    assert checkpoints.steps(out.path("rl", "checkpoints")) == [5, 2]
    assert all(each.difference is None for each in replay.replay(out, 4)), "the steps between are the fork's"
    with pytest.raises(InputError, match=r"forked from .* after step 2: replay step 2 there"):
        replay.replay(out, 2)
    shutil.rmtree(out.path("rl", "checkpoints", "000002"))
    with pytest.raises(InputError, match="began as a fork, after step 2, and its checkpoint of that step is gone"):
        replay.replay(out, 4)


def test_a_fork_with_nothing_changed_ends_as_its_source(finished: Run, tmp_path: Path) -> None:
    recipe = finished.recipe()
    out = Run(tmp_path / "fork")
    fork.fork(finished, fork.checkpoint_of(finished, 1), recipe, out.directory)
    native.run(recipe, runs.resume(out.directory, recipe), Silent())
    wanted = {path: content for path, content in products(finished).items() if "checkpoints" not in path}
    shutil.rmtree(out.path("rl", "checkpoints"))
    assert_same(out, wanted)


def test_a_fork_that_is_killed_while_it_is_made_is_none(
    finished: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Killed before its last file, the checkpoint."""
    script = (
        "import os, signal; from rlsp.cli import main; from rlsp.engines import fork; "
        "fork.checkpoints.write = lambda *arguments: os.kill(os.getpid(), signal.SIGKILL); main()"
    )
    arguments = ["fork", str(finished.directory), "--out", str(tmp_path / "fork")]
    assert subprocess.run([sys.executable, "-c", script, *arguments], check=False).returncode == -signal.SIGKILL
    assert not runs.exists(tmp_path / "fork")
    code, text = called(monkeypatch, capsys, *arguments)
    assert code == 0 and "begins after step 4" in text


@pytest.mark.parametrize("name", ["rl/metrics.jsonl", "rl/scores/000001.jsonl.zst", "demonstrations.jsonl"])
@pytest.mark.parametrize("harm", ["cut", "gone"])
def test_a_fork_of_what_is_damaged_is_refused_by_name(finished: Run, name: str, harm: str, tmp_path: Path) -> None:
    run = Run(tmp_path / "copy")
    shutil.copytree(finished.directory, run.directory)
    manifest = run.manifest()
    del manifest["stages"]["rl"]  # which is still under way
    write_json(run.path("manifest.json"), manifest)
    content = run.path(name).read_bytes()
    run.path(name).write_bytes(content[: len(content) // 2])
    if harm == "gone":
        run.path(name).unlink()
    with pytest.raises(InputError, match=rf"{run.path(name)}.*put it back from a copy"):
        fork.fork(run, fork.checkpoint_of(run, 3), run.recipe(), tmp_path / "fork")
    assert not (tmp_path / "fork").exists()


@pytest.mark.parametrize(
    "setting", ["model.path=elsewhere", "sft.epochs=2", "demonstrations.count=7", "task.levels=[2]"]
)
def test_a_fork_keeps_what_decided_its_past(finished: Run, setting: str) -> None:
    with pytest.raises(InputError, match="a fork keeps what"):
        fork.check(finished, changed(finished.recipe(), [setting]))


def test_forks_begin_from_checkpoints_that_there_are(finished: Run, tmp_path: Path) -> None:
    assert fork.checkpoint_of(finished, None).step == 4
    assert fork.checkpoint_of(finished, "best").step == 2, "measured before every second step"
    with pytest.raises(InputError, match="no checkpoint of step 9; it has 4, 3, 2, 1"):
        fork.checkpoint_of(finished, 9)
    run = runs.create(tmp_path / "new", finished.recipe())
    with pytest.raises(InputError, match="has no RL checkpoints"):
        fork.checkpoint_of(run, None)


def test_a_checkpoint_of_another_algorithm_is_refused(finished: Run) -> None:
    policy = stages.open_policy("nano")
    recipe = small("two-streams")
    with (
        stages.reinforcing(policy, recipe) as training,
        pytest.raises(InputError, match=r"critic\.head.*another model"),
    ):
        training.restore(fork.checkpoint_of(finished, 3))


def test_an_export_is_the_policy_that_was(
    finished: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, text = called(monkeypatch, capsys, "export", finished.directory, "--step", 3, "--out", tmp_path / "model")
    assert code == 0 and "the policy after step 3" in text
    model = load_policy(str(tmp_path / "model"), torch.device("cpu"))
    kept = checkpoints.read(finished.path("rl", "checkpoints", "000003")).tensors
    assert all(torch.equal(kept[f"policy.{name}"], each) for name, each in model.named_parameters())
    rollout = next(iter(read_records(finished.path("rl", "rollouts", "000004.jsonl.zst"), Rollout)))
    ids_BT = torch.tensor([rollout.prompt_ids + rollout.response_ids])
    sampled_BT = torch.arange(ids_BT.shape[1])[None] >= len(rollout.prompt_ids)
    logprobs, _ = token_logprobs(model, ids_BT, sampled_BT)
    assert torch.allclose(logprobs, torch.tensor(rollout.logprobs), atol=1e-4)


def test_resume_needs_no_recipe(
    finished: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("fork", finished.directory, "--out", tmp_path / "fork", "--step", "3", "--set", "rl.steps=4")
    code, text = called(monkeypatch, capsys, *arguments)
    assert code == 0 and "begins after step 3" in text and "RL goes on after step 3" in text
    code, text = called(monkeypatch, capsys, "replay", tmp_path / "fork", 3)
    assert code == 2 and f"was forked from {finished.directory} after step 3: replay step 3 there" in text
    code, text = called(monkeypatch, capsys, "replay", tmp_path / "fork", 4)
    assert code == 0 and "come out token for token" in text
    code, text = called(monkeypatch, capsys, "resume", tmp_path / "fork")
    assert code == 0 and "report:" in text
    code, text = called(monkeypatch, capsys, "resume", tmp_path)
    assert code == 2 and "is no run directory" in text

"""The commands, as a user calls them."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rlsp.model_files import NANO_BASE
from tests.shrunk import SHRUNK

SHRINK = [
    argument for setting in ("task.levels=[1]", "demonstrations.count=16", *SHRUNK) for argument in ("--set", setting)
]


def rlsp(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "rlsp", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the shrunk quickstart has run."""
    folder = tmp_path_factory.mktemp("quickstart")
    done = rlsp("quickstart", *SHRINK, folder=folder)
    assert done.returncode == 0, done.stderr
    assert "RLSP" in done.stdout and "report:" in done.stdout
    return folder


def test_quickstart_goes_on_where_it_stopped(quickstart: Path) -> None:
    done = rlsp("quickstart", *SHRINK, folder=quickstart)
    assert done.returncode == 0, done.stderr
    assert "going on" in done.stdout
    assert "RL:" not in done.stdout, "a finished stage ran again"


def test_existing_run_is_refused_and_told_what_to_do(quickstart: Path) -> None:
    done = rlsp("run", "nano", "--out", "runs/quickstart", *SHRINK, folder=quickstart)
    assert done.returncode == 2
    assert "--resume" in done.stderr and "--overwrite" in done.stderr and "Traceback" not in done.stderr


def test_resuming_with_another_recipe_is_refused(quickstart: Path) -> None:
    done = rlsp("run", "nano", "--out", "runs/quickstart", "--resume", "--set", "seed=9", *SHRINK, folder=quickstart)
    assert done.returncode == 2
    assert "another recipe" in done.stderr and "seed" in done.stderr


def test_starting_over_deletes_only_when_the_recipe_will_run(quickstart: Path) -> None:
    """A wrong model, or one inside the run itself, must not cost the finished run."""
    report = (quickstart / "runs/quickstart/report.html").read_bytes()
    for verb in ("run", "train"):
        for model, words in (("nowhere", "nowhere"), ("runs/quickstart/sft/model", "--overwrite would delete")):
            done = rlsp(
                verb, "nano", "--out", "runs/quickstart", "--overwrite", *SHRINK, "--set", f"model.path={model}",
                folder=quickstart,
            )  # fmt: skip
            assert done.returncode == 2 and words in done.stderr, done.stderr
    assert (quickstart / "runs/quickstart/report.html").read_bytes() == report


def test_a_finished_training_is_kept(quickstart: Path) -> None:
    """`train` on the directory of a whole run is refused, and its own directory is not trained again."""
    done = rlsp("train", "nano", "--out", "runs/quickstart", "--resume", *SHRINK, folder=quickstart)
    assert done.returncode == 2 and "sft" in done.stderr
    first = rlsp("train", "nano", "--out", "alone", *SHRINK, folder=quickstart)
    assert first.returncode == 0, first.stderr
    model = quickstart / "alone/rl/model/model.safetensors"
    before = model.stat().st_mtime_ns
    again = rlsp("train", "nano", "--out", "alone", "--resume", *SHRINK, folder=quickstart)
    assert again.returncode == 0 and model.stat().st_mtime_ns == before
    over = rlsp("train", "nano", "--out", "alone", "--overwrite", *SHRINK, folder=quickstart)
    assert over.returncode == 0 and model.stat().st_mtime_ns != before


def test_stages_stand_alone(quickstart: Path) -> None:
    """tasks → demos → sft → train → sample → score → eval → report, through files."""
    folder = quickstart
    calls = [
        ["tasks", "show", "countdown", "--count", "5", "--split", "test", "--out", "problems.jsonl"],
        ["demos", "nano", "--out", "demos.jsonl", *SHRINK],
        ["sft", "nano", "--demonstrations", "demos.jsonl", "--out", "sft", *SHRINK],
        ["train", "nano", "--out", "rl", "--set", "model.path=sft/model", *SHRINK],
        ["sample", "nano", "--problems", "problems.jsonl", "--samples", "2", "--out", "rollouts.jsonl.zst",
         "--set", "model.path=rl/rl/model", *SHRINK],
        ["score", "rollouts.jsonl.zst", "--recipe", "nano", "--problems", "problems.jsonl", "--out", "scores.jsonl",
         *SHRINK],
        ["eval", "nano", "--set", "model.path=rl/rl/model", "--out", "summary.json", *SHRINK],
        ["report", "runs/quickstart"],
    ]  # fmt: skip
    for call in calls:
        done = rlsp(*call, folder=folder)
        assert done.returncode == 0, (call, done.stderr)
    scores = [json.loads(line) for line in (folder / "scores.jsonl").read_text().splitlines()]
    assert len(scores) == 10
    assert all(-10 <= score["total"] <= 1 and {"verdict", "exploration", "alpha"} <= score.keys() for score in scores)
    assert json.loads((folder / "summary.json").read_text())["problems"] == 6


def test_results_are_replaced_only_when_asked(tmp_path: Path) -> None:
    write = ["tasks", "show", "countdown", "--count", "2", "--out", "problems.jsonl"]
    assert rlsp(*write, folder=tmp_path).returncode == 0
    before = (tmp_path / "problems.jsonl").read_bytes()
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "notes.txt").write_text("mine")
    for call in (
        write,
        ["demos", "nano", "--out", "problems.jsonl"],
        ["sample", "nano", "--problems", "problems.jsonl", "--out", "problems.jsonl"],
        ["score", "r", "--problems", "problems.jsonl", "--out", "problems.jsonl"],
        ["eval", "nano", "--out", "problems.jsonl"],
        ["sft", "nano", "--demonstrations", "problems.jsonl", "--out", "."],
        ["pretrain", "nano-base", "--out", "model"],
        ["demos", "nano", "--out", "problems.jsonl/demos.jsonl"],
    ):
        done = rlsp(*call, folder=tmp_path)
        assert done.returncode == 2 and "give another --out" in done.stderr, (call, done.stderr)
    assert (tmp_path / "problems.jsonl").read_bytes() == before
    assert (tmp_path / "model" / "notes.txt").read_text() == "mine"
    assert rlsp(*write, "--seed", "1", "--overwrite", folder=tmp_path).returncode == 0
    assert (tmp_path / "problems.jsonl").read_bytes() != before


@pytest.mark.parametrize("verb", ["run", "train"])
def test_broken_weights_make_and_delete_no_directory(verb: str, quickstart: Path, tmp_path: Path) -> None:
    shutil.copytree(NANO_BASE, tmp_path / "broken")
    (tmp_path / "broken" / "model.safetensors").write_bytes(b"no weights")
    report = quickstart / "runs/quickstart/report.html"
    for out in (tmp_path / "out", quickstart / "runs/quickstart"):
        call = [verb, "nano", "--out", str(out), "--overwrite", *SHRINK, "--set", "model.path=broken"]
        done = rlsp(*call, folder=tmp_path)
        assert done.returncode == 2 and "can't be loaded" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists() and report.exists()


def test_dry_run_prints_the_recipe_and_what_it_needs(tmp_path: Path) -> None:
    done = rlsp("run", "nano", "--dry-run", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "kl_coefficient = 0.05" in done.stdout and "GiB" in done.stdout and "M tokens" in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "nono"], ["nono", "nano"]),
        (["run", "nano", "--set", "rl.stepps=3"], ["rl.stepps", "steps"]),
        (["run", "nano", "--model", "nowhere"], ["nowhere", "config.json"]),
        (["run", "smollm2-gsm8k", "--model", "nano", "--data", "missing.jsonl"], ["missing.jsonl"]),
        (["run", "nano", "--resume", "--overwrite"], ["--resume", "--overwrite"]),
        (["report", "nowhere"], ["nowhere", "manifest.json"]),
        (["tasks", "show", "chess"], ["chess", "countdown"]),
        (["tasks", "check", "missing.jsonl"], ["missing.jsonl", "can't be read"]),
        (["score", "r", "--recipe", "nano", "--problems", "p", "--out", "o"], ["p:"]),
    ],
)
def test_bad_input_is_explained(arguments: list[str], words: list[str], tmp_path: Path) -> None:
    done = rlsp(*arguments, folder=tmp_path)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    assert all(word in done.stderr for word in words), done.stderr

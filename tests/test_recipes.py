"""Every shipped recipe parses and runs two steps at a shrunk size."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import pytest

from rlsp import files, runs
from rlsp.config import REPOSITORY_RECIPES, PretrainRecipe, Recipe, load
from rlsp.config.algorithms import ALGORITHMS
from rlsp.engines import native
from rlsp.engines.progress import Silent
from rlsp.models import load_tokenizer
from rlsp.nano import pretrain, skills
from tests.shrunk import SHRUNK

ALL = sorted(REPOSITORY_RECIPES.glob("*.toml"))
PRETRAINING = [path for path in ALL if "corpus" in tomllib.loads(path.read_text())]
RUNS = [path for path in ALL if path not in PRETRAINING]


def small(path: Path, folder: Path) -> Recipe:
    """The recipe, shrunk; a recipe for your own file gets one."""
    values = tomllib.loads(path.read_text())
    overrides = [*SHRUNK, "model.path=nano"]
    if not ALGORITHMS[values["rl"].get("algorithm", "ppo")].critic:
        overrides.remove("rl.critic_warmup_steps=1")
    if "demonstrations" in values:
        overrides.append("demonstrations.count=24")
    if "data" in values.get("demonstrations", {}):
        traces = folder / "traces.jsonl"
        right = [
            {"question": f"What is {n} + 2?", "answer": str(n + 2), "trace": f"\\boxed{{{n + 2}}}"} for n in range(40)
        ]
        traces.write_text("\n".join(map(json.dumps, right)))
        overrides.append(f"demonstrations.data={json.dumps(str(traces))}")
    if values["task"]["name"] == "data":
        questions = folder / "questions.jsonl"
        lines = [json.dumps({"question": f"What is {n} + 1?", "answer": f"Add. #### {n + 1}"}) for n in range(60)]
        questions.write_text("\n".join(lines))
        overrides.append(f"task.data={json.dumps(str(questions))}")
        if "filters" in values["task"]:
            overrides.append("task.filters.decontaminate=[]")
    return load(Recipe, str(path), overrides)


@pytest.mark.parametrize("path", RUNS, ids=lambda path: path.stem)
def test_recipe_runs_two_steps(path: Path, tmp_path: Path) -> None:
    recipe = small(path, tmp_path)
    run = runs.create(tmp_path / "run", recipe)
    report = native.run(recipe, run, Silent())
    steps = [values for _, values in files.read_lines(run.path("rl", "metrics.jsonl"))]
    assert [values["step"] for values in steps] == [1, 2]
    assert all(values.get("logprob_gap", 0.0) < 1e-4 for values in steps), "a step may have nothing to learn from"
    assert {"base", "rlsp", "self-consistency"} <= set(run.evaluations())
    assert [len(run.step_files(kind)) for kind in ("rollouts", "scores", "advantages")] == [2, 2, 2]
    load_tokenizer(str(run.path("rl", "model")))
    assert "<html" in report.read_text()


@pytest.mark.parametrize("path", PRETRAINING, ids=lambda path: path.stem)
def test_pretraining_recipe_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(skills, "PROBLEMS", 4)
    monkeypatch.setattr(pretrain, "DOCUMENTS_AT_ONCE", 100)
    recipe = load(PretrainRecipe, str(path), ["corpus.tokens=4000"])
    measured = pretrain.pretrain(recipe, tmp_path / "base", Silent())
    assert measured["checks"].keys() >= {"right", "count"}
    load_tokenizer(str(tmp_path / "base"))

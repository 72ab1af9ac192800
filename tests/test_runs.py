"""The run directory: made, gone on with, started over; what is none is named."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rlsp import files, runs
from rlsp.config import Recipe, load
from rlsp.errors import InputError


@pytest.fixture
def recipe() -> Recipe:
    return load(Recipe, "nano")


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_new_run_says_what_it_will_do(tmp_path: Path, recipe: Recipe) -> None:
    run = runs.create(tmp_path / "new" / "nano", recipe)
    manifest = run.manifest()
    assert run.name == "nano"
    assert run.recipe() == recipe
    assert manifest["stages"] == {}
    assert set(manifest["inputs"]) == {"model's files"}
    assert set(manifest["versions"]) == set(runs.PACKAGES)
    assert manifest["versions"]["torch"] != "not installed"
    assert manifest["git"]
    assert names(run.directory) == ["manifest.json"]


def test_empty_directory_is_used_and_a_full_one_refused(tmp_path: Path, recipe: Recipe) -> None:
    runs.create(tmp_path, recipe)
    with pytest.raises(InputError, match=f"{tmp_path} holds another run: give another --out"):
        runs.create(tmp_path, recipe)


def test_foreign_directory_is_refused_and_left_alone(tmp_path: Path, recipe: Recipe) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match="is no run directory"):
        runs.create(tmp_path, recipe)
    files.write_json(tmp_path / "manifest.json", {"name": "a web app"})
    for touch in (runs.create, runs.resume):
        with pytest.raises(InputError, match="is no run directory"):
            touch(tmp_path, recipe)
    assert names(tmp_path) == ["manifest.json", "thesis.tex"]


def test_a_run_goes_on_only_with_its_recipe_and_its_model(tmp_path: Path, recipe: Recipe) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text("{}")
    (model / "model.safetensors").write_bytes(b"weights")
    mine = recipe.model_copy(update={"model": recipe.model.model_copy(update={"path": str(model)})})
    runs.create(tmp_path / "run", mine)
    assert runs.resume(tmp_path / "run", mine).recipe() == mine
    with pytest.raises(InputError, match="seed was 0 and is 1"):
        runs.resume(tmp_path / "run", mine.model_copy(update={"seed": mine.seed + 1}))
    (model / "model.safetensors").write_bytes(b"Weights")
    with pytest.raises(InputError, match="model's files was"):
        runs.resume(tmp_path / "run", mine)


def test_starting_over_spares_what_the_recipe_reads(tmp_path: Path, recipe: Recipe) -> None:
    run = runs.create(tmp_path / "run", recipe)
    model = run.path("sft", "model")
    model.mkdir(parents=True)
    (model / "config.json").write_text("{}")
    (model / "model.safetensors").write_bytes(b"weights")
    inside = recipe.model_copy(update={"model": recipe.model.model_copy(update={"path": str(model)})})
    with pytest.raises(InputError, match="--overwrite would delete"):
        runs.remove(tmp_path / "run", inside)
    assert (model / "model.safetensors").exists()
    runs.remove(tmp_path / "run", recipe)
    assert names(tmp_path / "run") == []


def test_file_in_the_way_is_refused(tmp_path: Path, recipe: Recipe) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(InputError, match="out"):
        runs.create(tmp_path / "out", recipe)


def test_finished_stages_are_remembered(tmp_path: Path, recipe: Recipe) -> None:
    run = runs.create(tmp_path, recipe)
    assert not run.finished("sft")
    run.finish("problems")
    run.finish("sft")
    again = runs.Run(tmp_path)
    assert again.finished("problems") and again.finished("sft") and not again.finished("rl")
    assert again.recipe() == recipe


@pytest.mark.parametrize("harm", ["cut", "gone"])
def test_what_a_finished_stage_made_has_to_be_there(tmp_path: Path, recipe: Recipe, harm: str) -> None:
    run = runs.create(tmp_path, recipe)
    one, inside = run.path("demonstrations.jsonl"), run.path("sft", "model", "config.json")
    for path in (one, inside):
        files.write_text(path, "some text")
    run.finish("demonstrations", one)
    run.finish("sft", run.path("sft", "model"))
    run.check()
    inside.unlink() if harm == "gone" else inside.write_text("some tex")
    with pytest.raises(InputError, match=r"sft/model/config\.json is (missing|not what).*'sft' was finished"):
        runs.resume(tmp_path, recipe)


def test_clear_empties_a_stage_and_only_it(tmp_path: Path, recipe: Recipe) -> None:
    run = runs.create(tmp_path, recipe)
    files.write_text(run.path("rl", "rollouts", "0001"), "left over")
    files.write_text(run.path("sft", "metrics.jsonl"), "kept")
    assert names(run.clear("rl")) == []
    assert run.path("sft", "metrics.jsonl").read_text() == "kept"
    assert run.clear("new").is_dir()


def test_no_run_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no run directory"):
        runs.Run(tmp_path).manifest()


def test_broken_manifest_is_named(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(InputError, match=r"manifest\.json"):
        runs.Run(tmp_path).manifest()


def test_step_files_come_in_order(tmp_path: Path) -> None:
    run = runs.Run(tmp_path)
    for step in (10, 2, 1):
        files.write_records(run.path("rl", "scores", f"{step:04d}.jsonl.zst"), [])
    assert [path.name[:4] for path in run.step_files("scores")] == ["0001", "0002", "0010"]
    assert run.step_files("rollouts") == []


def test_evaluations_come_by_name_in_the_order_they_were_made(tmp_path: Path, recipe: Recipe) -> None:
    """Whatever the clock said meanwhile, and without one that did not come to its end."""
    run = runs.create(tmp_path, recipe)
    for order, name in enumerate(["sft", "base", "rlsp", "cut-short"]):
        path = run.path("evaluation", f"{name}.json")
        files.write_json(path, {"name": name})
        os.utime(path, ns=(9 - order, 9 - order))
        if name != "cut-short":
            run.finish(f"evaluation/{name}", path)
    assert list(run.evaluations().items()) == [(name, {"name": name}) for name in ("sft", "base", "rlsp")]

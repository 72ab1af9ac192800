"""The engine tinker where there is no service."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from rlsp import parallel
from rlsp.cli import app
from rlsp.config import Recipe, load
from rlsp.engines import preflight, tinker
from rlsp.engines.progress import Silent
from rlsp.errors import InputError, JobFailed
from rlsp.runs import Engine, create

RECIPE = str(Path(__file__).with_name("tinker_nano.toml"))


def test_without_its_client_the_command_to_install_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'rlsp\[tinker\]'"):
        tinker.check(load(Recipe, RECIPE, []))


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["rl.algorithm=grpo"], "rl.kl_coefficient above 0 is not to be had on engine 'tinker'"),
        (
            ["rl.algorithm=ppo", "rl.critic_learning_rate=1e-3", "rl.critic_warmup_steps=1"],
            "rl.algorithm = 'ppo', which has a critic,",
        ),
        (["sampling.temperature=0.7"], "sampling.temperature other than 1"),
        (["model.lora={rank = 8, alpha = 16}"], "any of model.lora but its rank"),
        (["model.gradient_checkpointing=true"], "model.gradient_checkpointing"),
        (["model.compile=true"], "model.compile"),
        (["sampling.engine=vllm"], "sampling.engine = 'vllm'"),
    ],
)
def test_what_the_service_cannot_do_is_told(overrides: list[str], words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    tinker.check(load(Recipe, RECIPE, []))
    with pytest.raises(InputError, match=words):
        tinker.check(load(Recipe, RECIPE, overrides))


def test_a_recipe_without_a_service_or_an_adapter_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    recipe = load(Recipe, RECIPE, [])
    for lacking in (
        recipe.model_copy(update={"tinker": None}),
        recipe.model_copy(update={"model": recipe.model.model_copy(update={"lora": None})}),
    ):
        with pytest.raises(InputError, match=r"give tinker\.base_model, model\.lora"):
            tinker.check(lacking)


def test_several_processes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parallel, "size", lambda: 2)
    with pytest.raises(InputError, match="leave torchrun out"):
        tinker.check(load(Recipe, RECIPE, []))


def test_adapters_need_no_library_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are the service's."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    monkeypatch.setitem(sys.modules, "peft", None)
    assert preflight.check(load(Recipe, RECIPE, []), accept_reward_risks=True, engine="tinker") == ""
    with pytest.raises(InputError, match="peft"):
        preflight.check(load(Recipe, RECIPE, []), accept_reward_risks=True)


@pytest.mark.parametrize(("engine", "where"), [("tinker", r"rl/tinker\.json"), ("verl", "rl/model")])
def test_what_needs_our_checkpoints_refuses_the_runs_of_other_engines(
    engine: Engine, where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "peft", None)
    out = create(tmp_path / "run", load(Recipe, RECIPE, []), engine=engine)
    for command in (
        ["fork", str(out.directory), "--out", str(tmp_path / "fork")],
        ["export", str(out.directory), "--out", str(tmp_path / "model")],
        ["replay", str(out.directory), "1"],
    ):
        answer = CliRunner().invoke(app, command)
        assert isinstance(answer.exception, InputError), answer.output
        assert re.search(f"made by engine '{engine}'.*{where}", str(answer.exception))


def test_a_service_that_fails_says_so_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class TinkerError(Exception): ...

    def refuse() -> None:
        raise TinkerError("the key is no key\nand more")

    fake = SimpleNamespace(TinkerError=TinkerError, ServiceClient=refuse)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    monkeypatch.setitem(sys.modules, "tinker", fake)
    out = create(tmp_path / "run", load(Recipe, RECIPE, []), engine="tinker")
    with pytest.raises(JobFailed, match=r"TinkerError: the key is no key\. Look at TINKER_BASE_URL.*rlsp resume"):
        tinker.run(out.recipe(), out, Silent())
    assert out.finished("problems") and out.engine == "tinker"

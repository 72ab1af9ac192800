"""The engine tinker where there is no service."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from rlsp.config import Recipe, load
from rlsp.engines import tinker
from rlsp.engines.progress import Silent
from rlsp.errors import InputError, JobFailed
from rlsp.runs import create

RECIPE = str(Path(__file__).with_name("tinker_nano.toml"))


def test_without_its_client_the_command_to_install_it_is_told() -> None:
    assert importlib.util.find_spec("tinker") is None
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
        (["alarms.pause=true"], "alarms.pause"),
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

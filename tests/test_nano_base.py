"""The shipped base model commits early and rarely checks, yet owns the skills that search needs."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from rlsp.config import PretrainRecipe, load
from rlsp.files import read_json
from rlsp.model_files import NANO_BASE
from rlsp.models import load_policy, load_tokenizer
from rlsp.nano.skills import measure
from rlsp.nano.tokenizer import build_tokenizer
from rlsp.tasks import countdown


@pytest.fixture(scope="module")
def skills() -> dict[str, Any]:
    return measure(load_policy("nano", torch.device("cpu")), load_tokenizer("nano"))


def test_it_ships_small_with_the_recipe_that_made_it() -> None:
    assert (NANO_BASE / "model.safetensors").stat().st_size <= 4 * 2**20
    assert read_json(NANO_BASE / "recipe.json") == load(PretrainRecipe, "nano-base").model_dump(mode="json")
    assert load_tokenizer("nano").get_vocab() == build_tokenizer().get_vocab()


def test_it_commits_early_and_rarely_checks(skills: dict[str, Any]) -> None:
    for level in countdown.LEVELS:
        assert 0.005 < skills[f"countdown {level}"]["responses with a check"] < 0.10
        assert skills[f"countdown {level}"]["pass@1"] < 0.5
        assert skills[f"countdown {level}"]["pass@4"] > 1.5 * skills[f"countdown {level}"]["pass@1"]


def test_its_arithmetic_is_true_whatever_the_target_says(skills: dict[str, Any]) -> None:
    for name, measured in skills.items():
        if name.startswith(("countdown", "chain-sum")):
            assert measured["readable lines"] >= 0.97, name
            assert measured["true lines"] >= 0.97, name
            assert measured["bent lines"] < 0.01, name


def test_its_checks_are_honest(skills: dict[str, Any]) -> None:
    assert skills["checks"]["count"] > 1000
    assert skills["checks"]["right on hits"] >= 0.98
    assert skills["checks"]["right on misses"] >= 0.98


def test_its_next_attempts_are_nearly_as_good_as_its_first(skills: dict[str, Any]) -> None:
    assert skills["next attempts"]["count"] > 1000
    assert skills["next attempts"]["next hits"] >= 0.85 * skills["next attempts"]["first hits"]

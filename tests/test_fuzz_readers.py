"""Readers meet anything: what comes out is what was meant, or an error for the user, never another one.

`RLSP_FUZZ_SECONDS` (as `make fuzz` sets it) is how long all of them together try new inputs; without it each tries the
same few.
"""

from __future__ import annotations

import copy
import gzip
import json
import os
import shutil
import tempfile
import time
import tomllib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rlsp.config import REPOSITORY_RECIPES, PretrainRecipe, Recipe, load, override, to_toml
from rlsp.config.reading import R
from rlsp.errors import InputError
from rlsp.evaluation import grading
from rlsp.files import read_json, read_lines, read_records, write_text
from rlsp.model_checks import check_files
from rlsp.model_files import NANO_BASE
from rlsp.models import load_config, load_tokenizer
from rlsp.rollouts import foreign
from rlsp.runs import Run, read_metrics
from rlsp.tasks.data import scan
from rlsp.types import Demonstration, Problem, Rollout, Score
from tests.broken.data import OWN, ROWS, lines
from tests.broken.recipes import RECIPE
from tests.broken.responses import ANSWERED, DEMONSTRATION, GRADED, ROLLOUT

SECONDS = float(os.environ.get("RLSP_FUZZ_SECONDS", 0))
EXAMPLES = 60
TRIES = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    derandomize=not SECONDS,
    suppress_health_check=list(HealthCheck),
)
SHIPPED = {path.stem: tomllib.loads(path.read_text()) for path in sorted(REPOSITORY_RECIPES.glob("*.toml"))}
RUNS = {name: values for name, values in SHIPPED.items() if "corpus" not in values}
KINDS: dict[str, Any] = {name: Recipe if name in RUNS else PretrainRecipe for name in SHIPPED}
KEYS = sorted(
    {
        f"{section}.{key}"
        for values in RUNS.values()
        for section, keys in values.items()
        if isinstance(keys, dict)
        for key in keys
    }
)

Test = Callable[[pytest.FixtureRequest], None]

text = st.text(st.characters(codec="utf-8"), max_size=20)
strange = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), text,
    st.sampled_from([-1, 0, 1, 2**31, 2**63, 10**30, 1e308, "", "none", "nano", "..", "\x00", "\n\n", "{question}"]),
    st.sampled_from([[], {}]).map(copy.copy),
)  # fmt: skip
anything = st.recursive(strange, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4))


def fuzz(**strategies: st.SearchStrategy[Any]) -> Callable[[Callable[..., None]], Test]:
    """A test of the property on examples of the strategies: a few, or as many as its share of the time allows."""

    def decorate(check: Callable[..., None]) -> Test:
        def test(request: pytest.FixtureRequest) -> None:
            ended = time.monotonic() + SECONDS / len(request.session.items)
            while True:
                TRIES(given(**strategies)(check))()
                if time.monotonic() >= ended:
                    return

        test.__name__, test.__doc__ = check.__name__, check.__doc__
        return test

    return decorate


def places(values: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """The path of every value inside JSON values."""
    inner = values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    return [path, *(place for key, value in inner for place in places(value, (*path, key)))]


@st.composite
def harmed(draw: st.DrawFn, whole: dict[str, Any]) -> dict[str, Any]:
    """The values with some replaced by strange ones, left out, or with others beside them."""
    values = copy.deepcopy(whole)
    for _ in range(draw(st.integers(1, 3))):
        *outer, last = draw(st.sampled_from(places(values)[1:] or [("",)]))
        target: Any = values
        for key in outer:
            target = target[key]
        kind = draw(st.sampled_from(["replace", "remove", "add"]))
        if kind == "add" and isinstance(target, dict):
            target[draw(text)] = draw(anything)
        elif kind == "remove" and last in (target if isinstance(target, dict) else ()):
            del target[last]
        elif last != "":
            target[last] = draw(anything)
    return values


def toml(values: Any) -> str:
    """As a user would write it; what TOML has no word for becomes what it has."""
    if isinstance(values, dict):
        return (
            "{"
            + ", ".join(f"{json.dumps(key, ensure_ascii=False)} = {toml(value)}" for key, value in values.items())
            + "}"
        )
    if isinstance(values, list):
        return "[" + ", ".join(map(toml, values)) + "]"
    if isinstance(values, float):
        return repr(values).replace("e+", "e")
    return '""' if values is None else json.dumps(values, ensure_ascii=False)


def check_recipe(kind: type[R], content: str | bytes, *overrides: str) -> None:
    """A recipe is refused for the user, or is one that its own TOML reads back as."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "r.toml")
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        try:
            recipe = load(kind, str(path), overrides)
        except InputError as error:
            assert str(error).strip() and len(str(error)) < 20_000
            return
        if isinstance(recipe, Recipe):
            write_text(path, to_toml(recipe))
            assert load(Recipe, str(path)) == recipe


@fuzz(content=st.binary(max_size=300))
def test_bytes_are_a_recipe_or_refused(content: bytes) -> None:
    check_recipe(Recipe, content)


@fuzz(tail=text, keep=st.integers(0, len(RECIPE)))
def test_a_recipe_that_is_cut_and_goes_on_otherwise_is_refused_or_read(tail: str, keep: int) -> None:
    check_recipe(Recipe, RECIPE[:keep] + tail)


@fuzz(data=st.data(), name=st.sampled_from(sorted(SHIPPED)))
def test_a_harmed_recipe_is_refused_or_survives_its_own_toml(data: st.DataObject, name: str) -> None:
    values = data.draw(harmed(SHIPPED[name]))
    content = "".join(f"{json.dumps(key, ensure_ascii=False)} = {toml(value)}\n" for key, value in values.items())
    check_recipe(KINDS[name], content)


@fuzz(
    settings_=st.lists(
        st.one_of(text, st.builds("{}={}".format, st.sampled_from(KEYS) | text, text | anything.map(toml))), max_size=3
    ),
    name=st.sampled_from(sorted(RUNS)),
)
def test_any_override_is_taken_or_refused(settings_: list[str], name: str) -> None:
    with suppress(InputError):
        load(Recipe, name, settings_)


@fuzz(value=text)
def test_a_text_that_is_overridden_is_that_text(value: str) -> None:
    assert load(Recipe, "nano", [override("description", value)]).description == value


SCORE = {
    "problem_id": "mine/1", "sample": 0, "verdict": {"correct": True, "answer": "2", "reason": "match"},
    "exploration": {"value": -0.5, "parts": {"length": -0.5}}, "alpha": 0.8, "total": 0.7,
}  # fmt: skip
MANIFEST = {
    "verb": "run", "recipe": RUNS["nano"], "inputs": {}, "stages": {"sft": {"sft/x": "0"}}, "versions": {},
    "python": "", "machine": "", "git": "",
}  # fmt: skip
RECORDS: dict[str, tuple[dict[str, Any], Callable[[Path], object]]] = {
    "problems": (OWN, lambda path: list(read_records(path, Problem))),
    "rollouts": (ROLLOUT, lambda path: list(read_records(path, Rollout))),
    "scores": (SCORE, lambda path: list(read_records(path, Score))),
    "demonstrations": (DEMONSTRATION, lambda path: list(read_records(path, Demonstration))),
    "data": (ROWS[0], lambda path: list(scan(str(path)))),
    "own problems as data": (OWN, lambda path: list(scan(str(path)))),
    "data with tests": (ROWS[0] | {"tests": ["assert f(1) == 2"]}, lambda path: list(scan(str(path), "code"))),
    "responses": (ANSWERED, foreign.read),
    "chat records": ({"messages": [{"role": "user", "content": "1?"}, {"role": "assistant", "content": "1"}],
                      "answer": "1"}, foreign.read),
    "harness samples": ({"doc": {"question": "1?"}, "target": "1", "resps": [["1"]]}, foreign.read),
    "questions": (ROWS[0], foreign.read_problems),
    "verdicts": (GRADED, grading.read_verdicts),
    "metrics": ({"step": 1, "accuracy": 0.5}, read_metrics),
    "a manifest": (MANIFEST, lambda path: Run(path.parent).recipe()),
    "JSON": ({"a": [1]}, read_json),
}  # fmt: skip


def check_reader(read: Callable[[Path], object], name: str, content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(content)
        with suppress(InputError):
            read(path)


@pytest.mark.parametrize("kind", RECORDS)
def test_harmed_records_are_read_or_refused(kind: str, request: pytest.FixtureRequest) -> None:
    whole, read = RECORDS[kind]

    @fuzz(rows=st.lists(harmed(whole), min_size=1, max_size=3))
    def check(rows: list[dict[str, Any]]) -> None:
        check_reader(read, "manifest.json" if kind == "a manifest" else "r.jsonl", lines(*rows).encode())

    check(request)


MODEL = {name: json.loads((NANO_BASE / name).read_text()) for name in ("config.json", "tokenizer_config.json")}


@fuzz(data=st.data(), name=st.sampled_from(sorted(MODEL)))
def test_a_harmed_model_directory_is_read_or_refused(data: st.DataObject, name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(NANO_BASE, folder, ignore=shutil.ignore_patterns("*.safetensors"), dirs_exist_ok=True)
        Path(folder, "model.safetensors").symlink_to(NANO_BASE / "model.safetensors")
        Path(folder, name).write_text(json.dumps(data.draw(harmed(MODEL[name]))))
        with suppress(InputError):
            check_files(folder, Path(folder), load_config(folder))
            load_tokenizer(folder)


@fuzz(
    content=st.binary(max_size=200) | text.map(str.encode),
    keep=st.integers(0, 2000),
    packed=st.sampled_from([("r.jsonl", bytes), ("r.jsonl.zst", zstandard.compress), ("r.jsonl.gz", gzip.compress)]),
    position=st.integers(0, 2000),
)
def test_a_file_that_is_cut_and_goes_on_otherwise_is_read_or_refused(
    content: bytes, keep: int, packed: tuple[str, Callable[[bytes], bytes]], position: int
) -> None:
    name, pack = packed
    whole = bytearray(pack(lines(ROLLOUT).encode() * 5))
    whole[position % len(whole)] ^= 1 + keep % 255
    for each in (bytes(whole), bytes(whole[:keep]) + content, content):
        check_reader(lambda path: list(read_lines(path)), name, each)
        check_reader(lambda path: list(read_records(path, Rollout)), name, each)

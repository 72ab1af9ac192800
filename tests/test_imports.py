"""Imports go one way, and what needs no torch loads none."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import rlsp

SOURCE = Path(rlsp.__file__).parent

LAYERS = (
    ("errors",),
    ("types",),
    ("config",),
    ("files", "parallel"),
    ("model_files",),
    ("lora",),
    ("model_checks",),
    ("runs", "models", "optim", "checkpoints"),
    ("passes",),
    ("tasks",),
    ("behaviours", "demonstrations", "verifiers", "rollouts", "sft"),
    ("exploration",),
    ("prompts",),
    ("rollouts.native", "rollouts.vllm"),
    ("reward", "evaluation"),
    ("integrations",),
    ("analysis",),
    ("report",),
    ("trackers",),
    ("xray",),
    ("rl",),
    ("engines",),
    ("nano",),
    ("cli",),
    ("__main__",),
)
"""A module imports from the layers above it in this table, and from its own package."""

WITHOUT_TORCH = (
    "rlsp",
    "rlsp.types",
    "rlsp.config",
    "rlsp.runs",
    "rlsp.tasks",
    "rlsp.demonstrations.search",
    "rlsp.verifiers",
    "rlsp.exploration",
    "rlsp.reward",
    "rlsp.xray.plan",
    "rlsp.behaviours.grounded",
    "rlsp.evaluation.evaluate",
    "rlsp.report",
    "rlsp.cli",
)


def modules() -> dict[str, Path]:
    """Every module by its name within the package; a package goes by its folder's name."""
    found = {}
    for path in sorted(SOURCE.rglob("*.py")):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    del found[""]
    return found


def imported(path: Path) -> Iterator[str]:
    """The package's own modules that a file imports anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from (name.removeprefix("rlsp.") for name in names if name.startswith("rlsp."))


def third_party(path: Path) -> set[str]:
    """The names of other packages that a file imports anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
    return names - {"rlsp"} - sys.stdlib_module_names


def test_every_package_that_is_imported_is_declared() -> None:
    """What comes only as a dependency of a dependency goes with that one's next version."""
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    optional = project["optional-dependencies"]
    extras = [
        each for extra in ("gym", "judge", "lora", "vllm", "serve", "cluster", "tinker") for each in optional[extra]
    ]
    requirements = [*project["dependencies"], *extras]
    declared = {re.split(r"[^\w.-]", requirement)[0].lower().replace("_", "-") for requirement in requirements}
    names = {"hydra": "hydra-core", "transfer_queue": "transferqueue"}
    used = {
        names.get(name, name).lower().replace("_", "-") for path in SOURCE.rglob("*.py") for name in third_party(path)
    }
    assert "torch" in used
    assert used - declared == set()


def layer(name: str) -> int:
    """The layer of the longest prefix that the table names."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        for number, names in enumerate(LAYERS):
            if ".".join(parts[:end]) in names:
                return number
    raise AssertionError(f"rlsp.{name} stands in no layer: give it one")


@pytest.mark.parametrize(("name", "path"), modules().items(), ids=modules())
def test_imports_go_one_way(name: str, path: Path) -> None:
    package = name.partition(".")[0]
    back = [
        target
        for target in imported(path)
        if target != "__version__" and target.partition(".")[0] != package and layer(target) >= layer(name)
    ]
    assert not back, f"rlsp.{name} imports {back}, which stand beside or after it"


@pytest.mark.parametrize("package", ["evaluation", "behaviours", "report"])
def test_readers_never_import_rl(package: str) -> None:
    readers = [path for name, path in modules().items() if name.partition(".")[0] == package]
    assert readers
    assert not [target for path in readers for target in imported(path) if target.partition(".")[0] == "rl"]


def test_the_table_can_tell() -> None:
    """The checks above see imports inside functions, too."""
    verbs = [path for name, path in modules().items() if name.startswith("cli.")]
    assert any(target.startswith("engines.") for path in verbs for target in imported(path))
    assert layer("rollouts.native") > layer("rollouts.sampler")
    assert layer("rl.loop") > layer("reward") > layer("verifiers.steps") > layer("tasks.traces") > layer("types")


def test_no_torch_and_no_client_where_none_is_needed() -> None:
    script = "import importlib, sys\nheavy = {'torch', 'transformers', 'openai'}\n" + "".join(
        f"importlib.import_module({name!r})\nprint({name!r}, *sorted(heavy & set(sys.modules)))\n"
        for name in WITHOUT_TORCH
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in (str(SOURCE.parent), *sys.path) if path)}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == list(WITHOUT_TORCH), "the first line with more names is the culprit"

"""The run directory: what every stage writes and every reader finds.

    manifest.json                 resolved recipe, fingerprints of its model and data, versions, and of each stage that
                                  is finished its files with their hashes
    problems/{train,test,reserve}.jsonl
    demonstrations.jsonl
    sft/metrics.jsonl, sft/model/
    rl/metrics.jsonl, rl/seconds.jsonl, rl/alarms.jsonl
    rl/model/, rl/rollouts/000001.jsonl.zst, rl/scores/000001.jsonl.zst …
    {sft,rl}/checkpoints/000001/  see checkpoints.py
    rl/diverged/                  what a step failed on, if one did
    evaluation/NAME.json, evaluation/NAME.rollouts.jsonl.zst, evaluation/NAME.scores.jsonl.zst
    report.html
    verl/                         where the engine verl works: what its jobs read, their logs and checkpoints

Files appear whole or not at all (see files.py). Metrics are appended.
"""

from __future__ import annotations

import fcntl
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal, cast

from rlsp import model_files
from rlsp.config import Recipe, restore
from rlsp.errors import InputError
from rlsp.files import check_writable, read_json, read_lines, sha256, sweep, write_json

MANIFEST = "manifest.json"
FREE = (
    "checkpoints.",
    *(f"exploration.judge.{key}" for key in ("api_key_variable", "base_url", "cache", "concurrency", "max_failures")),
    *(f"exploration.judge.{key}" for key in ("retries", "timeout_seconds", "token_budget")),
)
"""Begins the keys that a run may go on with other values of: they decide no token."""
EVALUATION = "evaluation/"
"""Begins the names of the stages that evaluate."""
Verb = Literal["run", "train"]
Engine = Literal["native", "verl", "tinker"]
KINDS = {
    "verb": str,
    "engine": str,
    "recipe": dict,
    "inputs": dict,
    "stages": dict,
    "versions": dict,
    "python": str,
    "machine": str,
    "git": str,
}
"""What a manifest holds."""
SHOWN = 5
"""So many differences between recipes are told."""
LENGTH_BY_LEVEL = "length_by_level"
"""The metric of an RL step that says whether harder problems get longer responses: Spearman's ρ with the level."""
PACKAGES = ("rlsp", "torch", "transformers", "tokenizers", "safetensors")


class Run:
    """A run directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @property
    def name(self) -> str:
        return self.directory.resolve().name

    def path(self, *parts: str) -> Path:
        return self.directory.joinpath(*parts)

    def manifest(self) -> dict[str, Any]:
        """Raises InputError when this is no run directory."""
        path = self.path(MANIFEST)
        if not os.path.isfile(path):  # unlike Path.is_file, of any name
            raise InputError(f"{self.directory!s:.200} is no run directory: it has no {MANIFEST}; give a run's")
        manifest = read_json(path)
        kinds = KINDS.items()
        if not isinstance(manifest, dict) or not all(isinstance(manifest.get(key), kind) for key, kind in kinds):
            raise InputError(f"{self.directory} is no run directory: its {MANIFEST} is not one of rlsp's; give a run's")
        fork = manifest.setdefault("fork", None)
        if fork is not None and not (isinstance(fork, dict) and type(fork.get("step")) is int and "run" in fork):
            raise InputError(f"{path}: fork = {fork!r:.80} names no run and step; put it back from a copy")
        for stage, made in manifest["stages"].items():
            if not isinstance(made, dict) or any(_leaves(name) for name in (stage, *made)):
                raise InputError(f"{path}: stage {stage!r:.80} names what is not in the run; put it back from a copy")
        return manifest

    @property
    def verb(self) -> Verb:
        """The command that goes on with it."""
        return "train" if self.manifest()["verb"] == "train" else "run"

    @property
    def engine(self) -> Engine:
        """What ran it, and goes on with it."""
        return cast(Engine, self.manifest()["engine"])

    def require_native(self) -> None:
        """Raises InputError when another engine made it, which keeps its checkpoints in its own way."""
        if self.engine != "native":
            where = {"verl": "rl/model, a Hugging Face model", "tinker": "its service, by the names in rl/tinker.json"}
            raise InputError(
                f"{self.directory} was made by engine {self.engine!r}, and this needs checkpoints of the native one; "
                f"the trained weights are in {where[self.engine]}"
            )

    @property
    def complete(self) -> bool:
        """Whether its command has nothing left to do."""
        return self.finished("rl" if self.verb == "train" else f"{EVALUATION}self-consistency")

    @property
    def forked_after(self) -> int:
        """The RL steps that the run it was forked from has made; 0 where all are its own."""
        fork = self.manifest()["fork"]
        return fork["step"] if fork else 0

    def recipe(self) -> Recipe:
        return restore(self.manifest()["recipe"], f"{self.path(MANIFEST)}: its recipe can't be read")

    def finished(self, stage: str) -> bool:
        return stage in self.manifest()["stages"]

    def finish(self, stage: str, *products: Path) -> None:
        """Record that `stage` is complete, and the hashes of what it has made (files, or directories of them): a later
        call of the same run skips it."""
        manifest = self.manifest()
        files = sorted(file for each in products for file in (each.rglob("*") if each.is_dir() else [each]))
        made = {str(file.relative_to(self.directory)): sha256(file) for file in files if file.is_file()}
        manifest["stages"] |= {stage: made}
        write_json(self.path(MANIFEST), manifest)

    def check(self) -> None:
        """Raises InputError when a file of a finished stage is no longer what it was."""
        for stage, made in self.manifest()["stages"].items():
            for name, digest in made.items():
                path = self.path(name)
                if not path.is_file() or sha256(path) != digest:
                    what = "is not what it was when" if path.is_file() else "is missing since"
                    raise InputError(
                        f"{path} {what} stage {stage!r} was finished: put it back from a copy, or start over by "
                        "--overwrite"
                    )

    def clear(self, stage: str) -> Path:
        """The stage's directory, emptied of what an unfinished attempt left."""
        directory = self.path(stage)
        if directory.exists():
            shutil.rmtree(directory)
        directory.mkdir(parents=True)
        return directory

    def step_file(self, kind: str, step: int) -> Path:
        """Where the file of one kind (`rollouts`, `scores`, `advantages`) of an RL step is."""
        return self.path("rl", kind, f"{step:06d}.jsonl.zst")

    def step_files(self, kind: str) -> list[Path]:
        """All files of one kind, in order."""
        return sorted(self.path("rl", kind).glob("*.jsonl.zst"))

    def evaluations(self) -> dict[str, dict[str, Any]]:
        """The summary of every finished evaluation that is still there, by name, in the order they were made."""
        names = [stage.removeprefix(EVALUATION) for stage in self.manifest()["stages"] if stage.startswith(EVALUATION)]
        files = {name: self.path("evaluation", f"{name}.json") for name in names}
        return {name: read_json(path) for name, path in files.items() if path.is_file()}


def _leaves(name: str) -> bool:
    """Whether a path, relative to a directory, could lead out of it."""
    return Path(name).is_absolute() or ".." in Path(name).parts


def read_metrics(path: Path) -> list[dict[str, float]]:
    """The numbers of each step; empty without the file.

    Raises:
        InputError: a line is no object of numbers, or names no step.
    """
    if not path.exists():
        return []
    metrics = []
    for number, values in read_lines(path):
        if not isinstance(values, dict) or type(values.get("step")) is not int:
            raise InputError(f"{path}:{number}: metrics of a step are needed, got {values!r:.80}; remove the line")
        for name, value in values.items():
            if type(value) not in (int, float):
                raise InputError(f"{path}:{number}: {name!r:.80} is no number: {value!r:.80}; remove the line")
        metrics.append(values)
    return metrics


def exists(directory: Path) -> bool:
    """Whether there is a run directory; False when there is nothing, or an empty directory.

    Raises:
        InputError: there is something else, which no flag makes us touch.
    """
    if os.path.lexists(directory) and not os.path.isdir(directory):
        raise InputError(f"{directory} is a file, not a directory: give another --out")
    if not os.path.isdir(directory) or not any(directory.iterdir()):
        return False
    try:
        Run(directory).manifest()
    except InputError as error:
        raise InputError(f"{error}; give another --out") from None
    return True


def create(
    directory: Path,
    recipe: Recipe,
    verb: Verb = "run",
    fork: Mapping[str, Any] | None = None,
    engine: Engine = "native",
) -> Run:
    """Make a run directory; what it is about to do stands in its manifest. `verb` and `engine`: what goes on with it;
    `fork`: the `run` and the `step` after which it begins, where it is another one's fork.

    Raises:
        InputError: the directory is in use, or a file of the recipe is missing.
    """
    inputs = _inputs(recipe)
    if exists(directory):
        raise InputError(f"{directory} holds another run: give another --out")
    check_writable(directory, overwrite=True, directory=True)
    directory.mkdir(parents=True, exist_ok=True)
    manifest = {
        "verb": verb,
        "engine": engine,
        "recipe": recipe.model_dump(mode="json"),
        "inputs": inputs,
        "stages": {},
        "versions": {name: _version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "git": _git_revision(),
        "fork": fork,
    }
    write_json(directory / MANIFEST, manifest)
    return Run(directory)


def resume(directory: Path, recipe: Recipe, engine: Engine = "native") -> Run:
    """The run that stands there, to go on with it.

    Raises:
        InputError: it is no run, it was made by another engine or recipe or from another model or data, or files that
            it has made were lost or changed.
    """
    run = Run(directory)
    manifest = run.manifest()
    if run.engine != engine:
        raise InputError(f"{directory} was begun by engine {run.engine!r}: go on with --engine {run.engine}")
    changed = [
        change
        for key, change in (changes(run.recipe(), recipe) | _changed(manifest["inputs"], _inputs(recipe))).items()
        if not key.startswith(FREE)
    ]
    if changed:
        more = f" and {len(changed) - SHOWN} more" if len(changed) > SHOWN else ""
        raise InputError(
            f"{directory} was made by another recipe or from other files: {', '.join(changed[:SHOWN])}{more}; start "
            "over by --overwrite, or give another --out"
        )
    sweep(directory)
    run.check()
    write_json(directory / MANIFEST, manifest | {"recipe": recipe.model_dump(mode="json")})
    return run


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Inside, no other process can lock the directory, which is made if need be.

    Raises:
        InputError: another one has it, it can't be made, or nothing can be written into it.
    """
    check_writable(directory, overwrite=True, directory=True)
    directory.mkdir(parents=True, exist_ok=True)
    check_writable(directory / MANIFEST, overwrite=True)
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"another process is at work in {directory}: wait until it has ended, or give another --out"
            ) from None
        yield
    finally:
        os.close(descriptor)


def changes(then: Recipe, now: Recipe) -> dict[str, str]:
    """The keys that differ, and how: "rl.steps was 50 and is 60"."""
    return _changed(settings(then), settings(now))


def settings(recipe: Recipe) -> dict[str, Any]:
    """The recipe's values by dotted key."""
    return _flat(recipe.model_dump(mode="json"))


def _changed(then: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, str]:
    return {
        key: f"{key} was {then.get(key)!r} and is {now.get(key)!r}"
        for key in sorted(then.keys() | now.keys())
        if then.get(key) != now.get(key)
    }


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested sections as dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def remove(directory: Path, recipe: Recipe) -> None:
    """Delete what is in a run directory, to start over.

    Raises:
        InputError: the recipe reads its model or its problems from inside it.
    """
    for path in (model_files.resolve(recipe.model.path), *recipe.files):
        if path.resolve().is_relative_to(directory.resolve()):
            raise InputError(f"{path} lies in {directory}, which --overwrite would delete: give another --out")
    for each in directory.iterdir():
        shutil.rmtree(each) if each.is_dir() and not each.is_symlink() else each.unlink()


def _inputs(recipe: Recipe) -> dict[str, str]:
    """Fingerprints of what the recipe reads."""
    inputs = {"model's files": model_files.fingerprint(model_files.resolve(recipe.model.path))}
    return inputs | {f"file {path}": model_files.fingerprint(path) for path in recipe.files}


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _git_revision() -> str:
    """The checkout this package runs from, `-dirty` when it was changed; "unknown" for an installed package."""
    checkout = Path(__file__).parents[2]
    if not (checkout / ".git").exists():
        return "unknown"
    command = ["git", "-C", str(checkout), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=5)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return done.stdout.strip() if done.returncode == 0 else "unknown"

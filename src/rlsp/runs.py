"""The run directory: what every stage writes and every reader finds.

    manifest.json                 resolved recipe, fingerprints of its model and data, versions, stages finished
    problems/{train,test}.jsonl
    demonstrations.jsonl
    sft/metrics.jsonl, sft/model/
    rl/metrics.jsonl, rl/alarms.jsonl, rl/at-alarm/ (where an alarm ended it)
    rl/model/, rl/rollouts/000001.jsonl.zst, rl/scores/000001.jsonl.zst …
    evaluation/NAME.json, evaluation/NAME.rollouts.jsonl.zst, evaluation/NAME.scores.jsonl.zst
    report.html

Files appear whole or not at all: they are written beside their place and renamed into it. Metrics are appended.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import platform
import shutil
import subprocess
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

import zstandard
from pydantic import ValidationError

from rlsp import checkpoints
from rlsp.config import Recipe
from rlsp.errors import InputError
from rlsp.types import from_json, to_json

T = TypeVar("T")
MANIFEST = "manifest.json"
AT_ALARM = ("rl", "at-alarm")
"""Where an alarm that pauses training saves the policy."""
ZST_PIECE = 1 << 14
"""Bytes of a `.zst` file that are decompressed at a time."""
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
        if not path.is_file():
            raise InputError(f"{self.directory} is no run directory: it has no {MANIFEST}")
        manifest = read_json(path)
        if not isinstance(manifest, dict) or not manifest.keys() >= {"recipe", "inputs", "stages"}:
            raise InputError(f"{self.directory} is no run directory: its {MANIFEST} is not one of rlsp's")
        return manifest

    def recipe(self) -> Recipe:
        try:
            return Recipe.model_validate(self.manifest()["recipe"])
        except ValidationError as error:
            raise InputError(f"{self.path(MANIFEST)}: its recipe can't be read: {error}") from None

    def finished(self, stage: str) -> bool:
        return stage in self.manifest()["stages"]

    def finish(self, stage: str) -> None:
        """Record that `stage` is complete: a later call of the same run skips it."""
        manifest = self.manifest()
        manifest["stages"] = [*manifest["stages"], stage]
        write_json(self.path(MANIFEST), manifest)

    def clear(self, stage: str) -> Path:
        """The stage's directory, emptied of what an unfinished attempt left."""
        directory = self.path(stage)
        if directory.exists():
            shutil.rmtree(directory)
        directory.mkdir(parents=True)
        return directory

    def step_files(self, kind: str) -> list[Path]:
        """The files of one kind (`rollouts`, `scores`) over RL steps, in order."""
        return sorted(self.path("rl", kind).glob("*.jsonl.zst"))

    def evaluations(self) -> dict[str, dict[str, Any]]:
        """Every evaluation's summary by name."""
        files = sorted(self.path("evaluation").glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
        return {path.stem: read_json(path) for path in files}


def exists(directory: Path) -> bool:
    """Whether there is a run directory; False when there is nothing, or an empty directory.

    Raises:
        InputError: there is something else, which no flag makes us touch.
    """
    if directory.exists() and not directory.is_dir():
        raise InputError(f"{directory} is a file, not a directory: give another --out")
    if not directory.exists() or not any(directory.iterdir()):
        return False
    try:
        Run(directory).manifest()
    except InputError as error:
        raise InputError(f"{error}; give another --out") from None
    return True


def create(directory: Path, recipe: Recipe) -> Run:
    """Make a run directory; what it is about to do stands in its manifest.

    Raises:
        InputError: the directory is in use, or a file of the recipe is missing.
    """
    inputs = _inputs(recipe)
    if exists(directory):
        raise InputError(f"{directory} holds another run: give another --out")
    check_writable(directory, overwrite=True)
    directory.mkdir(parents=True, exist_ok=True)
    manifest = {
        "recipe": recipe.model_dump(mode="json"),
        "inputs": inputs,
        "stages": [],
        "versions": {name: _version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "git": _git_revision(),
    }
    write_json(directory / MANIFEST, manifest)
    return Run(directory)


def resume(directory: Path, recipe: Recipe) -> Run:
    """The run that stands there, to go on with it.

    Raises:
        InputError: it is no run, it was made by another recipe or from another model or data, or an alarm paused it and
            the policy saved then would be lost.
    """
    run = Run(directory)
    manifest = run.manifest()
    if (saved := run.path(*AT_ALARM)).exists():
        raise InputError(
            f"an alarm paused {directory}, and RL can't go on where it was: it would begin again and delete the policy "
            f"saved in {saved}. Begin a new training with that policy by `rlsp train RECIPE --set model.path={saved} "
            "--set seed=N --out` another directory; or move the policy elsewhere to repeat this RL; or start over by "
            "--overwrite"
        )
    then = _flat(manifest["recipe"]) | manifest["inputs"]
    now = _flat(recipe.model_dump(mode="json")) | _inputs(recipe)
    changed = [
        f"{key} was {then.get(key)!r} and is {now.get(key)!r}"
        for key in sorted(then.keys() | now.keys())
        if then.get(key) != now.get(key)
    ]
    if changed:
        raise InputError(
            f"{directory} was made by another recipe or from other files: {', '.join(changed)}; start over by "
            "--overwrite, or give another --out"
        )
    return run


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested sections as dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def check_writable(path: Path, overwrite: bool, read: Iterable[Path | None] = ()) -> None:
    """Raises InputError, before any work, when `path` can't become a file or directory of results: it is one of the
    files that are `read`, it exists and may not be overwritten, or its parent is none."""
    if path.exists() and not overwrite:
        raise InputError(f"{path} exists: replace it by --overwrite, or give another --out")
    if any(each is not None and each.resolve() == path.resolve() for each in read):
        raise InputError(f"{path} is what is read: results would replace it; give another --out")
    parent = next(each for each in path.absolute().parents if each.exists())
    try:
        with tempfile.TemporaryFile(dir=parent):
            pass
    except OSError as error:
        raise InputError(f"{path} can't be written into {parent}: {error.strerror}; give another --out") from None


def remove(directory: Path, recipe: Recipe) -> None:
    """Delete a run, to start over.

    Raises:
        InputError: the recipe reads its model or its problems from inside it.
    """
    for path in (checkpoints.resolve(recipe.model.path), *recipe.task.files):
        if path.resolve().is_relative_to(directory.resolve()):
            raise InputError(f"{path} lies in {directory}, which --overwrite would delete: give another --out")
    shutil.rmtree(directory)


def _inputs(recipe: Recipe) -> dict[str, str]:
    """Fingerprints of what the recipe reads."""
    inputs = {"model's files": checkpoints.fingerprint(checkpoints.resolve(recipe.model.path))}
    return inputs | {f"file {path}": checkpoints.fingerprint(path) for path in recipe.task.files}


def write_json(path: Path, value: Any) -> None:
    _replace(path, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())


def write_text(path: Path, text: str) -> None:
    _replace(path, text.encode())


def read_json(path: Path) -> Any:
    """Raises InputError on a missing or broken file."""
    try:
        return _parse(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: can't be read as JSON: {error}") from None


def write_records(path: Path, records: Iterable[Any]) -> None:
    """Dataclasses as JSONL, compressed when the name ends in `.zst` or `.gz`."""
    lines = "".join(json.dumps(to_json(record)) + "\n" for record in records).encode()
    _replace(path, _compress(lines, path.suffix))


def read_records(path: Path, cls: type[T]) -> Iterator[T]:
    """The records of a JSONL file, plain, `.zst` or `.gz`.

    Raises:
        InputError: a missing file, or a line that is not such a record.
    """
    for number, values in read_lines(path):
        yield from_json(cls, values, where=f"{path}:{number}")


def read_lines(path: Path) -> Iterator[tuple[int, Any]]:
    """(line number, JSON value) of each line of a JSONL file, plain, `.zst` or `.gz`.

    Raises:
        InputError: the file can't be read, or a line is no JSON.
    """
    try:
        text = _decompress(path.read_bytes(), path.suffix).decode("utf-8-sig")
    except (OSError, EOFError, ValueError, zlib.error, zstandard.ZstdError) as error:
        reason = getattr(error, "strerror", None) or error  # an OSError's text repeats the path
        raise InputError(f"{path}: can't be read as JSONL: {reason}") from None
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                yield number, _parse(line)
            except ValueError as error:
                raise InputError(f"{path}:{number}: not JSON: {error}; write one whole object a line") from None


def _parse(text: str) -> Any:
    """Raises ValueError when the text is no JSON, or nested deeper than the parser goes."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _compress(content: bytes, suffix: str) -> bytes:
    if suffix == ".gz":
        return gzip.compress(content, mtime=0)
    return zstandard.ZstdCompressor(level=3).compress(content) if suffix == ".zst" else content


def _decompress(content: bytes, suffix: str) -> bytes:
    """Raises ValueError or EOFError when the compressed data is cut short."""
    if suffix == ".gz":
        return gzip.decompress(content)
    return _decompress_frames(content) if suffix == ".zst" else content


def _decompress_frames(content: bytes) -> bytes:
    """Every frame of `.zst`: files that are appended to, joined or compressed in parallel have several. Fed by pieces,
    since what a frame leaves over is copied.

    Raises:
        ValueError: a frame is cut short, or there is none.
    """
    decompressor = zstandard.ZstdDecompressor()
    frame = decompressor.decompressobj()
    text: list[bytes] = []
    for start in range(0, len(content), ZST_PIECE):
        rest = content[start : start + ZST_PIECE]
        while rest:
            if frame.eof:
                frame = decompressor.decompressobj()
            text.append(frame.decompress(rest))
            rest = frame.unused_data
    if not frame.eof:
        raise ValueError("the compressed data is cut short")
    return b"".join(text)


class MetricsLog:
    """Appends one JSON object a line, flushed at once."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path

    def write(self, metrics: Mapping[str, float]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(dict(metrics)) + "\n")


def _replace(path: Path, content: bytes) -> None:
    """Raises InputError when the file system says no."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise InputError(f"{path} can't be written: {error.strerror or error}; make room, or write elsewhere") from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


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

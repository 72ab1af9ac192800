"""Model directories on disk: where one is, whether it has changed, and how one is written. Loads no torch."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Protocol

from rlsp.errors import InputError
from rlsp.files import whole_directory

NANO_BASE = Path(__file__).parent / "assets" / "nano-base"
GIVE = "give a local Hugging Face model directory, or 'nano'"
EDGE = 2**20
"""Of a longer file, this many bytes at either end make its fingerprint: weights are too long to be read for it."""


class Saveable(Protocol):
    """A Hugging Face model or tokenizer."""

    def save_pretrained(self, save_directory: str | os.PathLike[str]) -> object: ...


def resolve(path: str) -> Path:
    """`nano` is the model that ships with the package; anything else is a local Hugging Face model directory.

    Raises:
        InputError: there is no such directory, or it holds no model, or an adapter.
    """
    directory = NANO_BASE if path == "nano" else Path(os.path.expanduser(path))
    if os.path.isfile(directory / "adapter_config.json"):
        raise InputError(
            f"model {path!r}: {directory} holds an adapter, which would count or not with the packages installed: "
            "merge it into its base model (peft's merge_and_unload), save that and give its directory"
        )
    if not os.path.isfile(directory / "config.json"):  # unlike Path.is_file, of any name
        raise InputError(f"model {path!r:.200}: no config.json in {directory!s:.200}; {GIVE}")
    if not any(directory.glob("*.safetensors")) and not any(directory.glob("*.bin")):
        raise InputError(f"model {path!r}: no weights (*.safetensors) in {directory}; {GIVE}")
    if not any(directory.glob("*.safetensors")):
        raise InputError(
            f"model {path!r}: no *.safetensors in {directory}; weights in pickle files (*.bin) can run code when they "
            "are loaded and are refused: convert them with transformers' save_pretrained"
        )
    return directory


def fingerprint(path: Path) -> str:
    """A short hash that changes when the file does, or the directory's weights or configuration.

    Raises:
        InputError: it can't be read.
    """
    files = sorted([*path.glob("*.safetensors"), path / "config.json"]) if path.is_dir() else [path]
    digest = hashlib.sha256()
    try:
        for file in files:
            size = file.stat().st_size
            digest.update(f"{file.name} {size}\n".encode())
            with file.open("rb") as content:
                digest.update(content.read(EDGE))
                content.seek(max(EDGE, size - EDGE))
                digest.update(content.read())
    except OSError as error:
        raise InputError(f"{path}: can't be read: {error}") from None
    return digest.hexdigest()[:16]


def check_replaceable(directory: Path) -> None:
    """Raises InputError when writing a checkpoint there would delete something that is no checkpoint."""
    if directory.is_dir() and not any(directory.iterdir()):
        return
    if directory.exists() and not (directory / "config.json").is_file():
        raise InputError(f"{directory} exists and is no model directory: give another --out")


def save(model: Saveable, tokenizer: Saveable, directory: Path) -> None:
    """Write a Hugging Face checkpoint whole: beside its place, then renamed into it. A checkpoint that stands there is
    replaced.

    Raises:
        InputError: something else stands there.
    """
    check_replaceable(directory)
    with whole_directory(directory) as beside:
        model.save_pretrained(beside)
        tokenizer.save_pretrained(beside)

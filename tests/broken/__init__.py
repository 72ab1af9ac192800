"""A corpus of broken inputs: what a user may hand over, what the error must say of it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Harm = Callable[[Path], None]
"""Puts what is broken into a folder."""


def nothing(folder: Path) -> None:
    """Leaves the folder empty."""


@dataclass(frozen=True, slots=True)
class Broken:
    """`command`, called in a folder with what `harm` has put there, is refused: the error names the value by `names`
    and what to do by `fix`, both regular expressions."""

    title: str
    command: tuple[str, ...]
    names: str
    fix: str
    harm: Harm = nothing


def write(name: str, content: str | bytes) -> Harm:
    """A file, in the place of what is there."""

    def harm(folder: Path) -> None:
        path = folder / name
        remove(name)(folder)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())

    return harm


def remove(name: str) -> Harm:
    def harm(folder: Path) -> None:
        path = folder / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)

    return harm


def directory(name: str) -> Harm:
    """A directory, with a file in it, in the place of what is there."""
    return both(remove(name), write(f"{name}/mine.txt", "years of work"))


def link(name: str, target: str) -> Harm:
    def harm(folder: Path) -> None:
        remove(name)(folder)
        os.symlink(target, folder / name)

    return harm


def edit(name: str, /, **changes: Any) -> Harm:
    """Other values in a JSON file; dots in a key lead into objects, `...` takes one out."""

    def harm(folder: Path) -> None:
        values = json.loads((folder / name).read_text())
        for key, value in changes.items():
            *outer, last = key.split(".")
            target = values
            for each in outer:
                target = target[each]
            if value is ...:
                del target[last]
            else:
                target[last] = value
        write(name, json.dumps(values))(folder)

    return harm


def cut(name: str, end: int) -> Harm:
    """The file without its last bytes, or with only its first: as a slice ends."""

    def harm(folder: Path) -> None:
        content = (folder / name).read_bytes()
        write(name, content[:end])(folder)

    return harm


def both(*harms: Harm) -> Harm:
    """One after the other."""

    def harm(folder: Path) -> None:
        for each in harms:
            each(folder)

    return harm

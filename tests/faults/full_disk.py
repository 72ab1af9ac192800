"""A disk that is full at every place where a run writes: an error that says so, nothing half-written, and with room
again the run ends as one that always had it. Needs the right to mount a small file system."""

from __future__ import annotations

import contextlib
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rlsp import files
from rlsp.errors import InputError
from tests.faults.harness import differing, finish, products

ROOM = "400m"


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    place = tmp_path_factory.mktemp("disk")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={ROOM}", "tmpfs", str(place)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"can't mount a small file system: {mounted.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def fill(disk: Path) -> None:
    """Leaves no block free."""
    with (disk / "ballast").open("wb", buffering=0) as ballast, contextlib.suppress(OSError):
        while True:
            ballast.write(bytes(1 << 16))
    with (disk / "ballast").open("ab", buffering=0) as ballast, contextlib.suppress(OSError):
        while True:
            ballast.write(b"\0")


class Watched:
    """Every place on the disk where files are written, told of before it writes."""

    def __init__(self, disk: Path, monkeypatch: pytest.MonkeyPatch, before: Callable[[str], None]) -> None:
        beside, write = files._beside, files.JsonLines.write

        def replaced(path: Path) -> Path:
            if path.is_relative_to(disk):
                before(site(path))
            return beside(path)

        def appended(log: files.JsonLines, values: dict[str, object]) -> None:
            before(site(log.path))
            write(log, values)

        monkeypatch.setattr(files, "_beside", replaced)
        monkeypatch.setattr(files.JsonLines, "write", appended)


def site(path: Path) -> str:
    """The kind of file."""
    return re.sub(r"\d+", "N", "/".join(path.parts[-3:]))


def test_every_write_meets_a_full_disk(disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sites: list[str] = []
    with monkeypatch.context() as patched:
        Watched(disk, patched, sites.append)
        finish(disk / "whole")
    wanted = products(disk / "whole")
    kinds = list(dict.fromkeys(sites))
    assert len(kinds) > 12, kinds
    for kind in kinds:
        for nth in {1, sites.count(kind)}:
            check(disk, kind, nth, wanted, monkeypatch)
    print(f"\n{len(kinds)} write sites: {', '.join(kinds)}")


def check(disk: Path, kind: str, nth: int, wanted: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    directory, seen = disk / "full", 0

    def before(found: str) -> None:
        nonlocal seen
        seen += found.replace("full", "whole") == kind
        if seen == nth and not (disk / "ballast").exists():
            fill(disk)

    with monkeypatch.context() as patched:
        Watched(disk, patched, before)
        try:
            finish(directory)
        except InputError as error:
            assert "No space left on device" in str(error) or "os error 28" in str(error), error
        else:
            raise AssertionError(f"{kind}, {nth}: the run came to its end on a full disk")
    (disk / "ballast").unlink()
    left = list(directory.rglob("*.part"))
    assert left == [], left
    finish(directory)
    assert differing(directory, wanted) == [], (kind, nth)
    subprocess.run(["rm", "-r", str(directory)], check=True)

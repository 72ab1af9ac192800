"""A directory that nothing can be written into is refused in one paragraph and left as it is."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.broken.runs import whole
from tests.test_broken_inputs import call, contents


@contextmanager
def sealed(directory: Path) -> Iterator[None]:
    """Inside, nobody can write into it: permissions do not stop root, a mount does."""
    if os.geteuid():
        folders = [directory, *(each for each in directory.rglob("*") if each.is_dir())]
        for each in folders:
            each.chmod(0o555)
        try:
            yield
        finally:
            for each in folders:
                each.chmod(0o755)
        return
    mounted = subprocess.run(["mount", "--bind", directory, directory], capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"can't mount {directory} read-only: {mounted.stderr.strip()}")
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", directory], check=True)
        yield
    finally:
        subprocess.run(["umount", directory], check=True)


@pytest.mark.parametrize(
    ("command", "directory", "named"),
    [
        ("run r.toml --out sealed/new", "sealed", "sealed/new"),
        ("run r.toml --out sealed", "sealed", "sealed/manifest.json"),
        ("train r.toml --out sealed", "sealed", "sealed/manifest.json"),
        ("run r.toml --out run --resume", "run", "run/manifest.json"),
        ("run r.toml --out run --overwrite", "run", "run/manifest.json"),
        ("resume run", "run", "run/manifest.json"),
        ("report run", "run", "run/report.html"),
    ],
)
def test_it_is_named_with_the_reason_and_the_fix(
    command: str, directory: str, named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    whole(tmp_path)
    (tmp_path / "run" / "rl" / ".metrics.json.17.part").write_text("what a killed writer has left")
    (tmp_path / "sealed").mkdir()
    before = contents(tmp_path)
    with sealed(tmp_path / directory):
        code, said = call(tuple(command.split()), monkeypatch)
    assert code == 2, said
    assert said.startswith(f"error: {named} can't be written") and "\n\n" not in said.strip(), said
    assert "Read-only file system" in said or "Permission denied" in said, said
    assert "make it writable, or " in said, said
    assert contents(tmp_path) == before


@pytest.mark.parametrize(
    ("number", "fix"), [(errno.EROFS, "make it writable"), (errno.ENOSPC, "make room"), (errno.EIO, None)]
)
def test_a_disk_that_fails_on_the_way_is_named_or_traced(
    number: int, fix: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a run begins anew, old files go; what is neither full nor read-only is no fault of the user's."""
    monkeypatch.chdir(tmp_path)
    whole(tmp_path)

    def refuse(path: Path, **_: object) -> None:
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr("rlsp.runs.shutil", SimpleNamespace(rmtree=refuse))
    command = ("run", "r.toml", "--out", "run", "--overwrite")
    if fix is None:
        with pytest.raises(OSError, match=os.strerror(number)):
            call(command, monkeypatch)
        return
    code, said = call(command, monkeypatch)
    assert code == 2 and said.startswith("error: run/") and os.strerror(number) in said and fix in said, said

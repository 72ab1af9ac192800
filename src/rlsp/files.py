"""Files that appear whole or not at all, and records as lines of JSON."""

from __future__ import annotations

import contextlib
import errno
import gzip
import hashlib
import json
import os
import shutil
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import zstandard
from safetensors import SafetensorError

from rlsp.errors import InputError
from rlsp.types import from_json, to_json

T = TypeVar("T")
BESIDE = ".part"
"""Ends the name of what is not whole yet."""
FIXES = dict.fromkeys((errno.ENOSPC, errno.EDQUOT), "make room") | dict.fromkeys(
    (errno.EROFS, errno.EACCES, errno.EPERM), "make it writable"
)
"""By the number of what a file system says when it says no."""
ZST_PIECE = 1 << 14
"""Bytes of a `.zst` file that are decompressed at a time."""


def check_writable(
    path: Path,
    overwrite: bool,
    read: Iterable[Path | None] = (),
    directory: bool = False,
    option: str = "--out",
) -> None:
    """Raises InputError, before any work, when `path`, given by `option`, can't become a file (or `directory`) of
    results: it is, or is in, what is `read`, it exists and may not be overwritten or is of the other kind, or its
    parent is none."""
    exists = True
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        exists = False
    except OSError as error:
        raise InputError(f"{str(path)!r:.200} can't be written: {error.strerror}; give another {option}") from None
    if exists and not overwrite:
        raise InputError(f"{path} exists: replace it by --overwrite, or give another {option}")
    if exists and path.is_dir() is not directory:
        raise InputError(f"{path} is {'no' if directory else 'a'} directory: give another {option}")
    here = Path(os.path.realpath(path))
    for theirs in (Path(os.path.realpath(each)) for each in read if each is not None):
        if here == theirs or (exists and theirs in here.parents):
            raise InputError(f"{path} is what is read: results would replace it; give another {option}")
    parent = next(each for each in path.absolute().parents if each.exists())
    try:
        with tempfile.TemporaryFile(dir=parent):
            pass
    except OSError as error:
        raise InputError(
            f"{path} can't be written into {parent}: {error.strerror}; make it writable, or give another {option}"
        ) from None


def write_json(path: Path, value: Any) -> None:
    write_bytes(path, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())


def write_text(path: Path, text: str) -> None:
    write_bytes(path, text.encode())


def read_json(path: Path) -> Any:
    """Raises InputError on a missing or broken file."""
    try:
        return _parse(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: can't be read as JSON: {_unreadable(error)}") from None


def write_records(path: Path, records: Iterable[Any]) -> None:
    """Dataclasses as JSONL, compressed when the name ends in `.zst` or `.gz`."""
    lines = "".join(json.dumps(to_json(record)) + "\n" for record in records).encode()
    write_bytes(path, _compress(lines, path.suffix))


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
    for number, line in enumerate(_read(path).split("\n"), 1):
        if line.strip():
            try:
                yield number, _parse(line)
            except ValueError as error:
                told = f"{error.msg} at character {error.colno}" if isinstance(error, json.JSONDecodeError) else error
                raise InputError(f"{path}:{number}: not JSON: {told}; write one whole object a line") from None


def check_whole(path: Path) -> None:
    """Raises InputError when a JSONL file is missing or its compressed data is not what was written."""
    _read(path)


def _read(path: Path) -> str:
    try:
        return _decompress(path.read_bytes(), path.suffix).decode("utf-8-sig")
    except (OSError, EOFError, ValueError, zlib.error, zstandard.ZstdError) as error:
        raise InputError(f"{path}: can't be read as JSONL: {_unreadable(error)}") from None


def _unreadable(error: Exception) -> str:
    """Why a file can't be read, and what to do."""
    if isinstance(error, UnicodeDecodeError):
        return f"{error}; save it as UTF-8"
    reason = getattr(error, "strerror", None) or error  # an OSError's text repeats the path
    return f"{reason}; give another file, or put it back from a copy"


def _parse(text: str) -> Any:
    """Raises ValueError when the text is no JSON, or nested deeper than the parser goes."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _compress(content: bytes, suffix: str) -> bytes:
    if suffix == ".gz":
        return gzip.compress(content, mtime=0)
    return zstandard.ZstdCompressor(level=3, write_checksum=True).compress(content) if suffix == ".zst" else content


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


class JsonLines:
    """A file to which JSON objects are appended, one a line, on disk at once."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path

    def write(self, values: Mapping[str, Any]) -> None:
        """Raises InputError when the file system says no; half a line may then stand at the end."""
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(dict(values)) + "\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise refused(self.path, error) from None

    def mark(self) -> dict[str, Any]:
        """What `cut` needs to come back to where the file ends now."""
        content = self.path.read_bytes() if self.path.exists() else b""
        return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}

    def holds(self, mark: Mapping[str, Any]) -> bool:
        """Whether the file still begins with what it held at the mark."""
        content = self.path.read_bytes() if self.path.exists() else b""
        return hashlib.sha256(content[: mark["bytes"]]).hexdigest() == mark["sha256"]

    def cut(self, mark: Mapping[str, Any]) -> None:
        """Back to the mark: what came later is gone."""
        if self.path.exists():
            os.truncate(self.path, mark["bytes"])


def write_bytes(path: Path, content: bytes) -> None:
    """Raises InputError when the file system says no."""
    beside = _beside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
        _sync(path.parent)
    except OSError as error:
        raise refused(path, error) from None
    finally:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)


@contextmanager
def whole_directory(path: Path) -> Iterator[Path]:
    """A directory to fill, beside its place: renamed into it at the end, in the place of one that stands there, or
    removed when something goes wrong.

    Raises:
        InputError: the file system says no.
    """
    beside = _beside(path)
    try:
        shutil.rmtree(beside, ignore_errors=True)  # of a killed one with this process's number
        beside.mkdir(parents=True)
        yield beside
        for each in beside.rglob("*"):
            _sync(each)
        _sync(beside)
        if path.exists():
            shutil.rmtree(path)
        beside.rename(path)
        _sync(path.parent)
    except (OSError, SafetensorError) as error:
        raise refused(path, error) from None
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def sweep(directory: Path) -> None:
    """Remove what writers that were killed have left beside their places, anywhere below. Nobody may be writing."""
    for path in list(directory.rglob(f".*{BESIDE}")):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}{BESIDE}")


def refused(path: Path, error: OSError | SafetensorError) -> InputError:
    """That a path can't be written, why, and what helps."""
    number = error.errno if isinstance(error, OSError) else errno.ENOSPC if "os error 28" in str(error) else None
    fix = f"{FIXES[number]}, or " if number in FIXES else ""
    return InputError(f"{path} can't be written: {getattr(error, 'strerror', None) or error}; {fix}write elsewhere")


def _sync(path: Path) -> None:
    """Returns when the file, or the directory's list of names, is on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""Compiles `cpu/` for this machine and a model's sizes when it is first asked for, which takes one to two seconds, and
keeps the library in the user's folder for such things, `$XDG_CACHE_HOME/rlsp` or `~/.cache/rlsp`."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import warnings
from collections.abc import Sequence
from ctypes import CDLL
from pathlib import Path
from tempfile import TemporaryDirectory

from rlsp.errors import InputError
from rlsp.files import write_bytes

SOURCE = Path(__file__).with_name("cpu") / "decode.cpp"
FLAGS = "-O3 -march=native -fopenmp -fno-math-errno -fno-trapping-math -shared -fPIC".split()


def library(**sizes: int) -> CDLL | None:
    """None without g++; or when it fails, or the folder for temporary files may hold no programs, which a warning
    tells."""
    compiler = shutil.which("g++")
    if compiler is None or sys.platform != "linux":
        return None
    flags = [*FLAGS, *(f"-D{name}={size}" for name, size in sizes.items())]
    kept = place(flags)
    return _loaded(kept) or _fresh(compiler, flags, kept)


def place(flags: Sequence[str]) -> Path | None:
    """Where the library of these flags, this source and this processor is kept; None where others could put theirs."""
    digest = hashlib.sha256(" ".join(flags).encode())
    for part in [SOURCE, *sorted(SOURCE.parent.glob("*.h"))]:
        digest.update(part.read_bytes())
    try:
        processor = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n")[0].splitlines()
        told = (line for line in processor if line.startswith(("model name", "flags", "Features")))
        digest.update("".join(told).encode())
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rlsp"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        state = folder.stat()
    except (OSError, RuntimeError):  # there is no home
        return None
    own = state.st_uid == os.getuid() and not state.st_mode & 0o022
    return folder / f"decode-{digest.hexdigest()[:32]}.so" if own else None


def _loaded(kept: Path | None) -> CDLL | None:
    try:
        return CDLL(str(kept)) if kept else None
    except OSError:  # there is none yet, or it is no library
        return None


def _fresh(compiler: str, flags: Sequence[str], kept: Path | None) -> CDLL | None:
    try:
        with TemporaryDirectory() as folder:
            target = Path(folder) / "decode.so"
            subprocess.run([compiler, *flags, SOURCE, "-o", target], capture_output=True, text=True, check=True)
            loaded = CDLL(str(target))
            if kept:
                with contextlib.suppress(InputError):  # it is compiled again, then
                    write_bytes(kept, target.read_bytes())
            return loaded
    except (subprocess.CalledProcessError, OSError) as error:
        reason = error.stderr[:500] if isinstance(error, subprocess.CalledProcessError) else error
        warnings.warn(f"decoding is slower: {SOURCE.name} can't be compiled or loaded: {reason}", stacklevel=4)
        return None

"""Runs a program that a model wrote, in a sandbox made by bubblewrap (https://github.com/containers/bubblewrap).

Inside there is the Python interpreter with its libraries, read-only, and one small tmpfs. There is no network, no other
process, no environment, no capability, no file of the host; seccomp leaves one process with threads, rlimits bound its
memory, time and files. The parent keeps the deadline and kills the pid namespace, so that nothing outlives `run`.

For an ordinary user bubblewrap makes a user namespace. Root gets none: RLIMIT_NPROC does not bind the host's uid 0,
whatever it is called inside, so there the program runs as a user id that owns nothing on the host.
"""

from __future__ import annotations

import contextlib
import functools
import json
import math
import os
import platform
import secrets
import selectors
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import IO, Any

from rlsp.verifiers import sandbox_runner
from rlsp.verifiers.seccomp import AUDIT_ARCHITECTURES, filter_for

START_SECONDS = 30.0
"""How long a sandbox may take to come up before it counts as broken: long, because the machine may be busy."""
EXIT_SECONDS = 1.0
"""What a process gets, beyond its deadline, to end after it closed its outputs."""
WORKING_BYTES = 16 << 20
"""The tmpfs's content. bwrap can't bound the number of its files: even empty ones cost the kernel memory until the
deadline."""
PROCESSES = 64
FILES = 64
STACK_BYTES = 64 << 20
FIRST_UNUSED_USER, UNUSED_USERS = 61184, 4336
"""The range that systemd keeps for users without files, which every container with the usual 65536 ids holds, too."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a program may use: wall and CPU seconds, address space, and bytes on each of its outputs."""

    seconds: float = 5.0
    memory_bytes: int = 1 << 30
    output_bytes: int = 1 << 20


class Ending(StrEnum):
    """How a run ended. NOT_STARTED: the sandbox failed, not the program."""

    EXITED = "exited"
    TIME_LIMIT = "time limit"
    OUTPUT_LIMIT = "output limit"
    NOT_STARTED = "not started"


@dataclass(frozen=True, slots=True)
class Run:
    """What a program left behind. `exit_code` is 128 + n after signal n. `result` is a called function's return value
    as `sandbox_runner.encode` wrote it, b"" when none arrived. All of it is the program's word, and hostile."""

    ending: Ending
    exit_code: int
    stdout: bytes
    stderr: bytes
    result: bytes


@functools.cache
def obstacle() -> str:
    """Why programs can't be isolated here, "" when they can: tried once with an empty program."""
    if sys.platform != "linux" or platform.machine() not in AUDIT_ARCHITECTURES:
        return (
            f"the sandbox needs Linux on {' or '.join(AUDIT_ARCHITECTURES)}, not {sys.platform} on {platform.machine()}"
        )
    for program in ("bwrap", "setpriv") if os.geteuid() == 0 else ("bwrap",):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    outcome = run("")
    if outcome.ending is Ending.EXITED and outcome.exit_code == 0:
        return ""
    return f"bwrap could not start: {outcome.stderr.decode(errors='replace').strip()[:500] or outcome.ending}"


def run(
    program: str,
    *,
    stdin: str = "",
    call: Mapping[str, Any] | None = None,
    limits: Limits | None = None,
    isolated: bool = True,
) -> Run:
    """Run `program` as a script on `stdin` or, with `call` (`function`, and `arguments` as JSON or `arguments_literal`
    as Python), load it and call its function. Not `isolated`, it has limits and a temporary directory, no more."""
    limits = limits or Limits()
    job = {"program": program, "limits": _rlimits(limits, isolated), **(call or {})}
    with contextlib.ExitStack() as stack:
        job_file = stack.enter_context(_readable(json.dumps(job).encode("ascii")))
        stdin_file = stack.enter_context(_readable(stdin.encode(errors="surrogatepass")))
        result_pipe, result_end = (os.fdopen(each, mode) for each, mode in zip(os.pipe(), ("rb", "wb"), strict=True))
        stack.enter_context(result_pipe)
        stack.enter_context(result_end)
        handed = [job_file.fileno(), result_end.fileno()]
        command = [*_PYTHON, "-c", _runner_source(), *map(str, handed)]
        if isolated:
            filter_file = stack.enter_context(_readable(filter_for(platform.machine())))
            handed.append(filter_file.fileno())
            command = [*_bubblewrap(), "--seccomp", str(filter_file.fileno()), "--", *_as_nobody(), *command]
            directory = "/"
        else:
            directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="rlsp-", ignore_cleanup_errors=True))
        process = subprocess.Popen(
            command,
            stdin=stdin_file,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=handed,
            env={"PYTHONHASHSEED": "0"},
            cwd=directory,
            start_new_session=True,
        )
        result_end.close()
        with process:
            try:
                return _watch(process, result_pipe, limits)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)


def _watch(process: subprocess.Popen[bytes], result_pipe: IO[bytes], limits: Limits) -> Run:
    """Read what comes until every output is closed and the process has ended, or a limit is reached."""
    assert process.stdout and process.stderr
    pipes = {"stdout": process.stdout, "stderr": process.stderr, "result": result_pipe}
    outputs = {name: bytearray() for name in pipes}
    started = False
    deadline = time.monotonic() + START_SECONDS
    ending = Ending.EXITED
    with selectors.DefaultSelector() as selector:
        for name, pipe in pipes.items():
            selector.register(pipe, selectors.EVENT_READ, name)
        while selector.get_map() and ending is Ending.EXITED:
            for key, _ in selector.select(max(0.0, deadline - time.monotonic())):
                output = outputs[key.data]
                if chunk := os.read(key.fd, 1 << 16):
                    output += chunk
                else:
                    selector.unregister(key.fileobj)
                if len(output) > limits.output_bytes:
                    ending = Ending.OUTPUT_LIMIT
            if not started and outputs["result"]:
                started = True
                deadline = time.monotonic() + limits.seconds
            # After reading: a program that was done in time is not blamed for our being late.
            if selector.get_map() and time.monotonic() > deadline:
                ending = ending if ending is Ending.OUTPUT_LIMIT else Ending.TIME_LIMIT
    try:
        code = process.wait(max(EXIT_SECONDS, deadline - time.monotonic()) if ending is Ending.EXITED else 0.0)
    except subprocess.TimeoutExpired:
        code, ending = -signal.SIGKILL, Ending.TIME_LIMIT if ending is Ending.EXITED else ending
    return Run(
        ending if started else Ending.NOT_STARTED,
        code if code >= 0 else 128 - code,
        bytes(outputs["stdout"]),
        bytes(outputs["stderr"]),
        bytes(outputs["result"]).removeprefix(sandbox_runner.STARTED),
    )


def _rlimits(limits: Limits, isolated: bool) -> dict[str, tuple[int, int]]:
    """(soft, hard) by the name in `resource`. CPU time only catches what the wall deadline, kept outside, would miss: a
    program that keeps several cores busy."""
    cpu_seconds = math.ceil(limits.seconds) + 1
    values = {
        "RLIMIT_AS": (limits.memory_bytes, limits.memory_bytes),
        "RLIMIT_CPU": (cpu_seconds, cpu_seconds + 1),
        "RLIMIT_FSIZE": (WORKING_BYTES, WORKING_BYTES),
        "RLIMIT_NOFILE": (FILES, FILES),
        "RLIMIT_CORE": (0, 0),
        "RLIMIT_STACK": (STACK_BYTES, STACK_BYTES),
    }
    # Outside a sandbox this would count the user's other processes.
    return values | {"RLIMIT_NPROC": (PROCESSES, PROCESSES)} if isolated else values


@contextlib.contextmanager
def _readable(content: bytes) -> Iterator[IO[bytes]]:
    """A file without a name that holds `content`. A memfd where there is one: its mode lets the program's own user
    reopen it, as `open("/dev/stdin")` does."""
    with os.fdopen(os.memfd_create("input"), "w+b") if sys.platform == "linux" else tempfile.TemporaryFile() as file:
        file.write(content)
        file.seek(0)
        yield file


_INTERPRETER = os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable)
_PYTHON = (_INTERPRETER, "-s", "-P", "-S", "-B", "-X", "utf8")
"""Like `-I`, but for the environment, which is empty but for the hash seed."""


@functools.cache
def _runner_source() -> str:
    return Path(sandbox_runner.__file__).read_text(encoding="utf-8")


def _bubblewrap() -> list[str]:
    """bwrap's options. What is writable has a size: the root and /dev, which can't be given one, are read-only."""
    options = [
        _program("bwrap"),
        "--unshare-ipc",
        "--unshare-net",
        "--unshare-pid",
        "--unshare-uts",
        "--unshare-cgroup-try",
    ]
    options += ["--die-with-parent", "--new-session", "--clearenv", "--setenv", "PYTHONHASHSEED", "0"]
    options += ["--hostname", "sandbox", "--cap-drop", "ALL"]
    if os.geteuid() == 0:
        options += ["--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID"]
    else:
        options += ["--unshare-user", "--disable-userns", "--uid", "65534", "--gid", "65534"]
    options += ["--size", str(WORKING_BYTES), "--perms", "1777", "--tmpfs", "/tmp", "--proc", "/proc", "--dev", "/dev"]
    return [*options, *_mounts(), "--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/tmp"]


def _mounts() -> Iterator[str]:
    """/usr with the links that lead there, and the interpreter's installation where it lies elsewhere."""
    yield from ("--ro-bind", "/usr", "/usr", "--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache")
    for library in (Path("/lib"), Path("/lib32"), Path("/lib64")):
        if library.is_symlink():
            yield from ("--symlink", os.readlink(library), str(library))
        elif library.is_dir():
            yield from ("--ro-bind", str(library), str(library))
    prefix = Path(os.path.realpath(sys.base_prefix))
    if not prefix.is_relative_to("/usr"):
        # bwrap would give the directories above it the host's modes, which may shut the program's user out.
        for parent in [*reversed(prefix.parents)][1:]:
            yield from ("--dir", str(parent))
        yield from ("--ro-bind", str(prefix), str(prefix))
    for packages in installed_packages():
        yield from ("--tmpfs", str(packages), "--remount-ro", str(packages))


def installed_packages() -> list[Path]:
    """Where the interpreter that runs programs would find packages; programs get the standard library alone."""
    base = os.path.realpath(sys.base_prefix)
    places = {Path(sysconfig.get_path(name, vars={"base": base, "platbase": base})) for name in ("purelib", "platlib")}
    places |= {path for root in ("/usr", "/usr/local") for path in Path(root, "lib").glob("python3*/*-packages")}
    return sorted(path for path in places if path.is_dir())


def _program(name: str) -> str:
    """Where a program lies: its environment has no PATH to look it up by."""
    return os.path.realpath(shutil.which(name) or name)


def _as_nobody() -> list[str]:
    """What root puts before the command, inside the sandbox."""
    if os.geteuid() != 0:
        return []
    user = str(FIRST_UNUSED_USER + secrets.randbelow(UNUSED_USERS))
    return [_program("setpriv"), "--reuid", user, "--regid", user, "--clear-groups", "--inh-caps=-all", "--"]

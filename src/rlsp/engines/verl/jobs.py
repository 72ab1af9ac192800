"""One piece of work for verl, in processes of its own: a directory with everything it reads, and its log."""

from __future__ import annotations

import ctypes
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from rlsp.engines.verl.files import LOG, SETTINGS
from rlsp.errors import JobFailed
from rlsp.files import write_json
from rlsp.verifiers.pool.worker import PR_SET_PDEATHSIG

POLL_SECONDS = 0.5
PATIENCE_SECONDS = 30.0
"""Between asking a job to end and killing it."""
SHOWN_LINES = 15
METRICS = "metrics-{}.jsonl"
"""What verl's SFT logs, the first time and after each resume."""
RAISED = re.compile(r"[\w.]*(Error|Exception)\b[^:]*: ")
"""The last line of a traceback; what workers say has a prefix, and warnings of verl's name errors, too."""
LIBC = ctypes.CDLL(None)


def write(folder: Path, settings: Mapping[str, Any]) -> None:
    """The settings of a job."""
    write_json(folder / SETTINGS, dict(settings))


def reinforcement(folder: Path) -> list[str]:
    """The command of RL or of an evaluation."""
    return [sys.executable, "-m", "rlsp.engines.verl.runner", str(folder)]


def finetuning(folder: Path, gpus: int) -> list[str]:
    """The command of SFT, on the GPUs of this node."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(gpus)]
    return [*launcher, "-m", "rlsp.engines.verl.sft", str(folder)]


def sft_metrics(folder: Path, steps: int) -> list[dict[str, float]]:
    """What verl has logged of its `steps` steps of SFT, in order. Each time that it went on it has begun a log anew; of
    steps that were done again the later ones count."""
    told: dict[int, dict[str, float]] = {}
    for number in range(len(list(folder.glob(METRICS.format("*"))))):
        for line in (folder / METRICS.format(number)).read_bytes().splitlines(keepends=True):
            if not line.endswith(b"\n"):  # still being written
                continue
            values = json.loads(line)
            found = values["data"]
            if "train/loss" not in found:  # of a validation
                continue
            told[values["step"]] = {
                "step": values["step"],
                "steps": steps,
                "loss": found["train/loss"],
                "grad_norm": found["train/grad_norm"],
                "tokens": found["train/global_tokens"],
            }
    return [told[step] for step in sorted(told)]


def run(
    folder: Path, command: list[str], watch: Callable[[], None], environment: Mapping[str, str] | None = None
) -> None:
    """Wait for the command; `watch` is called while it runs. Whatever ends the waiting, or kills who waits, ends the
    job's processes.

    Raises:
        JobFailed: it has ended with an error.
    """
    log = folder / LOG
    with log.open("ab") as file:
        begun = file.tell()
        process = subprocess.Popen(
            command,
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
            preexec_fn=partial(LIBC.prctl, PR_SET_PDEATHSIG, signal.SIGTERM),
        )
        try:
            while process.poll() is None:
                time.sleep(POLL_SECONDS)
                watch()
        finally:
            _end(process)
    watch()
    if process.returncode:
        lines = log.read_bytes()[begun:].decode(errors="replace").splitlines()
        told = [line for line in lines if RAISED.match(line)][-1:] or lines[-SHOWN_LINES:]
        raise JobFailed(f"verl ended with code {process.returncode}: {' '.join(told)[:500]}; see {log}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """The whole session ends with its leader."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

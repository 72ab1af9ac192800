"""The analysis of a run as it stands in its directory."""

from __future__ import annotations

from dataclasses import dataclass

from rlsp.analysis.analyze import Analysis
from rlsp.analysis.attempts import Attempts
from rlsp.analysis.effects import Effect
from rlsp.errors import InputError
from rlsp.files import read_json, write_json
from rlsp.runs import Run
from rlsp.types import from_json, to_json

FILE = "analysis.json"
TRAINED = ("rlsp", "sft")
"""The model that is analysed: the first of these evaluations that a run holds."""


@dataclass(frozen=True, slots=True)
class RunAnalysis:
    """`trained` names the evaluation that is analysed. `effects` are of its behaviours, `attempts` of it and of what
    it came from; empty when nothing was sampled."""

    trained: str
    analysis: Analysis
    effects: list[Effect]
    attempts: list[Attempts]


def write(run: Run, found: RunAnalysis) -> None:
    write_json(run.path(FILE), to_json(found))


def read(run: Run) -> RunAnalysis | None:
    """None before there is one. Raises InputError when the file holds something else."""
    path = run.path(FILE)
    if not path.is_file():
        return None
    try:
        return from_json(RunAnalysis, read_json(path), str(path))
    except InputError as error:
        raise InputError(f"{error}; make it anew by `rlsp analyze {run.directory} --overwrite`") from None

"""Arguments that several verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from rlsp.errors import InputError
from rlsp.runs import Engine
from rlsp.verifiers.settings import STRICT, Settings

RecipeArgument = Annotated[str, typer.Argument(help="A recipe's TOML file, or the name of one that ships: nano …")]
SetOption = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a recipe's key.")]
RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="A run directory.")]
StepOption = Annotated[
    str | None, typer.Option(metavar="N|best", help="The RL step; by default the newest whole checkpoint's.")
]
ResumeOption = Annotated[bool, typer.Option("--resume", help="Go on with an existing run directory.")]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Delete an existing run directory first.")]
EngineOption = Annotated[
    Engine,
    typer.Option(
        "--engine", help="What trains: this process, verl on [cluster], or a Tinker service (see docs/scale.md)."
    ),
]
ReplaceOption = Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")]
OutRun = Annotated[Path, typer.Option("--out", help="The directory that the run goes into.")]
OutFile = Annotated[Path, typer.Option("--out", help="Where to write.")]

ProblemsOption = Annotated[
    Path | None, typer.Option("--problems", help="JSONL of the problems, for responses that lack their questions.")
]
VerifierOption = Annotated[
    str | None, typer.Option("--verifier", help="The judge; by default the problems' own, else math.")
]
LenientOption = Annotated[bool, typer.Option("--lenient", help="Also take an answer that is not marked as one.")]
DeadlineOption = Annotated[float, typer.Option("--deadline", min=0.01, help="Seconds for one judgement.")]
TrustOption = Annotated[
    bool, typer.Option("--i-trust-this-code", help="Run model-written programs without a sandbox where none is.")
]
RisksOption = Annotated[
    bool,
    typer.Option("--accept-reward-risks", help="Start although the reward ranks standard responses wrongly."),
]


def judging(lenient: bool = False, deadline: float = STRICT.deadline_seconds, trusted_code: bool = False) -> Settings:
    """How the verb was told to judge."""
    return Settings("lenient" if lenient else "strict", deadline, trusted_code)


def step_or_best(text: str | None) -> int | Literal["best"] | None:
    """Raises InputError when a --step is neither a number nor `best`."""
    if text is None:
        return None
    if text == "best":
        return "best"
    if not text.isdecimal():
        raise InputError(f"--step {text!r}: give the number of an RL step, or best")
    return int(text)

"""`rlsp resume`: go on with a run, by the recipe in its manifest."""

from __future__ import annotations

from pathlib import Path

from rlsp.cli import run as whole
from rlsp.cli import train as alone
from rlsp.cli.options import RisksOption, RunArgument, TrustOption, judging
from rlsp.runs import Run
from rlsp.verifiers.settings import Settings


def resume(run: RunArgument, trust: TrustOption = False, accept_risks: RisksOption = False) -> None:
    """Go on with a run where it stopped: from its newest whole checkpoint, by the recipe that it was begun with."""
    go_on(run, judging(trusted_code=trust), accept_risks)


def go_on(directory: Path, judge: Settings, accept_risks: bool) -> None:
    """As the command did that began it."""
    there = Run(directory)
    if there.verb == "run":
        whole.execute(there.recipe(), directory, True, False, judge, accept_risks, there.engine)
    else:
        alone.execute(there.recipe(), directory, resume=True, overwrite=False, judge=judge, accept_risks=accept_risks)

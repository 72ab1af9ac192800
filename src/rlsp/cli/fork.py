"""`rlsp fork`: another future for a run."""

from __future__ import annotations

from rlsp import runs
from rlsp.cli.options import (
    OutRun,
    RisksOption,
    RunArgument,
    SetOption,
    StepOption,
    TrustOption,
    judging,
    step_or_best,
)
from rlsp.cli.progress import console
from rlsp.cli.resume import go_on
from rlsp.config import changed
from rlsp.errors import InputError
from rlsp.runs import Run


def fork(
    run: RunArgument,
    out: OutRun,
    settings: SetOption = None,
    step: StepOption = None,
    trust: TrustOption = False,
    accept_risks: RisksOption = False,
) -> None:
    """Begin a new run from a checkpoint of another one's RL, with other settings if you like, and go on with it."""
    source, wanted = Run(run), step_or_best(step)
    recipe = changed(source.recipe(), settings or [])
    from rlsp.engines import fork as forks
    from rlsp.engines import preflight

    forks.check(source, recipe)
    preflight.check(recipe, judging(trusted_code=trust), accept_risks)
    checkpoint = forks.checkpoint_of(source, wanted)
    with runs.locked(out):
        if runs.exists(out):
            raise InputError(f"{out} exists: give another --out, or go on with it by `rlsp resume {out}`")
        forks.fork(source, checkpoint, recipe, out)
    console.print(f"{out} begins after step {checkpoint.step} of {run}", soft_wrap=True)
    go_on(out, judging(trusted_code=trust), accept_risks)

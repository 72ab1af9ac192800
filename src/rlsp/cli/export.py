"""`rlsp export`: a checkpoint's policy as a Hugging Face model."""

from __future__ import annotations

from rlsp import model_files
from rlsp.cli.options import OutFile, ReplaceOption, RunArgument, StepOption, step_or_best
from rlsp.cli.progress import console
from rlsp.files import check_writable
from rlsp.runs import Run


def export(run: RunArgument, out: OutFile, step: StepOption = None, overwrite: ReplaceOption = False) -> None:
    """Write the policy of an RL checkpoint as a Hugging Face model directory."""
    source, wanted = Run(run), step_or_best(step)
    check_writable(out, overwrite)
    model_files.check_replaceable(out)
    from rlsp.engines import fork, stages

    checkpoint = fork.checkpoint_of(source, wanted)
    stages.policy_at(source, checkpoint).save(out)
    console.print(f"the policy after step {checkpoint.step}: {out}", soft_wrap=True)

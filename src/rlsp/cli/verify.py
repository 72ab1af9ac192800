"""`rlsp verify`: how far verdicts can be trusted."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rlsp.cli.audit_tables import print_agreement, print_disagreements, print_errors, print_slowest, print_unjudged
from rlsp.cli.options import (
    DeadlineOption,
    LenientOption,
    ProblemsOption,
    ReplaceOption,
    TrustOption,
    VerifierOption,
    judging,
)
from rlsp.files import check_writable, write_records
from rlsp.verifiers.settings import STRICT

app = typer.Typer(help="How far verdicts can be trusted.", no_args_is_help=True)

AgainstOption = Annotated[
    str,
    typer.Option(
        "--against",
        metavar="GRADER",
        help="The second grader: a verifier, published, package.module:function, or a file of verdicts.",
    ),
]
LabelsOption = Annotated[
    Path | None, typer.Option("--labels", help="JSONL of what a person says: problem_id or idx, sample, correct.")
]
DisagreementsOption = Annotated[
    Path | None, typer.Option("--out", help="Where to write every disagreement, as JSONL to be labelled.")
]


@app.callback()
def verify() -> None:
    """How far verdicts can be trusted."""


@app.command("audit")
def audit_verdicts(
    responses: Annotated[Path, typer.Argument(metavar="ROLLOUTS", help="JSONL of responses, plain, .zst or .gz.")],
    against: AgainstOption = "math-verify",
    labels: LabelsOption = None,
    out: DisagreementsOption = None,
    problems: ProblemsOption = None,
    verifier: VerifierOption = None,
    lenient: LenientOption = False,
    deadline: DeadlineOption = STRICT.deadline_seconds,
    trust: TrustOption = False,
    overwrite: ReplaceOption = False,
) -> None:
    """Two graders over the same responses: where they differ, how often each is wrong, what is slow."""
    from rlsp.evaluation import agreement
    from rlsp.evaluation.audit import check_labelled, disagreement, run

    if out is not None:
        check_writable(out, overwrite, (responses, problems))
    audit = run(responses, problems, verifier, against, judging(lenient, deadline, trust), labels)
    if out is not None:
        write_records(out, [disagreement(item) for item in audit.disagreements])
    if labels is not None:
        check_labelled(audit)
    print_agreement(audit, agreement.table(audit.items))
    print_errors(audit, *(agreement.bounds if labels is None else agreement.measured)(audit.items), labels is not None)
    print_disagreements(audit, out)
    print_unjudged(audit)
    print_slowest(audit)

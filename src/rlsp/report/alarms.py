"""The alarms of a training as the page shows them: what a model wrote in them made visible, and no markup."""

from __future__ import annotations

from dataclasses import replace

from rlsp.files import read_records
from rlsp.report.traces import visible
from rlsp.runs import Run
from rlsp.types import Alarm, Proof


def read_alarms(run: Run) -> list[Alarm] | None:
    """In the order in which they were raised; None when nobody watched."""
    path = run.path("rl", "alarms.jsonl")
    if not path.is_file():
        return None
    return [replace(alarm, proof=tuple(map(_shown, alarm.proof))) for alarm in read_records(path, Alarm)]


def none_raised(steps: int, window: int) -> str:
    """What it means that there is no alarm after so many steps."""
    if steps >= 2 * window:
        return "None was raised."
    return (
        f"None was raised, and {steps} {'step is' if steps == 1 else 'steps are'} too few to tell: with alarms.window "
        f"= {window} a level shows from step {window} on, a rise from step {2 * window} on."
    )


def _shown(proof: Proof) -> Proof:
    return replace(proof, problem_id=visible(proof.problem_id), why=visible(proof.why), excerpt=visible(proof.excerpt))

"""The stage RL of a run, for every engine whose loop is ours: step after step, with all that it keeps and says."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rlsp.checkpoints import Checkpoint
from rlsp.engines import doctor
from rlsp.engines.progress import Progress
from rlsp.engines.rl_records import RlRecords
from rlsp.engines.stages import Asked
from rlsp.engines.stopping import Stopping
from rlsp.errors import Paused
from rlsp.rl.health import Check, why_nothing
from rlsp.rl.loop import DivergedError, L, Training
from rlsp.runs import Run, read_metrics
from rlsp.types import Alarm, Problem
from rlsp.verifiers.settings import Settings


def train(
    training: Training[L],
    policy: Asked,
    kept: RlRecords,
    checkpoint: Checkpoint | None,
    batches: Sequence[Sequence[Problem]],
    progress: Progress,
    judging: Settings,
    stopping: Stopping,
) -> None:
    """Every step after the checkpoint's; all that they produce is kept. `policy` is what the training samples from.

    Raises:
        Paused: an alarm was raised, and the recipe wants a pause then.
        Diverged: a loss or gradient is not finite; what it came from is kept.
        Stopped: by a signal; what was done is saved.
    """
    recipe = training.recipe
    if checkpoint is not None:
        training.restore(checkpoint)
    kept.begin(checkpoint)
    if checkpoint is None:
        warn_of(doctor.of_policy(recipe, policy, batches[0], judging), progress)
    done = 0 if checkpoint is None else checkpoint.step
    progress.stage("RL", recipe.rl.steps, done)
    for step in range(done, recipe.rl.steps):
        with stopping.step():
            try:
                iteration = training.iterate(step, batches[step])
            except DivergedError as error:
                raise kept.dump(training, error) from error
            alarms, ills = kept.write(iteration)
            pause = recipe.alarms.pause and bool(alarms)
            measured_next = training.probe is not None and training.probe.due(step + 1)
            kept.save(training.snapshot, step + 1, now=pause or measured_next or stopping.asked is not None)
        accuracy, length = (iteration.metrics[name] for name in ("accuracy", "length"))
        progress.advance(step + 1, f"accuracy {accuracy:.2f}  length {length:.0f}")
        for alarm in alarms:
            progress.say(
                f"ALARM {alarm.name} at step {alarm.step}: {alarm.sentence} The metric is {alarm.metric}; see "
                f"{kept.alarms.path} for the responses that show it"
            )
        warn_of(ills, progress)
        if pause:
            raise _paused(alarms, kept.out)
    warn_of(why_nothing(read_metrics(kept.metrics.path), recipe.alarms.window), progress)


def warn_of(checks: Iterable[Check], progress: Progress) -> None:
    """What was found wrong, and the fix."""
    for check in checks:
        if not check.healthy:
            progress.say(f"warning: {check.name}: {check.found}. Fix: {check.fix}")


def _paused(alarms: Sequence[Alarm], out: Run) -> Paused:
    names = ", ".join(alarm.name for alarm in alarms)
    fork = f", or with another recipe, as the alarm advises, by `rlsp fork {out.directory} --out` another directory "
    return Paused(
        f"step {alarms[0].step} raised {names}; the rollouts that show it stand in {out.path('rl', 'alarms.jsonl')}, "
        "and the step is saved. Go on regardless by --resume"
        + (f"{fork}`--set KEY=VALUE`" if out.engine == "native" else "")
    )

"""The embedded engine: one process, one device, the whole recipe from the base model to the report."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import torch

from rlsp import report
from rlsp.checkpoints import Checkpoint
from rlsp.config import Recipe
from rlsp.engines import doctor, stages
from rlsp.engines.keeper import Keeper
from rlsp.engines.progress import Progress
from rlsp.engines.rl_records import RlRecords
from rlsp.engines.stages import Policy
from rlsp.engines.stopping import Stopping
from rlsp.errors import Diverged, Paused
from rlsp.files import JsonLines, read_records, write_records
from rlsp.optim import NonFiniteLossError
from rlsp.reward import warnings
from rlsp.rl.health import Check, why_nothing
from rlsp.rl.loop import DivergedError
from rlsp.runs import Run, read_metrics
from rlsp.types import Alarm, Demonstration, Problem
from rlsp.verifiers.settings import STRICT, Settings


def run(recipe: Recipe, out: Run, progress: Progress, judging: Settings = STRICT) -> Path:
    """Every stage of the recipe that `out` has not finished yet; training goes on from its newest checkpoint.

    Returns:
        The report's path.

    Raises:
        Paused: an alarm was raised, and the recipe wants a pause then.
        Diverged: a loss or gradient is not finite; what it came from is kept, and checkpoints stay.
        Stopped: by a signal; what was done is saved.
    """
    _warn(recipe, progress)
    torch.manual_seed(recipe.seed)
    with Stopping(progress.say) as stopping:
        policy = stages.open_policy(recipe.model.path, recipe.sampling.engine)
        batches, test = _problems(recipe, out)
        _warn_of(doctor.of_recipe(recipe, policy, batches[0], out.directory), progress)
        if (found := len(test)) < recipe.evaluation.problems:
            progress.say(f"{found} test problems: the data hold no more of the {recipe.evaluation.problems} asked for")
        _evaluate(policy, test, recipe, out, progress, "base", "Base", judging)
        if recipe.sft is not None:
            policy = _sft(policy, recipe, out, progress, judging, stopping)
            _evaluate(policy, test, recipe, out, progress, "sft", "SFT", judging)
        policy = _rl(policy, batches, recipe, out, progress, judging, stopping)
        _evaluate(policy, test, recipe, out, progress, "rlsp", "RLSP", judging)
        _vote(test, recipe, out, progress, judging)
        return report.build(out)


def _warn(recipe: Recipe, progress: Progress) -> None:
    for warning in warnings(recipe):
        progress.say(f"warning: {warning}")


def _warn_of(checks: Iterable[Check], progress: Progress) -> None:
    """What was found wrong, and the fix."""
    for check in checks:
        if not check.healthy:
            progress.say(f"warning: {check.name}: {check.found}. Fix: {check.fix}")


def _problems(recipe: Recipe, out: Run) -> tuple[list[list[Problem]], list[Problem]]:
    """(the problems of each RL step, the test problems), drawn now or by an earlier call."""
    if not out.finished("problems"):
        out.finish("problems", *stages.write_problems(recipe, out))
    return stages.problems_of_steps(out, recipe), list(read_records(out.path("problems", "test.jsonl"), Problem))


def _evaluate(
    policy: Policy,
    test: list[Problem],
    recipe: Recipe,
    out: Run,
    progress: Progress,
    name: str,
    label: str,
    judging: Settings,
) -> None:
    if not out.finished(f"evaluation/{name}"):
        stages.keep(out, stages.evaluate(policy, test, recipe, progress, name, label, judging))


def _vote(test: list[Problem], recipe: Recipe, out: Run, progress: Progress, judging: Settings) -> None:
    """Majority vote of the base model with as many tokens as the trained one used."""
    if not out.finished("evaluation/self-consistency"):
        base = stages.open_policy(recipe.model.path, recipe.sampling.engine)
        stages.keep(
            out, stages.vote(base, test, recipe, progress, "Base, majority", stages.tokens_of_rlsp(out), judging)
        )


def _sft(policy: Policy, recipe: Recipe, out: Run, progress: Progress, judging: Settings, stopping: Stopping) -> Policy:
    """The fine-tuned policy, made now or by earlier calls."""
    path, folder = out.path("demonstrations.jsonl"), out.path("sft")
    if not out.finished("demonstrations"):
        write_records(path, stages.demonstrate(recipe, progress, judging))
        out.finish("demonstrations", path)
    if out.finished("sft"):
        Keeper(folder, recipe.checkpoints, []).prune(0)  # a kill may have come before
        return stages.open_policy(str(folder / "model"), recipe.sampling.engine)
    demonstrations = list(read_records(path, Demonstration))
    with stages.finetuning(policy, demonstrations, recipe, progress) as tuning:
        log = JsonLines(folder / "metrics.jsonl")
        keeper = Keeper(folder, recipe.checkpoints, [log])
        done = 0
        if (checkpoint := _newest(keeper, out, "sft", progress)) is not None:
            tuning.restore(checkpoint)
            done = checkpoint.step
        progress.stage("SFT", tuning.steps, done)
        for number in range(done, tuning.steps):
            with stopping.step():
                try:
                    metrics = tuning.step(number)
                except NonFiniteLossError as error:
                    keeper.save(number, tuning.snapshot, now=True)
                    raise Diverged(
                        f"SFT step {number + 1}: {error} Lower sft.learning_rate and start over by --overwrite; the "
                        f"{number} steps before are saved, and --resume comes to the same loss at once"
                    ) from error
                log.write(metrics)
                keeper.save(number + 1, tuning.snapshot, now=stopping.asked is not None)
            progress.advance(number + 1, f"loss {metrics['loss']:.3f}")
    policy.save(folder / "model")
    out.finish("sft", log.path, folder / "model")
    keeper.prune(0)
    return policy


def _newest(keeper: Keeper, out: Run, stage: str, progress: Progress) -> Checkpoint | None:
    """What the stage goes on from, with a word about it; without a checkpoint its directory is emptied."""
    checkpoint, damaged = keeper.newest()
    for each in damaged:
        progress.say(f"damaged: {each}")
    if checkpoint is None:
        out.clear(stage)
    else:
        progress.say(f"{stage.upper()} goes on after step {checkpoint.step}, its newest whole checkpoint")
    return checkpoint


def reinforce(recipe: Recipe, out: Run, progress: Progress, judging: Settings = STRICT) -> Path:
    """RL alone, from the recipe's model.

    Returns:
        The trained model's directory.

    Raises:
        Paused, Diverged, Stopped: as for `run`.
    """
    _warn(recipe, progress)
    torch.manual_seed(recipe.seed)
    with Stopping(progress.say) as stopping:
        batches, _ = _problems(recipe, out)
        policy = stages.open_policy(recipe.model.path, recipe.sampling.engine)
        _warn_of(doctor.of_recipe(recipe, policy, batches[0], out.directory), progress)
        _rl(policy, batches, recipe, out, progress, judging, stopping)
    return out.path("rl", "model")


def _rl(
    policy: Policy,
    batches: Sequence[Sequence[Problem]],
    recipe: Recipe,
    out: Run,
    progress: Progress,
    judging: Settings,
    stopping: Stopping,
) -> Policy:
    """The RL-trained policy, made now or by earlier calls; everything that training produces is kept.

    Raises:
        Paused: an alarm was raised, and the recipe wants a pause then.
        Diverged: a loss or gradient is not finite; what it came from is kept.
    """
    if out.finished("rl"):
        return stages.open_policy(str(out.path("rl", "model")), recipe.sampling.engine)
    with stages.reinforcing_in(out, policy, recipe, judging) as training:
        kept = RlRecords(out, recipe)
        done = 0
        if (checkpoint := _newest(kept.keeper, out, "rl", progress)) is not None:
            training.restore(checkpoint)
            done = checkpoint.step
        kept.begin(checkpoint)
        if checkpoint is None:
            _warn_of(doctor.of_policy(recipe, policy, batches[0], judging), progress)
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
            _warn_of(ills, progress)
            if pause:
                raise _paused(alarms, out)
    _warn_of(why_nothing(read_metrics(kept.metrics.path), recipe.alarms.window), progress)
    policy.save(out.path("rl", "model"))
    kept.keeper.prune(1)
    out.finish("rl", *kept.products, out.path("rl", "model"))
    return policy


def _paused(alarms: Sequence[Alarm], out: Run) -> Paused:
    names = ", ".join(alarm.name for alarm in alarms)
    return Paused(
        f"step {alarms[0].step} raised {names}; the rollouts that show it stand in {out.path('rl', 'alarms.jsonl')}, "
        "and the step is saved. Go on regardless by --resume, or with another recipe, as the alarm advises, by "
        f"`rlsp fork {out.directory} --out` another directory `--set KEY=VALUE`"
    )

"""The embedded engine: one process that runs the whole recipe from the base model to the report, alone or, under
torchrun, with others beside it that lend it their devices (see `rlsp.parallel`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from rlsp import report
from rlsp.config import Recipe
from rlsp.engines import doctor, drawing, rl_stage, stages
from rlsp.engines.keeper import Keeper
from rlsp.engines.progress import Progress
from rlsp.engines.rl_records import RlRecords
from rlsp.engines.stages import Policy
from rlsp.engines.stopping import Stopping
from rlsp.errors import Diverged
from rlsp.files import JsonLines, read_records, write_records
from rlsp.optim import NonFiniteLossError
from rlsp.reward import warnings
from rlsp.runs import Run
from rlsp.types import Demonstration, Problem
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
        rl_stage.warn_of(doctor.of_recipe(recipe, policy, batches[0], out.directory), progress)
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


def _problems(recipe: Recipe, out: Run) -> tuple[list[list[Problem]], list[Problem]]:
    """(the problems of each RL step, the test problems), drawn now or by an earlier call."""
    if not out.finished("problems"):
        out.finish("problems", *drawing.write_problems(recipe, out))
    return drawing.problems_of_steps(out, recipe), list(read_records(out.path("problems", "test.jsonl"), Problem))


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
        write_records(path, drawing.demonstrate(recipe, progress, judging))
        out.finish("demonstrations", path)
    if out.finished("sft"):
        Keeper(folder, recipe.checkpoints, []).prune(0)  # a kill may have come before
        return stages.open_policy(str(folder / "model"), recipe.sampling.engine)
    demonstrations = list(read_records(path, Demonstration))
    with stages.finetuning(policy, demonstrations, recipe, progress) as tuning:
        log = JsonLines(folder / "metrics.jsonl")
        keeper = Keeper(folder, recipe.checkpoints, [log])
        done = 0
        if (checkpoint := keeper.latest(out, "sft", progress)) is not None:
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
        rl_stage.warn_of(doctor.of_recipe(recipe, policy, batches[0], out.directory), progress)
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
    kept = RlRecords(out, recipe)
    checkpoint = kept.keeper.latest(out, "rl", progress)
    with stages.reinforcing_in(out, policy, recipe, judging) as training:
        rl_stage.train(training, policy, kept, checkpoint, batches, progress, judging, stopping)
    policy.save(out.path("rl", "model"))
    kept.keeper.prune(1)
    out.finish("rl", *kept.products, out.path("rl", "model"))
    return policy

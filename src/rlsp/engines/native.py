"""The embedded engine: one process, one device, the whole recipe from the base model to the report."""

from __future__ import annotations

from pathlib import Path

import torch

from rlsp import report, tasks
from rlsp.behaviours.grounded import rates
from rlsp.config import Recipe
from rlsp.engines import stages
from rlsp.engines.progress import Progress
from rlsp.engines.stages import Evaluation, Policy
from rlsp.rl.loop import Iteration
from rlsp.runs import MetricsLog, Run, read_records, write_json, write_records
from rlsp.tasks.splits import Split
from rlsp.types import Demonstration, Problem, to_json

TEST_SEED = 0
"""The test problems are the same whatever the seed of the run."""


def run(recipe: Recipe, out: Run, progress: Progress) -> Path:
    """Every stage of the recipe that `out` has not finished yet; a stage that was cut short starts over.

    Returns:
        The report's path.
    """
    torch.manual_seed(recipe.seed)
    policy = stages.open_policy(recipe.model.path)
    test = _problems(recipe, out)
    _evaluate(policy, test, recipe, out, progress, "base", "Base")
    if recipe.sft is not None:
        policy = _sft(policy, recipe, out, progress)
        _evaluate(policy, test, recipe, out, progress, "sft", "SFT")
    policy = _rl(policy, recipe, out, progress)
    _evaluate(policy, test, recipe, out, progress, "rlsp", "RLSP")
    _vote(test, recipe, out, progress)
    return report.build(out)


def _problems(recipe: Recipe, out: Run) -> list[Problem]:
    """The test problems; those that RL will train on are written beside them."""
    path = out.path("problems", "test.jsonl")
    if not out.finished("problems"):
        batches = stages.training_problems(recipe)
        write_records(out.path("problems", "train.jsonl"), [problem for batch in batches for problem in batch])
        write_records(path, tasks.problems(recipe.task, Split.TEST, recipe.evaluation.problems, TEST_SEED))
        out.finish("problems")
    return list(read_records(path, Problem))


def _evaluate(
    policy: Policy, test: list[Problem], recipe: Recipe, out: Run, progress: Progress, name: str, label: str
) -> None:
    if not out.finished(f"evaluation/{name}"):
        _keep(out, stages.evaluate(policy, test, recipe, progress, name, label))


def _vote(test: list[Problem], recipe: Recipe, out: Run, progress: Progress) -> None:
    """Majority vote of the base model with as many tokens as the trained one used."""
    if not out.finished("evaluation/self-consistency"):
        trained = out.evaluations()["rlsp"]
        budget = round(trained["mean_tokens"] * trained["problems"])
        base = stages.open_policy(recipe.model.path)
        _keep(out, stages.vote(base, test, recipe, progress, "Base, majority vote", budget))


def _keep(out: Run, evaluation: Evaluation) -> None:
    name = evaluation.summary.name
    write_records(out.path("evaluation", f"{name}.rollouts.jsonl.zst"), evaluation.rollouts)
    write_records(out.path("evaluation", f"{name}.scores.jsonl.zst"), evaluation.scores)
    write_json(out.path("evaluation", f"{name}.json"), to_json(evaluation.summary))
    out.finish(f"evaluation/{name}")


def _sft(policy: Policy, recipe: Recipe, out: Run, progress: Progress) -> Policy:
    """The fine-tuned policy, made now or by an earlier call."""
    path = out.path("demonstrations.jsonl")
    if not out.finished("demonstrations"):
        write_records(path, stages.demonstrate(recipe, progress))
        out.finish("demonstrations")
    if out.finished("sft"):
        return stages.open_policy(str(out.path("sft", "model")))
    log = MetricsLog(out.clear("sft") / "metrics.jsonl")
    stages.finetune(policy, list(read_records(path, Demonstration)), recipe, progress, log.write)
    policy.save(out.path("sft", "model"))
    out.finish("sft")
    return policy


def _rl(policy: Policy, recipe: Recipe, out: Run, progress: Progress) -> Policy:
    """The RL-trained policy, made now or by an earlier call."""
    if out.finished("rl"):
        return stages.open_policy(str(out.path("rl", "model")))
    reinforce(policy, recipe, out, progress)
    return policy


def reinforce(policy: Policy, recipe: Recipe, out: Run, progress: Progress) -> None:
    """PPO of `policy`, in place, everything it produces kept in the run directory."""
    log = MetricsLog(out.clear("rl") / "metrics.jsonl")
    for iteration in stages.reinforce(policy, recipe, progress):
        record(iteration, out, log)
    policy.save(out.path("rl", "model"))
    out.finish("rl")


def record(iteration: Iteration, out: Run, log: MetricsLog) -> None:
    """Everything an iteration produced, with its behaviours counted."""
    name = f"{iteration.step:06d}.jsonl.zst"
    write_records(out.path("rl", "rollouts", name), iteration.rollouts)
    write_records(out.path("rl", "scores", name), iteration.scores)
    behaviours = rates(iteration.problems, iteration.rollouts)
    log.write(
        {"step": iteration.step}
        | iteration.metrics
        | {f"behaviour/{behaviour}": value for behaviour, value in behaviours.items()}
    )

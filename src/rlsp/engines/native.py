"""The embedded engine: one process, one device, the whole recipe from the base model to the report."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import torch

from rlsp import report
from rlsp.behaviours.grounded import rates
from rlsp.config import Recipe
from rlsp.engines import stages
from rlsp.engines.progress import Progress
from rlsp.engines.stages import Evaluation, Policy
from rlsp.errors import InputError, Paused
from rlsp.lora import meta_model
from rlsp.models import has_plain_head, load_config, load_tokenizer
from rlsp.passes import check_compiler
from rlsp.reward import warnings
from rlsp.rl.alarms import Watch
from rlsp.rl.loop import Iteration
from rlsp.rollouts.native import check_capacity
from rlsp.rollouts.vllm import check_vllm
from rlsp.runs import AT_ALARM, MetricsLog, Run, read_records, write_json, write_records
from rlsp.types import Alarm, Demonstration, Problem, to_json
from rlsp.verifiers import verify_all
from rlsp.verifiers.settings import STRICT, Settings
from rlsp.xray.cast import NoCast
from rlsp.xray.ranking import check as check_ranking
from rlsp.xray.tokens import ModelTokens


def check(recipe: Recipe, judging: Settings = STRICT, accept_reward_risks: bool = False) -> str:
    """What can be wrong with the recipe's model, problems and reward, before anything is written or trained; weights
    are not read.

    Returns:
        Why the reward's ranking could not be checked; "" when it was, or its risks are accepted.

    Raises:
        InputError: no such model, problems or verifier, adapters that the model can't have, too few problems, longer
            ones than the recipe or the model allows, problems that their verifier can't judge here, or a reward that
            ranks standard responses wrongly.
    """
    config, tokenizer = load_config(recipe.model.path), load_tokenizer(recipe.model.path)
    check_compiler(recipe.model)
    if recipe.rl.critic_trunk == "shared" and not has_plain_head(config):
        raise InputError(
            f"rl.critic_trunk = 'shared' needs the states that logits are made from, and {config.model_type} soft-caps "
            "or scales its logits: leave rl.critic_trunk out"
        )
    if recipe.model.lora is not None:
        meta_model(config, recipe.model.lora)
    problems = [problem for batch in stages.training_problems(recipe) for problem in batch]
    problems += stages.held_out_problems(recipe) + stages.probe_problems(recipe) + stages.reserve_problems(recipe)
    verify_all(problems, [""] * len(problems), judging)
    prompts = stages.encode_prompts(tokenizer, problems, recipe)
    longest = max(len(prompt.ids) for prompt in prompts) + recipe.sampling.max_response_tokens
    check_sampler = check_capacity if recipe.sampling.engine == "native" else check_vllm
    check_sampler(config, longest, recipe.sampling.cache_tokens)
    if accept_reward_risks:
        return ""
    if recipe.reward.mix == "advantage":
        return "the reward's ranking was not checked: reward.mix = 'advantage' normalises the signals before they meet"
    try:
        check_ranking(recipe, ModelTokens(tokenizer), judging, problems[0].task)
    except NoCast as reason:
        return f"the reward's ranking was not checked: {reason}"
    return ""


def run(recipe: Recipe, out: Run, progress: Progress, judging: Settings = STRICT) -> Path:
    """Every stage of the recipe that `out` has not finished yet; a stage that was cut short starts over.

    Returns:
        The report's path.
    """
    _warn(recipe, progress)
    torch.manual_seed(recipe.seed)
    policy = stages.open_policy(recipe.model.path, recipe.sampling.engine)
    batches, test = _problems(recipe, out)
    if len(test) < recipe.evaluation.problems:
        progress.say(f"{len(test)} test problems: the data hold no more of the {recipe.evaluation.problems} asked for")
    _evaluate(policy, test, recipe, out, progress, "base", "Base", judging)
    if recipe.sft is not None:
        policy = _sft(policy, recipe, out, progress)
        _evaluate(policy, test, recipe, out, progress, "sft", "SFT", judging)
    policy = _rl(policy, batches, recipe, out, progress, judging)
    _evaluate(policy, test, recipe, out, progress, "rlsp", "RLSP", judging)
    _vote(test, recipe, out, progress, judging)
    return report.build(out)


def _warn(recipe: Recipe, progress: Progress) -> None:
    for warning in warnings(recipe):
        progress.say(f"warning: {warning}")


def _problems(recipe: Recipe, out: Run) -> tuple[list[list[Problem]], list[Problem]]:
    """(the problems of each RL step, the test problems), drawn now or by an earlier call."""
    train, test = out.path("problems", "train.jsonl"), out.path("problems", "test.jsonl")
    if not out.finished("problems"):
        write_records(train, [problem for batch in stages.training_problems(recipe) for problem in batch])
        write_records(test, stages.held_out_problems(recipe))
        if recipe.rl.dynamic_sampling:
            write_records(out.path("problems", "reserve.jsonl"), stages.reserve_problems(recipe))
        out.finish("problems")
    drawn = iter(read_records(train, Problem))
    batches = [list(islice(drawn, recipe.rl.prompts_per_step)) for _ in range(recipe.rl.steps)]
    return batches, list(read_records(test, Problem))


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
        _keep(out, stages.evaluate(policy, test, recipe, progress, name, label, judging))


def _vote(test: list[Problem], recipe: Recipe, out: Run, progress: Progress, judging: Settings) -> None:
    """Majority vote of the base model with as many tokens as the trained one used."""
    if not out.finished("evaluation/self-consistency"):
        base = stages.open_policy(recipe.model.path, recipe.sampling.engine)
        _keep(out, stages.vote(base, test, recipe, progress, "Base, majority", tokens_of_rlsp(out), judging))


def tokens_of_rlsp(run: Run) -> int:
    """All tokens that the trained model generated for the test problems: what a vote may spend."""
    trained = run.evaluations()["rlsp"]
    return round(trained["mean_tokens"] * trained["problems"])


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
        return stages.open_policy(str(out.path("sft", "model")), recipe.sampling.engine)
    log = MetricsLog(out.clear("sft") / "metrics.jsonl")
    stages.finetune(policy, list(read_records(path, Demonstration)), recipe, progress, log.write)
    policy.save(out.path("sft", "model"))
    out.finish("sft")
    return policy


def reinforce(recipe: Recipe, out: Run, progress: Progress, judging: Settings = STRICT) -> Path:
    """RL alone, from the recipe's model.

    Returns:
        The trained model's directory.
    """
    _warn(recipe, progress)
    torch.manual_seed(recipe.seed)
    batches, _ = _problems(recipe, out)
    _rl(stages.open_policy(recipe.model.path, recipe.sampling.engine), batches, recipe, out, progress, judging)
    return out.path("rl", "model")


def _rl(
    policy: Policy,
    batches: Sequence[Sequence[Problem]],
    recipe: Recipe,
    out: Run,
    progress: Progress,
    judging: Settings,
) -> Policy:
    """The RL-trained policy, made now or by an earlier call; everything that training produces is kept.

    Raises:
        Paused: an alarm was raised, and the recipe wants a pause then.
    """
    if out.finished("rl"):
        return stages.open_policy(str(out.path("rl", "model")), recipe.sampling.engine)
    log, watch, alarms = MetricsLog(out.clear("rl") / "metrics.jsonl"), Watch(recipe), list[Alarm]()
    write_records(out.path("rl", "alarms.jsonl"), alarms)
    shown = list(read_records(out.path("demonstrations.jsonl"), Demonstration)) if recipe.demonstrations else []
    spare = out.path("problems", "reserve.jsonl")
    reserve = list(read_records(spare, Problem)) if recipe.rl.dynamic_sampling else []
    for iteration in stages.reinforce(policy, batches, recipe, progress, judging, shown, reserve):
        _record(iteration, out, log)
        if new := watch.see(
            iteration.step, iteration.problems, iteration.rollouts, iteration.scores, iteration.metrics
        ):
            alarms += new
            write_records(out.path("rl", "alarms.jsonl"), alarms)
            for alarm in new:
                progress.say(
                    f"ALARM {alarm.name} at step {alarm.step}: {alarm.sentence} The metric is {alarm.metric}; see "
                    f"{out.path('rl', 'alarms.jsonl')} for the responses that show it"
                )
            if recipe.alarms.pause:
                raise _paused(policy, new, recipe, out)
    policy.save(out.path("rl", "model"))
    out.finish("rl")
    return policy


def _paused(policy: Policy, alarms: Sequence[Alarm], recipe: Recipe, out: Run) -> Paused:
    """Saves the policy as it is."""
    model = out.path(*AT_ALARM)
    policy.save(model)
    names = ", ".join(alarm.name for alarm in alarms)
    return Paused(
        f"step {alarms[0].step} raised {names}; its rollouts stand in {out.path('rl', 'alarms.jsonl')}, the policy in "
        f"{model}. Change the recipe as the alarm advises and start over, or begin a new training with that policy: "
        f"`rlsp train RECIPE --set model.path={model} --set seed={recipe.seed + 1} --out` another directory. In it KL "
        "is measured from this policy, α and the critic start again, and the problems are those that the seed draws. "
        "This run can't be resumed: that would delete the policy and train again from where RL began"
    )


def _record(iteration: Iteration, out: Run, log: MetricsLog) -> None:
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

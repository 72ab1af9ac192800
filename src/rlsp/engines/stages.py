"""The stages of a run on one machine, each from finished inputs to finished outputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from random import Random

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rlsp import checkpoints, sft, tasks
from rlsp.config import Recipe, SamplingEngine
from rlsp.demonstrations.search import unroll
from rlsp.engines.progress import Progress
from rlsp.errors import InputError
from rlsp.evaluation.evaluate import Summary, self_consistency, summarise
from rlsp.exploration import explorer_for
from rlsp.lora import adapted, merged
from rlsp.models import check_logits, load_policy, load_tokenizer, pick_device
from rlsp.passes import training_passes
from rlsp.prompts import encode_prompt, encode_response, instruct
from rlsp.reward import score
from rlsp.rl.loop import Iteration, train
from rlsp.rl.probe import Probe
from rlsp.rollouts import Prompt, Sampler, SamplingSettings
from rlsp.rollouts.native import NativeSampler
from rlsp.rollouts.vllm import VllmSampler
from rlsp.tasks.splits import Split
from rlsp.types import Demonstration, Problem, Rollout, Score
from rlsp.verifiers import verify
from rlsp.verifiers.settings import STRICT, Settings

DEMONSTRATION_SEED, TRAINING_SEED, EVALUATION_SEED, RESERVE_SEED = 1, 2, 3, 4
"""Streams of one recipe's seed: the problems demonstrated, trained on, the noise of evaluation, the problems in
reserve."""
HELD_OUT_SEED = 0


@dataclass(frozen=True, slots=True)
class Policy:
    """A model that answers, with what it needs to."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    sampler: Sampler

    def save(self, directory: Path) -> None:
        """Write a Hugging Face checkpoint, adapters merged into the weights."""
        checkpoints.save(merged(self.model), self.tokenizer, directory)


def open_policy(path: str, engine: SamplingEngine = "native") -> Policy:
    """Load a model directory (or `nano`) onto this machine's device; `engine` samples from it."""
    tokenizer, model = load_tokenizer(path), load_policy(path, pick_device())
    check_logits(model)
    if engine == "vllm":
        return Policy(model, tokenizer, VllmSampler(model, tokenizer, path))
    return Policy(model, tokenizer, NativeSampler(model, tokenizer))


def stream(seed: int, purpose: int) -> int:
    """A seed for one purpose of a run, apart from those of other runs and purposes."""
    return 1000 * seed + purpose


def held_out_problems(recipe: Recipe, split: Split = Split.TEST) -> list[Problem]:
    """What models are evaluated on: the same whatever the seed of the run."""
    return tasks.problems(recipe.task, split, recipe.evaluation.problems, HELD_OUT_SEED)


def training_problems(recipe: Recipe) -> Iterator[list[Problem]]:
    """One list of different problems for each RL step; a file that runs out is shuffled and read again.

    Raises:
        InputError: there are fewer than a step needs.
    """
    per_step, rng = recipe.rl.prompts_per_step, Random(stream(recipe.seed, TRAINING_SEED))
    wanted = recipe.rl.steps * per_step
    drawn = tasks.problems(recipe.task, Split.TRAIN, wanted, stream(recipe.seed, TRAINING_SEED))
    if len(drawn) < per_step:
        raise InputError(f"{len(drawn)} training problems, a step needs {per_step}: lower rl.prompts_per_step")
    pool: list[Problem] = []
    for _ in range(recipe.rl.steps):
        batch, pool = pool[:per_step], pool[per_step:]
        if missing := per_step - len(batch):
            again = rng.sample(drawn, len(drawn))
            others = [problem for problem in again if problem not in batch]
            pool = others[missing:] + [problem for problem in again if problem in batch]
            batch += others[:missing]
        yield batch


def reserve_problems(recipe: Recipe) -> list[Problem]:
    """What dynamic sampling draws replacements from, in order and over again; none without it."""
    if not recipe.rl.dynamic_sampling:
        return []
    wanted = recipe.rl.steps * recipe.rl.prompts_per_step
    return tasks.problems(recipe.task, Split.TRAIN, wanted, stream(recipe.seed, RESERVE_SEED))


def demonstrate(recipe: Recipe, progress: Progress) -> list[Demonstration]:
    """Unroll searches on training problems; each trace is replayed by the verifier before it counts.

    Raises:
        InputError: the recipe has no [demonstrations].
    """
    settings = recipe.demonstrations
    if settings is None:
        raise InputError(f"recipe {recipe.name!r} has no [demonstrations]")
    seed = stream(recipe.seed, DEMONSTRATION_SEED)
    problems = tasks.problems(recipe.task, Split.TRAIN, settings.count, seed)
    progress.stage("demonstrations", len(problems))
    rng, demonstrations = Random(seed), []
    for done, problem in enumerate(problems, 1):
        trace = unroll(problem, rng, settings.intuition, settings.max_attempts)
        if trace is not None and verify(problem, trace).correct:
            demonstrations.append(Demonstration(problem, trace, "search"))
        progress.advance(done)
    return demonstrations


def finetune(
    policy: Policy,
    demonstrations: Sequence[Demonstration],
    recipe: Recipe,
    progress: Progress,
    log: Callable[[dict[str, float]], None],
) -> None:
    """SFT of `policy`, in place. What sampling would cut off is not taught.

    Raises:
        InputError: the recipe has no [sft], or no demonstration fits into the response budget.
    """
    if recipe.sft is None:
        raise InputError(f"recipe {recipe.name!r} has no [sft]")
    examples = []
    for demonstration in demonstrations:
        prompt = encode_prompt(policy.tokenizer, demonstration.problem, instruct(demonstration.problem, recipe))
        response = encode_response(policy.tokenizer, demonstration.trace)
        if len(response) <= recipe.sampling.max_response_tokens:
            examples.append(sft.Example(prompt.ids + response, len(prompt.ids)))
    if overlong := len(demonstrations) - len(examples):
        progress.say(f"{overlong} of {len(demonstrations)} demonstrations exceed the response budget: left out")

    def on_step(metrics: dict[str, float]) -> None:
        if metrics["step"] == 1:
            progress.stage("SFT", int(metrics["steps"]))
        progress.advance(int(metrics["step"]), f"loss {metrics['loss']:.3f}")
        log(metrics)

    with adapted(policy.model, recipe.model.lora, recipe.seed), training_passes(policy.model, recipe.model):
        sft.train(policy.model, examples, recipe.sft, recipe.seed, on_step)


def reinforce(
    policy: Policy,
    batches: Sequence[Sequence[Problem]],
    recipe: Recipe,
    progress: Progress,
    judging: Settings = STRICT,
    demonstrations: Sequence[Demonstration] = (),
    reserve: Sequence[Problem] = (),
) -> Iterator[Iteration]:
    """RL of `policy`, in place, one iteration at a time, each on one of the batches. `demonstrations`: what it has
    learned from; `reserve`: what dynamic sampling draws replacements from."""
    progress.stage("RL", recipe.rl.steps)
    explorer, probe = explorer_for(recipe, demonstrations), probe_of(policy, recipe)
    lora = recipe.model.lora and recipe.model.lora.model_copy(update={"dropout": 0.0})
    parts = (policy.model, policy.tokenizer, policy.sampler)
    with adapted(policy.model, lora, recipe.seed), training_passes(policy.model, recipe.model):
        for iteration in train(recipe, *parts, batches, explorer, judging, probe, reserve):
            metrics = iteration.metrics
            progress.advance(iteration.step, f"accuracy {metrics['accuracy']:.2f}  length {metrics['length']:.0f}")
            yield iteration


def probe_of(policy: Policy, recipe: Recipe) -> Probe | None:
    """The held-out problems that RL is measured on, if the recipe wants any."""
    if recipe.probe is None:
        return None
    problems = probe_problems(recipe)
    return Probe(problems, encode_prompts(policy.tokenizer, problems, recipe), recipe.probe.every)


def probe_problems(recipe: Recipe) -> list[Problem]:
    """What RL is measured on while it trains, of the selection split; none without [probe]."""
    if recipe.probe is None:
        return []
    return tasks.problems(recipe.task, Split.SELECTION, recipe.probe.problems, HELD_OUT_SEED)


def encode_prompts(tokenizer: PreTrainedTokenizerBase, problems: Sequence[Problem], recipe: Recipe) -> list[Prompt]:
    """The problems' prompts.

    Raises:
        InputError: some are longer than `sampling.max_prompt_tokens`.
    """
    limit = recipe.sampling.max_prompt_tokens
    prompts = [encode_prompt(tokenizer, problem, instruct(problem, recipe)) for problem in problems]
    if overlong := [len(prompt.ids) for prompt in prompts if len(prompt.ids) > limit]:
        raise InputError(
            f"{len(overlong)} of {len(prompts)} prompts are longer than sampling.max_prompt_tokens = {limit}; "
            f"the longest has {max(overlong)}: raise it, or drop them from the data"
        )
    return prompts


def sample(
    policy: Policy,
    problems: Sequence[Problem],
    samples: int,
    temperature: float,
    recipe: Recipe,
    progress: Progress,
    name: str,
) -> list[Rollout]:
    """`samples` rollouts of each problem."""
    prompts = encode_prompts(policy.tokenizer, problems, recipe)
    settings = SamplingSettings(temperature, recipe.sampling.max_response_tokens, recipe.sampling.cache_tokens)
    progress.stage(name, len(prompts) * samples)
    ended = 0

    def advance(rollouts: Sequence[Rollout]) -> None:
        nonlocal ended
        ended += len(rollouts)
        progress.advance(ended)

    seed = stream(recipe.seed, EVALUATION_SEED)
    return policy.sampler.sample(prompts, samples, settings, seed, 0, on_ended=advance)


def judge(
    problems: Sequence[Problem], rollouts: Sequence[Rollout], recipe: Recipe, judging: Settings = STRICT
) -> list[Score]:
    """Verdicts, and what of the reward costs nothing: an evaluation asks no LLM for grades that nobody trains on."""
    return score(problems, rollouts, explorer_for(recipe, ask_judge=False), recipe.reward, judging)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A summary with the facts and judgements behind it."""

    summary: Summary
    rollouts: list[Rollout]
    scores: list[Score]


def evaluate(
    policy: Policy,
    problems: Sequence[Problem],
    recipe: Recipe,
    progress: Progress,
    name: str,
    label: str,
    judging: Settings = STRICT,
) -> Evaluation:
    """pass@1 with one sample a problem."""
    rollouts = sample(policy, problems, 1, recipe.evaluation.temperature, recipe, progress, f"evaluate {label}")
    scores = judge(problems, rollouts, recipe, judging)
    return Evaluation(summarise(name, label, problems, rollouts, scores), rollouts, scores)


def vote(
    policy: Policy,
    problems: Sequence[Problem],
    recipe: Recipe,
    progress: Progress,
    label: str,
    token_budget: int,
    judging: Settings = STRICT,
) -> Evaluation:
    """Self-consistency of `policy` at `token_budget` generated tokens in all; greedy evaluation votes over samples at
    the training temperature."""
    temperature = recipe.evaluation.temperature or recipe.sampling.temperature
    pilot = sample(policy, list(islice(problems, 64)), 1, temperature, recipe, progress, f"{label}: pilot")
    mean_length = sum(rollout.length for rollout in pilot) / len(pilot)
    samples = max(1, round(1.3 * token_budget / len(problems) / mean_length) + 1)
    while True:
        rollouts = sample(policy, problems, samples, temperature, recipe, progress, label)
        if sum(rollout.length for rollout in rollouts) >= token_budget:
            break
        samples += 1
    scores = judge(problems, rollouts, recipe, judging)
    summary = self_consistency("self-consistency", label, problems, rollouts, scores, token_budget)
    return Evaluation(summary, rollouts, scores)

"""The stages of a run on one machine, each from finished inputs to finished outputs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Protocol

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rlsp import model_files, parallel, sft
from rlsp.checkpoints import Checkpoint, restore_weights
from rlsp.config import LoraRecipe, Recipe, SamplingEngine
from rlsp.engines import drawing
from rlsp.engines.progress import Progress
from rlsp.errors import InputError
from rlsp.evaluation.evaluate import Summary, self_consistency, summarise
from rlsp.exploration import explorer_for
from rlsp.files import read_records, write_json, write_records
from rlsp.lora import adapted, merged
from rlsp.models import check_logits, load_policy, load_tokenizer, pick_device
from rlsp.passes import training_passes
from rlsp.prompts import encode_prompt, encode_response, instruct
from rlsp.reward import score
from rlsp.rl.local import LocalLearner
from rlsp.rl.loop import Training
from rlsp.rl.probe import Probe
from rlsp.rl.streams import streams_for
from rlsp.rollouts import Prompt, Sampler, SamplingSettings
from rlsp.rollouts.native import NativeSampler
from rlsp.rollouts.shared import SharedSampler
from rlsp.rollouts.vllm import VllmSampler
from rlsp.runs import EVALUATION, Run
from rlsp.types import Demonstration, Problem, Rollout, Score, to_json
from rlsp.verifiers.settings import STRICT, Settings


@dataclass(frozen=True, slots=True)
class Policy:
    """A model that answers, with what it needs to."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    sampler: Sampler

    def save(self, directory: Path) -> None:
        """Write a Hugging Face checkpoint, adapters merged into the weights."""
        model_files.save(merged(self.model), self.tokenizer, directory)


class Asked(Protocol):
    """Whatever answers prompts."""

    @property
    def tokenizer(self) -> PreTrainedTokenizerBase: ...

    @property
    def sampler(self) -> Sampler: ...


def open_policy(path: str, engine: SamplingEngine = "native") -> Policy:
    """Load a model directory (or `nano`) onto this machine's device; `engine` samples from it."""
    tokenizer, model = load_tokenizer(path), parallel.mirrored(_load, path)
    check_logits(model)
    if engine == "vllm":
        if parallel.size() > 1:
            raise InputError("sampling.engine = 'vllm' runs in one process: begin without torchrun, or sample natively")
        return Policy(model, tokenizer, VllmSampler(model, tokenizer, path))
    sampler = NativeSampler if parallel.size() == 1 else SharedSampler
    return Policy(model, tokenizer, parallel.mirrored(sampler, model, tokenizer))


def _load(path: str) -> PreTrainedModel:
    return load_policy(path, pick_device())


def policy_before_rl(run: Run, engine: SamplingEngine = "native") -> Policy:
    """What a run's RL begins with: the fine-tuned model, or the recipe's where there is no SFT."""
    recipe = run.recipe()
    return open_policy(str(run.path("sft", "model")) if recipe.sft is not None else recipe.model.path, engine)


def policy_at(run: Run, checkpoint: Checkpoint) -> Policy:
    """The policy of an RL checkpoint, plain: adapters are merged.

    Raises:
        InputError: the checkpoint is another recipe's.
    """
    recipe, policy = run.recipe(), policy_before_rl(run)
    with adapted(policy.model, recipe.model.lora, recipe.seed):
        restore_weights("policy", policy.model, checkpoint.tensors)
    return policy


@contextmanager
def finetuning(
    policy: Policy, demonstrations: Sequence[Demonstration], recipe: Recipe, progress: Progress
) -> Iterator[sft.Finetuning]:
    """SFT of `policy`, in place.

    Raises:
        InputError: the recipe has no [sft], or no demonstration fits into the response budget.
    """
    if recipe.sft is None:
        raise InputError(f"recipe {recipe.name!r} has no [sft]")
    shown = examples(policy.tokenizer, demonstrations, recipe, progress)
    with _prepared(policy.model, recipe.model.lora, recipe):
        yield sft.Finetuning(policy.model, shown, recipe.sft, recipe.seed)


def examples(
    tokenizer: PreTrainedTokenizerBase, demonstrations: Sequence[Demonstration], recipe: Recipe, progress: Progress
) -> list[sft.Example]:
    """Demonstrations as tokens to learn from. What sampling would cut off is not taught.

    Raises:
        InputError: no demonstration fits into the response budget.
    """
    fitting = []
    for demonstration in demonstrations:
        prompt = encode_prompt(tokenizer, demonstration.problem, instruct(demonstration.problem, recipe))
        response = encode_response(tokenizer, demonstration.trace)
        if len(response) <= recipe.sampling.max_response_tokens:
            fitting.append(sft.Example(prompt.ids + response, len(prompt.ids)))
    if demonstrations and not fitting:
        raise InputError(
            f"all {len(demonstrations)} demonstrations exceed sampling.max_response_tokens = "
            f"{recipe.sampling.max_response_tokens}: raise it"
        )
    if overlong := len(demonstrations) - len(fitting):
        progress.say(f"{overlong} of {len(demonstrations)} demonstrations exceed the response budget: left out")
    return fitting


def finetune(
    policy: Policy, demonstrations: Sequence[Demonstration], recipe: Recipe, progress: Progress
) -> list[dict[str, float]]:
    """All steps of `finetuning`, and their metrics."""
    metrics: list[dict[str, float]] = []
    with finetuning(policy, demonstrations, recipe, progress) as tuning:
        progress.stage("SFT", tuning.steps)
        for number in range(tuning.steps):
            metrics.append(tuning.step(number))
            progress.advance(number + 1, f"loss {metrics[-1]['loss']:.3f}")
    return metrics


@contextmanager
def reinforcing(
    policy: Policy,
    recipe: Recipe,
    judging: Settings = STRICT,
    demonstrations: Sequence[Demonstration] = (),
    reserve: Sequence[Problem] = (),
) -> Iterator[Training[LocalLearner]]:
    """RL of `policy`, in place. `demonstrations`: what it has learned from; `reserve`: what dynamic sampling draws
    replacements from."""
    explorer, probe = explorer_for(recipe, demonstrations), probe_of(policy, recipe)
    lora = recipe.model.lora and recipe.model.lora.model_copy(update={"dropout": 0.0})
    streams = len(streams_for(recipe.reward, explorer, recipe.rl.gamma).names)
    with _prepared(policy.model, lora, recipe):
        learner = LocalLearner(recipe, policy.model, streams)
        yield Training(recipe, learner, policy.tokenizer, policy.sampler, explorer, judging, probe, reserve)


@contextmanager
def _prepared(model: PreTrainedModel, lora: LoraRecipe | None, recipe: Recipe) -> Iterator[None]:
    """Inside, every process's model is as the recipe trains it."""
    prepared = parallel.mirrored(_Prepared)
    try:
        parallel.everywhere(_Prepared.begin, prepared, model, lora, recipe, weights=[model])
        yield
    finally:
        if parallel.in_step():
            parallel.everywhere(_Prepared.end, prepared, weights=[model])
        else:
            prepared.end()


class _Prepared(ExitStack):
    def begin(self, model: PreTrainedModel, lora: LoraRecipe | None, recipe: Recipe) -> None:
        self.enter_context(adapted(model, lora, recipe.seed))
        self.enter_context(training_passes(model, recipe.model))

    def end(self) -> None:
        self.close()


def reinforcing_in(
    run: Run, policy: Policy, recipe: Recipe, judging: Settings
) -> AbstractContextManager[Training[LocalLearner]]:
    """`reinforcing` by what a run has drawn and demonstrated."""
    shown = list(read_records(run.path("demonstrations.jsonl"), Demonstration)) if recipe.demonstrations else []
    return reinforcing(policy, recipe, judging, shown, drawing.reserve_of(run))


def probe_of(policy: Asked, recipe: Recipe) -> Probe | None:
    """The held-out problems that RL is measured on, if the recipe wants any."""
    if recipe.probe is None:
        return None
    problems = drawing.probe_problems(recipe)
    return Probe(problems, encode_prompts(policy.tokenizer, problems, recipe), recipe.probe.every)


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
    policy: Asked,
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

    seed = drawing.stream(recipe.seed, drawing.EVALUATION_SEED)
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
    policy: Asked,
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
    policy: Asked,
    problems: Sequence[Problem],
    recipe: Recipe,
    progress: Progress,
    label: str,
    token_budget: int,
    judging: Settings = STRICT,
) -> Evaluation:
    """Self-consistency of `policy` at `token_budget` generated tokens in all; greedy evaluation votes over samples at
    the training temperature."""
    temperature = recipe.varied_temperature
    pilot = sample(policy, list(islice(problems, 64)), 1, temperature, recipe, progress, f"{label}: pilot")
    mean_length = sum(rollout.length for rollout in pilot) / len(pilot)
    samples = samples_to_vote(token_budget, len(problems), mean_length)
    while True:
        rollouts = sample(policy, problems, samples, temperature, recipe, progress, label)
        if sum(rollout.length for rollout in rollouts) >= token_budget:
            break
        samples += 1
    scores = judge(problems, rollouts, recipe, judging)
    summary = self_consistency("self-consistency", label, problems, rollouts, scores, token_budget)
    return Evaluation(summary, rollouts, scores)


def samples_to_vote(token_budget: int, problems: int, mean_length: float) -> int:
    """How many samples of each problem surely use up a budget of tokens, or nearly so."""
    return max(1, round(1.3 * token_budget / problems / mean_length) + 1)


def tokens_of_rlsp(run: Run) -> int:
    """All tokens that the trained model generated for the test problems: what a vote may spend."""
    trained = run.evaluations()["rlsp"]
    return round(trained["mean_tokens"] * trained["problems"])


def keep(out: Run, evaluation: Evaluation) -> None:
    """Write an evaluation into the run, which finishes its stage."""
    name = evaluation.summary.name
    rollouts, scores, summary = (
        out.path("evaluation", f"{name}.{ending}") for ending in ("rollouts.jsonl.zst", "scores.jsonl.zst", "json")
    )
    write_records(rollouts, evaluation.rollouts)
    write_records(scores, evaluation.scores)
    write_json(summary, to_json(evaluation.summary))
    out.finish(f"{EVALUATION}{name}", rollouts, scores, summary)

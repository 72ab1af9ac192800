"""RL of an adapter on a service that speaks the Tinker API, by the extra `tinker`: the service samples and holds the
weights; this process asks, verifies, explores and computes advantages. Algorithms without a critic and a KL term, since
the API has neither. TINKER_BASE_URL and TINKER_API_KEY say where it is and who asks."""

from __future__ import annotations

import importlib.util
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from rlsp import report
from rlsp.checkpoints import Checkpoint
from rlsp.config import Recipe
from rlsp.engines import stages
from rlsp.engines.progress import Progress
from rlsp.engines.rl_records import RlRecords
from rlsp.engines.stopping import Stopping
from rlsp.errors import InputError, JobFailed
from rlsp.exploration import explorer_for
from rlsp.files import read_json, read_records, write_json
from rlsp.models import load_generation, load_tokenizer
from rlsp.optim import BETAS, warmup_cosine
from rlsp.prompts import finished, stop_ids
from rlsp.rl.batch import Batch, Experience
from rlsp.rl.experience import gather
from rlsp.rl.loop import Training
from rlsp.rl.losses import clip_count, denominator, kl_k3, token_weights
from rlsp.rollouts import Prompt, SamplingSettings
from rlsp.rollouts.sampler import ignore, request_seed
from rlsp.runs import Run
from rlsp.types import Problem, Rollout
from rlsp.verifiers.settings import STRICT, Settings

if TYPE_CHECKING:
    from tinker import Datum, ServiceClient

WEIGHTS = ("rl", "tinker.json")
"""What the service calls the trained weights."""
EPS = 1e-8
"""AdamW's, as in the native engine."""


def check(recipe: Recipe) -> None:
    """Raises InputError when the client is not installed, or the recipe asks for what the API can't do."""
    if importlib.util.find_spec("tinker") is None:
        raise InputError("engine 'tinker' needs the client of its service: pip install 'rlsp[tinker]'")
    rl = recipe.rl
    refused = {
        f"rl.algorithm = {rl.algorithm!r}, which has a critic,": rl.definition.critic,
        "rl.kl_coefficient above 0": rl.kl_coefficient > 0,
        "[sft]": recipe.sft is not None,
        "sampling.temperature other than 1": recipe.sampling.temperature != 1,
        "alarms.pause": recipe.alarms.pause,
    }
    if found := [name for name, wanted in refused.items() if wanted]:
        raise InputError(f"{found[0]} is not to be had on engine 'tinker': change it, or use another engine")
    if recipe.tinker is None or recipe.model.lora is None:
        raise InputError(
            "engine 'tinker' trains an adapter of a model of its service: give tinker.base_model, model.lora"
        )


def run(recipe: Recipe, out: Run, progress: Progress, judging: Settings = STRICT) -> Path:
    """RL between evaluations, then the report: whatever `out` has not finished yet. The trained weights stay with the
    service, by the names in `rl/tinker.json`.

    Returns:
        The report's path.

    Raises:
        InputError: as for `check`.
        JobFailed: the service can't be reached, refuses the key, or fails; what was done is saved.
        Stopped: by a signal; what was done is saved.
    """
    check(recipe)
    import tinker

    try:
        return _run(recipe, out, progress, judging)
    except tinker.TinkerError as error:
        said = f"{type(error).__name__}: {error}".splitlines()[0][:300]
        raise JobFailed(
            f"the service of the Tinker API: {said}. Look at TINKER_BASE_URL and TINKER_API_KEY; `rlsp resume "
            f"{out.directory}` goes on from what is saved"
        ) from error


def _run(recipe: Recipe, out: Run, progress: Progress, judging: Settings) -> Path:
    import tinker

    with Stopping(progress.say) as stopping:
        if not out.finished("problems"):
            out.finish("problems", *stages.write_problems(recipe, out))
        test = list(read_records(out.path("problems", "test.jsonl"), Problem))
        service = tinker.ServiceClient()
        model = Model(recipe, service)

        def evaluate(name: str, label: str) -> None:
            if not out.finished(f"evaluation/{name}"):
                stages.keep(out, stages.evaluate(model, test, recipe, progress, name, label, judging))

        evaluate("base", "Base")
        if not out.finished("rl"):
            _reinforce(model, service, recipe, out, progress, judging, stopping)
        model.client = service.create_sampling_client(model_path=read_json(out.path(*WEIGHTS))["sampler"])
        evaluate("rlsp", "RLSP")
        if not out.finished("evaluation/self-consistency"):
            base, budget = Model(recipe, service), stages.tokens_of_rlsp(out)
            stages.keep(out, stages.vote(base, test, recipe, progress, "Base, majority", budget, judging))
        return report.build(out)


def _reinforce(
    model: Model,
    service: ServiceClient,
    recipe: Recipe,
    out: Run,
    progress: Progress,
    judging: Settings,
    stopping: Stopping,
) -> None:
    records = RlRecords(out, recipe)
    checkpoint, _ = records.keeper.newest()
    if checkpoint is None:
        out.clear("rl")
    records.begin(checkpoint)
    learner = Adapter(model, service, recipe, checkpoint)
    explorer, probe = explorer_for(recipe), stages.probe_of(model, recipe)
    parts = (learner, model.tokenizer, model, explorer, judging, probe, stages.reserve_of(out))
    training, batches = Training(recipe, *parts), stages.problems_of_steps(out, recipe)
    if checkpoint is not None:
        training.restore(checkpoint)
    begun = 0 if checkpoint is None else checkpoint.step
    progress.stage("RL", recipe.rl.steps, begun)
    for step in range(begun, recipe.rl.steps):
        with stopping.step():
            iteration = training.iterate(step, batches[step])
            for alarm in records.write(iteration)[0]:
                progress.say(f"ALARM {alarm.name} at step {alarm.step}: {alarm.sentence}")
            records.save(training.snapshot, step + 1, now=stopping.asked is not None)
        accuracy, length = (iteration.metrics[name] for name in ("accuracy", "length"))
        progress.advance(step + 1, f"accuracy {accuracy:.2f}  length {length:.0f}")
    name = f"{recipe.name}-{recipe.seed}"
    saved = {
        "state": learner.client.save_state(name).result().path,
        "sampler": learner.client.save_weights_for_sampler(name).result().path,
    }
    write_json(out.path(*WEIGHTS), saved)
    out.finish("rl", *records.products, out.path(*WEIGHTS))


class Model:
    """A model of the service with the tokenizer that is needed here: it samples, by the client that is set."""

    def __init__(self, recipe: Recipe, service: ServiceClient) -> None:
        assert recipe.tinker is not None
        self.tokenizer: PreTrainedTokenizerBase = load_tokenizer(recipe.model.path)
        self.stops = stop_ids(self.tokenizer, load_generation(recipe.model.path))
        self.client = service.create_sampling_client(base_model=recipe.tinker.base_model)

    @property
    def sampler(self) -> Model:
        return self

    def sample(
        self,
        prompts: Sequence[Prompt],
        samples: int,
        settings: SamplingSettings,
        seed: int,
        policy_version: int,
        on_ended: Callable[[Sequence[Rollout]], None] = ignore,
    ) -> list[Rollout]:
        """See `Sampler.sample`; the samples of a prompt come from one seed."""
        from tinker import ModelInput, SamplingParams

        asked = []
        for prompt in prompts:
            params = SamplingParams(
                max_tokens=settings.max_response_tokens,
                temperature=settings.temperature,
                seed=request_seed(seed, prompt.problem_id, 0) % 2**31,
                stop=sorted(self.stops),
            )
            asked.append(self.client.sample(ModelInput.from_ints(list(prompt.ids)), samples, params))
        rollouts: list[Rollout] = []
        for prompt, future in zip(prompts, asked, strict=True):
            group = []
            for number, drawn in enumerate(future.result().sequences):
                sampled = (prompt, number, drawn.tokens, drawn.logprobs)
                group.append(finished(self.tokenizer, self.stops, *sampled, settings.temperature, policy_version))
            on_ended(group)
            rollouts += group
        return rollouts


class Adapter:
    """An adapter on the service that learns, begun now or gone on with; `model` samples with it."""

    def __init__(self, model: Model, service: ServiceClient, recipe: Recipe, checkpoint: Checkpoint | None) -> None:
        assert recipe.tinker is not None and recipe.model.lora is not None
        self.model, self.recipe, self.device = model, recipe, torch.device("cpu")
        if checkpoint is None:
            rank, base = recipe.model.lora.rank, recipe.tinker.base_model
            self.client = service.create_lora_training_client(base, rank=rank, seed=recipe.seed)
        else:
            self.client = service.create_training_client_from_state_with_optimizer(checkpoint.state["weights"])
        self.model.client = self.client.save_weights_and_get_sampling_client()

    def experience(self, batch: Batch) -> Experience:
        return gather(batch, None, None, self.recipe.rl)

    def update(self, experience: Experience, step: int) -> dict[str, float]:
        """One iteration's epochs over its minibatches.

        Returns:
            Metrics averaged over the minibatches; `logprob_gap` is the first's, before any weight has moved.
        """
        from tinker import AdamParams

        rl, batch = self.recipe.rl, experience.batch
        rate = rl.actor_learning_rate * warmup_cosine(step, rl.steps, rl.warmup_share)
        adam = AdamParams(learning_rate=rate, beta1=BETAS[0], beta2=BETAS[1], eps=EPS, grad_clip_norm=rl.grad_clip)
        clips = {"clip_low_threshold": 1 - rl.clip, "clip_high_threshold": 1 + rl.clip_high}
        taught_B, generator = experience.driven_B & batch.in_loss_B, torch.Generator().manual_seed(step)
        collected: dict[str, list[float]] = defaultdict(list)
        for _ in range(rl.epochs):
            for rows in torch.randperm(len(taught_B), generator=generator).split(rl.minibatch_rollouts):
                taught = rows[taught_B[rows]]
                if not len(taught):
                    continue
                answer = self.client.forward_backward(self._data(experience, rows, taught), "ppo", clips).result()
                self.client.optim_step(adam).result()
                new = torch.cat(
                    [
                        torch.tensor(each["logprobs"].data)[-int(batch.mask_BR[row].sum()) :]
                        for row, each in zip(taught, answer.loss_fn_outputs, strict=True)
                    ]
                )
                old = batch.logprobs_BR[taught][batch.mask_BR[taught]]
                everything = torch.ones_like(old, dtype=torch.bool)
                collected["approx_kl"].append(kl_k3(old, new).mean().item())
                collected["clipfrac"].append(clip_count(new, old, everything, rl.clip, rl.clip_high).item() / len(old))
                collected["logprob_gap"].append((new - old).abs().mean().item())
        self.model.client = self.client.save_weights_and_get_sampling_client()
        means = {name: sum(values) / len(values) for name, values in collected.items()}
        return means | ({"logprob_gap": collected["logprob_gap"][0]} if collected else {})

    def _data(self, experience: Experience, rows: Tensor, taught: Tensor) -> list[Datum]:
        """The taught rollouts of a minibatch. The service adds up −min(ρA, clip(ρ)A) over tokens, so that each token's
        weight and the minibatch's denominator go into its advantage."""
        from tinker import Datum, ModelInput

        batch, aggregation = experience.batch, self.recipe.rl.definition.aggregation
        whole = denominator(batch.counted_BR[rows], aggregation, self.recipe.sampling.max_response_tokens)
        weighed_BR = experience.advantages_BR * token_weights(batch.counted_BR, aggregation) / whole
        data = []
        for row in taught.tolist():
            inside_R, end = batch.mask_BR[row], int(batch.ends_B[row])
            ids = batch.ids_BT[row, :end].tolist()
            before = [0.0] * (end - 1 - int(inside_R.sum()))
            inputs: dict[str, Any] = {
                "target_tokens": ids[1:],
                "logprobs": before + batch.logprobs_BR[row][inside_R].tolist(),
                "advantages": before + weighed_BR[row][inside_R].tolist(),
            }
            data.append(Datum(model_input=ModelInput.from_ints(ids[:-1]), loss_fn_inputs=inputs))
        return data

    def kept(self, step: int) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """What the service calls the training."""
        name = f"{self.recipe.name}-{self.recipe.seed}-{step}"
        return {}, {"weights": self.client.save_state(name).result().path}

    def restore(self, checkpoint: Checkpoint) -> None:
        """It was begun with the checkpoint."""

"""RL of an adapter on a service that speaks the Tinker API, by the extra `tinker`: the service samples and holds the
weights; this process asks, verifies, explores and computes advantages. Algorithms without a critic and a KL term, since
the API has neither. TINKER_BASE_URL and TINKER_API_KEY say where it is and who asks."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from rlsp import parallel, report
from rlsp.config import LoraRecipe, Recipe
from rlsp.engines import drawing, rl_stage, stages
from rlsp.engines.progress import Progress
from rlsp.engines.rl_records import RlRecords
from rlsp.engines.stopping import Stopping
from rlsp.engines.tinker.service import Adapter, Model
from rlsp.errors import InputError, JobFailed
from rlsp.exploration import explorer_for
from rlsp.files import read_json, read_records, write_json
from rlsp.reward import warnings
from rlsp.rl.loop import Training
from rlsp.runs import Run
from rlsp.types import Problem
from rlsp.verifiers.settings import STRICT, Settings

if TYPE_CHECKING:
    from tinker import ServiceClient

WEIGHTS = ("rl", "tinker.json")
"""What the service calls the trained weights."""


def check(recipe: Recipe) -> None:
    """Raises InputError when the client is not installed, or the recipe asks for what the API can't do."""
    if parallel.size() > 1:
        raise InputError("engine 'tinker' trains on its service: leave torchrun out")
    if importlib.util.find_spec("tinker") is None:
        raise InputError("engine 'tinker' needs the client of its service: pip install 'rlsp[tinker]'")
    rl, model, lora = recipe.rl, recipe.model, recipe.model.lora
    refused = {
        f"rl.algorithm = {rl.algorithm!r}, which has a critic,": rl.definition.critic,
        "rl.kl_coefficient above 0": rl.kl_coefficient > 0,
        "[sft]": recipe.sft is not None,
        "sampling.temperature other than 1": recipe.sampling.temperature != 1,
        "sampling.engine = 'vllm'": recipe.sampling.engine == "vllm",
        "model.gradient_checkpointing": model.gradient_checkpointing,
        "model.compile": model.compile,
        "any of model.lora but its rank": lora is not None and lora != LoraRecipe(rank=lora.rank),
    }
    if found := [name for name, wanted in refused.items() if wanted]:
        raise InputError(f"{found[0]} is not to be had on engine 'tinker': change it, or use another engine")
    if recipe.tinker is None or lora is None:
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
        Paused, Diverged, Stopped: as for the native engine.
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

    for warning in warnings(recipe):
        progress.say(f"warning: {warning}")
    with Stopping(progress.say) as stopping:
        if not out.finished("problems"):
            out.finish("problems", *drawing.write_problems(recipe, out))
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
    kept, batches = RlRecords(out, recipe), drawing.problems_of_steps(out, recipe)
    checkpoint = kept.keeper.latest(out, "rl", progress)
    learner = Adapter(model, service, recipe, checkpoint)
    explorer, probe = explorer_for(recipe), stages.probe_of(model, recipe)
    parts = (learner, model.tokenizer, model, explorer, judging, probe, drawing.reserve_of(out))
    rl_stage.train(Training(recipe, *parts), model, kept, checkpoint, batches, progress, judging, stopping)
    name = f"{recipe.name}-{recipe.seed}"
    saved = {
        "state": learner.client.save_state(name).result().path,
        "sampler": learner.client.save_weights_for_sampler(name).result().path,
    }
    write_json(out.path(*WEIGHTS), saved)
    out.finish("rl", *kept.products, out.path(*WEIGHTS))

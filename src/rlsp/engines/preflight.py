"""What can be wrong with a recipe, before anything is loaded, written or trained."""

from __future__ import annotations

from transformers import PretrainedConfig

from rlsp.config import Recipe
from rlsp.engines import drawing, stages, tinker, verl
from rlsp.engines.verl import settings as verl_settings
from rlsp.errors import InputError
from rlsp.lora import meta_model
from rlsp.models import has_plain_head, load_config, load_tokenizer
from rlsp.passes import check_compiler
from rlsp.rollouts.native import check_capacity
from rlsp.rollouts.sampler import check_room
from rlsp.rollouts.vllm import check_vllm
from rlsp.runs import Engine
from rlsp.tasks import check_traces
from rlsp.verifiers import verify_all
from rlsp.verifiers.settings import STRICT, Settings
from rlsp.xray.cast import NoCast
from rlsp.xray.ranking import check as check_ranking
from rlsp.xray.tokens import ModelTokens


def check(
    recipe: Recipe, judging: Settings = STRICT, accept_reward_risks: bool = False, engine: Engine = "native"
) -> str:
    """What can be wrong with the recipe's model, problems and reward, and with asking this engine for it, before
    anything is written or trained; weights are not read.

    Returns:
        Why the reward's ranking could not be checked; "" when it was, or its risks are accepted.

    Raises:
        InputError: no such model, problems, traces or verifier, an engine that is not installed or can't do it,
            adapters that the model can't have, too few problems, longer ones than the recipe or the model allows,
            problems that their verifier can't judge here, or a reward that ranks standard responses wrongly.
    """
    config, tokenizer = load_config(recipe.model.path), load_tokenizer(recipe.model.path)
    if engine == "native":
        _check_native(recipe, config)
    elif engine == "verl":
        verl.require()
        verl_settings.check(recipe)
    else:
        tinker.check(recipe)
    if recipe.demonstrations and recipe.demonstrations.data:
        check_traces(recipe.demonstrations, recipe.task)
    problems = [problem for batch in drawing.training_problems(recipe) for problem in batch]
    problems += drawing.held_out_problems(recipe) + drawing.probe_problems(recipe) + drawing.reserve_problems(recipe)
    verify_all(problems, [""] * len(problems), judging)
    prompts = stages.encode_prompts(tokenizer, problems, recipe)
    longest = max(len(prompt.ids) for prompt in prompts) + recipe.sampling.max_response_tokens
    if engine == "native":
        check_sampler = check_capacity if recipe.sampling.engine == "native" else check_vllm
        check_sampler(config, longest, recipe.sampling.cache_tokens)
    else:
        check_room(config, longest, longest)  # of the model alone: the cache is the engine's
    if accept_reward_risks:
        return ""
    if recipe.reward.mix == "advantage":
        return "the reward's ranking was not checked: reward.mix = 'advantage' normalises the signals before they meet"
    try:
        check_ranking(recipe, ModelTokens(tokenizer), judging, problems[0].task)
    except NoCast as reason:
        return f"the reward's ranking was not checked: {reason}"
    return ""


def _check_native(recipe: Recipe, config: PretrainedConfig) -> None:
    check_compiler(recipe.model)
    if recipe.rl.critic_trunk == "shared" and not has_plain_head(config):
        raise InputError(
            f"rl.critic_trunk = 'shared' needs the states that logits are made from, and {config.model_type} soft-caps "
            "or scales its logits: leave rl.critic_trunk out"
        )
    if recipe.model.lora is not None:
        meta_model(config, recipe.model.lora)

"""What will keep a run from learning or from coming to its end, found before its first step."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from transformers import BatchEncoding, PreTrainedModel, PreTrainedTokenizerBase

from rlsp.config import Recipe
from rlsp.engines import drawing, stages
from rlsp.engines.estimate import GIB, Estimate, estimate
from rlsp.engines.stages import Asked, Policy
from rlsp.errors import InputError
from rlsp.exploration import explorer_for
from rlsp.prompts import stop_ids
from rlsp.reward import score
from rlsp.rl.health import Check, of_rollouts
from rlsp.rollouts import SamplingSettings
from rlsp.types import Problem
from rlsp.verifiers import math
from rlsp.verifiers.settings import STRICT, Settings
from rlsp.xray.plan import pull

PROMPTS = 32
SAMPLES = 4
"""How many rollouts are looked at: of so many problems, at most so many each."""
USUAL_KL = 0.02
"""Nats a token that a policy is taken to move away by: what is to be told before it has moved at all."""
BYTES_A_TOKEN = 24
"""Of stored rollouts and scores, compressed: about."""


def of_recipe(recipe: Recipe, policy: Policy, problems: Sequence[Problem], out: Path) -> Iterator[Check]:
    """What needs no sampling: the chat template, references, memory, disk."""
    yield of_template(policy.tokenizer, policy.model)
    yield of_references(problems)
    needed = estimate(recipe)
    yield of_memory(needed)
    yield of_disk(recipe, needed, out)


def of_policy(recipe: Recipe, policy: Asked, problems: Sequence[Problem], judging: Settings = STRICT) -> list[Check]:
    """What the policy's own rollouts show."""
    asked = list(problems[:PROMPTS])
    samples = min(SAMPLES, recipe.rl.samples_per_prompt)
    prompts = stages.encode_prompts(policy.tokenizer, asked, recipe)
    settings = SamplingSettings(
        recipe.sampling.temperature, recipe.sampling.max_response_tokens, recipe.sampling.cache_tokens
    )
    rollouts = policy.sampler.sample(prompts, samples, settings, drawing.stream(recipe.seed, drawing.DOCTOR_SEED), 0)
    scores = score(asked, rollouts, explorer_for(recipe, ask_judge=False), recipe.reward, judging)
    length = sum(rollout.length for rollout in rollouts) / len(rollouts)
    return [*of_rollouts(recipe, rollouts, scores), *of_tax(recipe, length)]


def of_padding(tokenizer: PreTrainedTokenizerBase) -> Check:
    """A word for whoever takes the model elsewhere; no run is harmed."""
    same = tokenizer.pad_token_id is not None and tokenizer.pad_token_id == tokenizer.eos_token_id
    return Check(
        "padding",
        f"pad is {tokenizer.pad_token!r}, EOS is {tokenizer.eos_token!r}",
        "rlsp masks by length and is not harmed, but trainers that mask by pad never learn to stop: set another "
        "pad_token in the model's tokenizer_config.json before you hand it on"
        if same
        else "",
    )


def of_template(tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel) -> Check:
    """A template must open the answer's turn, close it by a token that stops sampling, and begin once."""
    if tokenizer.chat_template is None:
        return Check("template", "the model has no chat template: prompts are plain questions")
    question, answer = {"role": "user", "content": "1 + 1?"}, {"role": "assistant", "content": "2"}
    closed, opened = (_rendered(tokenizer, [question], add_generation_prompt=each) for each in (False, True))
    whole, name = _rendered(tokenizer, [question, answer]), "template"
    if opened == closed:
        return Check(
            name,
            "the chat template does not open the answer's turn (add_generation_prompt changes nothing)",
            "mend chat_template in the model's tokenizer_config.json: the model would go on with the user's turn",
        )
    bos = tokenizer.bos_token_id
    if bos is not None and opened[:2] == [bos, bos]:
        return Check(name, "prompts begin with two BOS tokens", "take one out of chat_template")
    stops = stop_ids(tokenizer, model.generation_config)
    after = whole[len(closed) :]
    if not stops & set(after):
        ends = tokenizer.decode(after[-2:])
        return Check(
            name,
            f"the chat template ends an answer by {ends!r}, which does not stop sampling",
            "add that token's id to eos_token_id in the model's generation_config.json",
        )
    return Check(name, "the chat template opens the answer's turn and closes it by a token that stops sampling")


def _rendered(
    tokenizer: PreTrainedTokenizerBase, turns: list[dict[str, str]], add_generation_prompt: bool = False
) -> list[int]:
    encoded = tokenizer.apply_chat_template(turns, add_generation_prompt=add_generation_prompt, return_dict=True)
    assert isinstance(encoded, BatchEncoding)
    return list(encoded.input_ids)


def of_references(problems: Sequence[Problem]) -> Check:
    """Whether the math verifier can read what it compares with."""
    asked = [problem for problem in problems if problem.task == "math"]
    unread = [
        (problem, why)
        for problem, why in zip(asked, math.unreadable([problem.answer for problem in asked]), strict=True)
        if why
    ]
    if not unread:
        return Check("references", f"all of {len(problems)} references can be read")
    problem, why = unread[0]
    return Check(
        "references",
        f"{len(unread)} of {len(asked)} references can't be read, e.g. {problem.answer!r} of {problem.id}: {why}",
        "they match letter by letter only: look at them by `rlsp tasks check`, and leave them out or mend them",
    )


def of_tax(recipe: Recipe, length: float) -> Iterator[Check]:
    """Whether the KL penalty will eat what searching is paid; nothing where no length is paid or taxed."""
    try:
        forces = pull(recipe, length, USUAL_KL)
    except InputError:
        return
    if forces.tax <= 0:
        return
    rest = forces.equilibrium
    yield Check(
        "kl",
        f"at a KL of {USUAL_KL:g} nats a token, pay for length and β·KL meet at {rest:.0f} tokens; responses have "
        f"{length:.0f} now",
        f"lower rl.kl_coefficient = {recipe.rl.kl_coefficient:g}, or see `rlsp reward plan` for the C that pays more"
        if rest < length
        else "",
    )


def of_memory(needed: Estimate) -> Check:
    have, where = memory()
    total = needed.total_bytes
    largest = max(needed.bytes_by_part, key=lambda part: needed.bytes_by_part[part])
    return Check(
        "memory",
        f"about {total / GIB:.1f} of {have / GIB:.1f} GiB {where}",
        f"most of it is {largest}: take model.lora, rl.critic_trunk = 'shared', model.gradient_checkpointing, or lower "
        "sampling.cache_tokens or rl.microbatch_tokens"
        if total > have
        else "",
    )


def memory() -> tuple[int, str]:
    """(bytes that this machine's device has, where)"""
    if torch.cuda.is_available():
        return int(torch.cuda.mem_get_info()[1]), "on the GPU"
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), "of memory"


def of_disk(recipe: Recipe, needed: Estimate, out: Path) -> Check:
    """Checkpoints and models, and the rollouts at their longest."""
    learners = 2 if recipe.rl.critic_trunk == "own" else 1
    checkpoint = 3 * 4 * needed.learnt * learners
    models = 4 * needed.parameters * (1 + (recipe.sft is not None))
    most = (recipe.checkpoints.keep + 2) * checkpoint + models + BYTES_A_TOKEN * needed.rollout_tokens
    there = next(each for each in out.absolute().parents if each.exists())
    free = shutil.disk_usage(there).free
    return Check(
        "disk",
        f"at most {most / GIB:.2f} of {free / GIB:.1f} GiB free in {there}",
        f"a checkpoint has {checkpoint / GIB:.2f} GiB: make room, give another --out, or lower checkpoints.keep"
        if most > free
        else "",
    )

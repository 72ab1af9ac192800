"""A recipe for OpenRLHF: the file that its `--reward.remote_url` takes, and its prompts."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from rlsp import tasks
from rlsp.config import Recipe, load, to_toml
from rlsp.config.exploration import GROUPED
from rlsp.errors import InputError
from rlsp.files import whole_directory, write_text
from rlsp.integrations.scorer import Scorer
from rlsp.integrations.texts import Texts
from rlsp.model_files import resolve
from rlsp.models import load_tokenizer
from rlsp.prompts import PLAIN_ENDING, user_text
from rlsp.tasks.splits import Split
from rlsp.types import to_json

RewardFunction = Callable[[Sequence[str], Sequence[str], Sequence[str]], dict[str, Any]]
FILE = '''"""The reward of the recipe beside this file, for OpenRLHF: one response at a time, from several threads."""

from pathlib import Path

from rlsp.integrations.openrlhf import reward_function

reward_func = reward_function(Path(__file__).with_name("recipe.toml"))
'''


def reward_function(path: Path) -> RewardFunction:
    """`reward_func(queries, prompts, labels)` of a recipe's file, for labels that are problems in JSON.

    OpenRLHF logs an exception of it and goes on without that reward.

    Raises:
        InputError: the recipe or its tokenizer can't be read, or OpenRLHF can't do what it asks for.
    """
    recipe = load(Recipe, str(path), [])
    _check(recipe)
    scorer, texts = Scorer(recipe), Texts(recipe, load_tokenizer(recipe.model.path))

    def reward_func(queries: Sequence[str], prompts: Sequence[str], labels: Sequence[str]) -> dict[str, Any]:
        """Totals of Eq. 1, verdicts as scores, both signals to be logged."""
        scores = scorer.score([texts.read(*each) for each in zip(queries, prompts, labels, strict=True)])
        if lost := [each for each in scores if each.total is None]:
            raise RuntimeError(f"no exploration reward: {lost[0].exploration.missing}")
        correct = torch.tensor([float(each.verdict.correct) for each in scores])
        return {
            "rewards": torch.tensor([each.total for each in scores]),
            "scores": correct,
            "extra_logs": {
                "correct": correct,
                "explore": torch.tensor([each.exploration.value for each in scores]),
                "unjudged": torch.tensor([float(each.verdict.reason.unjudged) for each in scores]),
            },
        }

    return reward_func


def export(recipe: Recipe, directory: Path) -> list[str]:
    """Write reward.py, recipe.toml and prompts.jsonl (`input`, `label`); whole or not at all.

    Returns:
        The arguments of OpenRLHF's trainer that belong to them: where they are, and how the recipe samples.

    Raises:
        InputError: as for `reward_function`, or the data can't be read.
    """
    _check(recipe)
    model = resolve(recipe.model.path).resolve()
    tokenizer = load_tokenizer(recipe.model.path)
    problems = tasks.problems(recipe.task, Split.TRAIN, recipe.rl.steps * recipe.rl.prompts_per_step, recipe.seed)
    ending = PLAIN_ENDING if tokenizer.chat_template is None else ""
    prompts = [
        {
            "input": user_text(each, recipe) + ending,
            "label": json.dumps(to_json(each), ensure_ascii=False),
        }
        for each in problems
    ]
    moved = recipe.model_copy(update={"model": recipe.model.model_copy(update={"path": str(model)})})
    with whole_directory(directory) as beside:
        write_text(beside / "reward.py", FILE)
        write_text(beside / "recipe.toml", to_toml(moved))
        write_text(beside / "prompts.jsonl", "".join(json.dumps(each) + "\n" for each in prompts))
    here, sampling = directory.resolve(), recipe.sampling
    arguments = {
        "reward.remote_url": here / "reward.py",
        "data.prompt_dataset": here / "prompts.jsonl",
        "data.input_key": "input",
        "data.label_key": "label",
        "actor.model_name_or_path": model,
        "rollout.n_samples_per_prompt": recipe.rl.samples_per_prompt,
        "rollout.temperature": sampling.temperature,
        "rollout.max_new_tokens": sampling.max_response_tokens,
        "data.max_len": recipe.longest_tokens,
        "reward.clip_range": f"{-recipe.reward.clamp:g} {recipe.reward.clamp:g}",
    }
    given = [part for name, value in arguments.items() for part in (f"--{name}", *str(value).split())]
    return given if ending else [*given, "--data.apply_chat_template"]


def _check(recipe: Recipe) -> None:
    if recipe.reward.schedule.kind != "constant":
        kind = recipe.reward.schedule.kind
        raise InputError(f"reward.schedule {kind!r}: OpenRLHF tells a reward no step; use a constant α")
    if recipe.reward.mix == "advantage":
        raise InputError("reward.mix 'advantage' needs two streams; OpenRLHF takes one number a response: use 'reward'")
    if siblings := [name for name in recipe.exploration.paid if name in GROUPED]:
        raise InputError(f"exploration {siblings[0]!r} compares siblings; OpenRLHF asks for one response at a time")
    if recipe.reward.truncation == "mask":
        raise InputError("reward.truncation 'mask' leaves responses out of the loss, which OpenRLHF can't: use 'floor'")

"""A recipe in the words of verl's configuration. Needs no verl."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rlsp.config import Recipe
from rlsp.config.algorithms import Aggregation
from rlsp.config.cluster import ClusterRecipe
from rlsp.config.exploration import DENSE, GROUPED
from rlsp.engines.verl.files import AGENT_LOOPS, CHECKPOINTS, DEMONSTRATIONS, HELD_OUT, PROMPTS
from rlsp.errors import InputError
from rlsp.exploration import explorer_for
from rlsp.optim import BETAS, FLOOR
from rlsp.rl.streams import streams_for

AGGREGATIONS: dict[Aggregation, str] = {
    "token_mean": "token-mean",
    "sequence_mean": "seq-mean-token-mean",
    "sequence_sum": "seq-mean-token-sum",
    "budget": "seq-mean-token-sum-norm",
}
TRAINER = "rlsp"
"""Under this name our trainer and our agent loop are registered with verl."""
NO_DUAL_CLIP = 1e4
"""verl clips ratios above `clip_ratio_c` where the advantage is negative, which plain PPO does not."""
LOOP = f"- name: {TRAINER}\n  _target_: rlsp.engines.verl.loop.PromptLoop\n"
FREE = ("rlsp.", "ray_init.", "override_config.", "mixed_precision", "engine_kwargs.")


def is_free(key: str) -> bool:
    """Whether verl takes the key though its own configuration does not name it."""
    return any(each in key for each in FREE)


def overrides(settings: Mapping[str, Any]) -> Iterator[str]:
    """Settings in the grammar of Hydra's command line."""
    for key, value in settings.items():
        yield f"{'++' if is_free(key) else ''}{key}={_word(value)}"


def _word(value: Any) -> str:
    if isinstance(value, list):
        return f"[{','.join(map(_word, value))}]"
    if isinstance(value, str):  # Hydra's backslash escapes nothing but a quote, and backslashes before one
        return '"' + re.sub(r'(\\*)("|$)', lambda found: 2 * found[1] + (found[2] and '\\"'), value) + '"'
    return "null" if value is None else json.dumps(value)


def check(recipe: Recipe) -> ClusterRecipe:
    """The recipe's cluster.

    Raises:
        InputError: the recipe asks for what this engine can't do.
    """
    cluster, rl, reward = recipe.cluster, recipe.rl, recipe.reward
    if cluster is None:
        raise InputError("engine 'verl' needs to know where it runs: give [cluster] nodes, gpus_per_node, …")
    refused = {
        "model.lora": recipe.model.lora is not None,
        "model.compile": recipe.model.compile,
        "rl.dynamic_sampling": rl.dynamic_sampling,
        "rl.critic_trunk = 'shared'": rl.critic_trunk == "shared",
        "reward.truncation = 'mask'": reward.truncation == "mask",
        "reward.schedule 'accuracy'": reward.schedule.kind == "accuracy",
        "sft.optimizer = 'muon'": recipe.sft is not None and recipe.sft.optimizer == "muon",
        "alarms.pause": recipe.alarms.pause,
    } | {f"exploration {name!r}, which compares siblings,": name in recipe.exploration.paid for name in GROUPED}
    if found := [name for name, wanted in refused.items() if wanted]:
        raise InputError(f"{found[0]} is not to be had on engine 'verl': change it, or use the native engine")
    if rl.minibatch_rollouts % rl.samples_per_prompt:
        raise InputError(
            f"verl cuts minibatches by prompts: rl.minibatch_rollouts = {rl.minibatch_rollouts} has to be a multiple "
            f"of rl.samples_per_prompt = {rl.samples_per_prompt}"
        )
    ranks = cluster.gpus // cluster.sequence_parallel
    if cluster.gpus % cluster.sequence_parallel or rl.minibatch_rollouts % ranks:
        raise InputError(
            f"rl.minibatch_rollouts = {rl.minibatch_rollouts} does not divide among {cluster.gpus} GPUs / "
            f"cluster.sequence_parallel = {cluster.sequence_parallel}: choose a multiple"
        )
    if cluster.gpus % cluster.tensor_parallel:
        raise InputError(f"cluster.tensor_parallel = {cluster.tensor_parallel} does not divide {cluster.gpus} GPUs")
    return cluster


def stock_advantages(recipe: Recipe) -> bool:
    """Whether verl's own GAE can do it: one reward at the last token, and a value for every rollout."""
    paid = recipe.exploration.paid
    one_gamma = all(part.gamma in (None, recipe.rl.gamma) for part in recipe.exploration.parts.values())
    one_reward = recipe.reward.mix == "reward" and one_gamma and not set(paid) & {*DENSE, "judge"}
    return one_reward and recipe.rl.definition.critic


def streams(recipe: Recipe) -> tuple[str, ...]:
    """What the critic has a head for each of."""
    return streams_for(recipe.reward, explorer_for(recipe, ask_judge=False), recipe.rl.gamma).names


def reinforcement(recipe: Recipe, model: Path, folder: Path) -> dict[str, Any]:
    """Dotted keys and values of RL. `folder` holds the recipe and the data (see `data.py`), checkpoints go there."""
    rl, definition = recipe.rl, recipe.rl.definition
    tokens = max(rl.microbatch_tokens, recipe.longest_tokens)
    minibatch = rl.minibatch_rollouts // rl.samples_per_prompt
    aggregation = AGGREGATIONS[definition.aggregation]
    scale = recipe.sampling.max_response_tokens if definition.aggregation == "budget" else None
    every = recipe.checkpoints.every or max(1, rl.steps // 10)
    actor = {
        "ppo_mini_batch_size": minibatch,
        "ppo_epochs": rl.epochs,
        "ppo_max_token_len_per_gpu": tokens,
        "shuffle": True,
        "data_loader_seed": recipe.seed,
        "clip_ratio": rl.clip,
        "clip_ratio_low": rl.clip,
        "clip_ratio_high": rl.clip_high,
        "clip_ratio_c": NO_DUAL_CLIP,
        "loss_agg_mode": aggregation,
        "loss_scale_factor": scale,
        "use_kl_loss": rl.kl_in_loss,
        "kl_loss_coef": rl.kl_coefficient,
        "kl_loss_type": "low_var_kl",
        "grad_clip": rl.grad_clip,
        "optim.clip_grad": rl.grad_clip,
        "checkpoint.save_contents": ["model", "optimizer", "extra", "hf_model"],
    } | _optimizer(rl.actor_learning_rate, rl.warmup_share)
    settings = {
        **_common(recipe, model, folder),
        **{f"actor_rollout_ref.actor.{key}": value for key, value in actor.items()},
        "actor_rollout_ref.rollout.n": rl.samples_per_prompt,
        "algorithm.adv_estimator": "gae" if definition.critic else "grpo",
        "algorithm.gamma": rl.gamma,
        "algorithm.use_kl_in_reward": rl.kl_coefficient > 0 and not rl.kl_in_loss,
        "algorithm.kl_penalty": "kl",
        "algorithm.kl_ctrl.kl_coef": rl.kl_coefficient,
        "trainer.total_training_steps": rl.steps,
        "trainer.critic_warmup": rl.actor_waits + 1,  # verl counts steps from 1
        "trainer.val_before_train": recipe.probe is not None,
        "trainer.test_freq": recipe.probe.every if recipe.probe else -1,
        "trainer.save_freq": every,
        "trainer.max_actor_ckpt_to_keep": recipe.checkpoints.keep,
        "trainer.max_critic_ckpt_to_keep": recipe.checkpoints.keep,
    }
    if definition.critic:
        critic = {
            "model.path": str(model),
            "model.tokenizer_path": str(model),
            "model.enable_gradient_checkpointing": recipe.model.gradient_checkpointing,
            "model.override_config.rlsp_streams": len(streams(recipe)),
            "strategy": "fsdp2",
            "ppo_max_token_len_per_gpu": tokens,
            "cliprange_value": rl.value_clip,
            "grad_clip": rl.grad_clip,
            "optim.clip_grad": rl.grad_clip,
            "data_loader_seed": recipe.seed,
            **_optimizer(rl.critic_learning_rate or 0.0, rl.warmup_share),
            **{f"fsdp.{key}": value for key, value in _sharded(_cluster(recipe)).items()},
        }
        settings |= {f"critic.{key}": value for key, value in critic.items()}
        settings["algorithm.lam"] = rl.gae_lambda
    return settings | dict(_of_rl(_cluster(recipe)))


def evaluation(recipe: Recipe, model: Path, folder: Path, samples: int, temperature: float) -> dict[str, Any]:
    """Dotted keys and values of an evaluation: verl's validation alone, without critic and reference."""
    settings = {
        **_common(recipe, model, folder),
        "actor_rollout_ref.actor.ppo_mini_batch_size": 1,
        "actor_rollout_ref.rollout.val_kwargs.n": samples,
        "actor_rollout_ref.rollout.val_kwargs.temperature": temperature,
        "actor_rollout_ref.rollout.val_kwargs.do_sample": temperature > 0,
        "data.train_batch_size": 1,
        "actor_rollout_ref.actor.ppo_max_token_len_per_gpu": recipe.longest_tokens,
        "algorithm.adv_estimator": "grpo",
        "trainer.val_only": True,
        "trainer.val_before_train": True,
        "trainer.resume_mode": "disable",
    }
    return settings | dict(_of_rl(_cluster(recipe)))


def finetuning(recipe: Recipe, model: Path, folder: Path, lengths: Sequence[int]) -> dict[str, Any]:
    """Dotted keys and values of SFT on sequences of these lengths in tokens. verl counts a batch by its sequences: so
    many as fill `sft.batch_tokens` on average, on every GPU of one node the same number.

    Raises:
        InputError: the batches would be smaller than one sequence a GPU, or there are fewer sequences than that.
    """
    sft, cluster = recipe.sft, _cluster(recipe)
    assert sft is not None
    ranks = max(1, cluster.gpus_per_node // cluster.sequence_parallel)
    filling = min(sft.batch_tokens * len(lengths) // sum(lengths), len(lengths))
    batch = filling // ranks * ranks
    if not batch:
        raise InputError(
            f"sft.batch_tokens = {sft.batch_tokens} holds {filling} of {len(lengths)} demonstrations, and {ranks} GPUs "
            "need one each: raise it, or demonstrations.count"
        )
    longest = max(lengths)
    settings = {
        "model.path": str(model),
        "model.enable_gradient_checkpointing": recipe.model.gradient_checkpointing,
        "model.use_remove_padding": True,
        **{f"engine.{key}": value for key, value in _sharded(cluster).items()},
        **_optimizer(sft.learning_rate, sft.warmup_share),
        "optim.weight_decay": sft.weight_decay,
        "optim.clip_grad": sft.grad_clip,
        "data.train_files": str(folder / DEMONSTRATIONS),
        "data.train_batch_size": batch,
        "data.use_dynamic_bsz": True,
        "data.max_token_len_per_gpu": max(longest, sft.batch_tokens // ranks),
        "data.max_length": longest,
        "data.num_workers": 0,
        "data.custom_cls.path": "pkg://rlsp.engines.verl.sft",
        "data.custom_cls.name": "Demonstrations",
        "trainer.total_epochs": sft.epochs,
        "trainer.nnodes": 1,
        "trainer.n_gpus_per_node": cluster.gpus_per_node,
        "trainer.seed": recipe.seed,
        "trainer.logger": ["console", "file"],
        "trainer.project_name": "rlsp",
        "trainer.experiment_name": recipe.name,
        "trainer.default_local_dir": str(folder / CHECKPOINTS),
        "trainer.max_ckpt_to_keep": 1,
        "trainer.save_freq": recipe.checkpoints.every or max(1, len(lengths) // batch),
        "checkpoint.save_contents": ["model", "optimizer", "extra", "hf_model"],
    }
    return settings | dict(_flat(cluster.verl.get("sft", {})))


def _common(recipe: Recipe, model: Path, folder: Path) -> dict[str, Any]:
    cluster, sampling = _cluster(recipe), recipe.sampling
    rollout = {
        "name": cluster.rollout,
        "temperature": sampling.temperature,
        "prompt_length": sampling.max_prompt_tokens,
        "response_length": sampling.max_response_tokens,
        "max_model_len": recipe.longest_tokens,
        "tensor_model_parallel_size": cluster.tensor_parallel,
        "gpu_memory_utilization": cluster.memory_share,
        "seed": recipe.seed,
        "val_kwargs.temperature": sampling.temperature,
        "val_kwargs.do_sample": True,
        "agent.default_agent_loop": TRAINER,
        "agent.agent_loop_config_path": str(folder / AGENT_LOOPS),
    }
    actor = {
        "strategy": "fsdp2",
        "use_dynamic_bsz": True,
        "ulysses_sequence_parallel_size": cluster.sequence_parallel,
        **{f"fsdp_config.{key}": value for key, value in _sharded(cluster).items()},
    }
    return {
        "rlsp.folder": str(folder),
        "data.train_files": str(folder / PROMPTS),
        "data.val_files": str(folder / HELD_OUT),
        "data.train_batch_size": recipe.rl.prompts_per_step,
        "data.max_prompt_length": sampling.max_prompt_tokens,
        "data.max_response_length": sampling.max_response_tokens,
        "data.shuffle": False,
        "data.dataloader_num_workers": 0,
        "actor_rollout_ref.model.path": str(model),
        "actor_rollout_ref.model.enable_gradient_checkpointing": recipe.model.gradient_checkpointing,
        "actor_rollout_ref.model.use_remove_padding": True,
        **{f"actor_rollout_ref.actor.{key}": value for key, value in actor.items()},
        **{f"actor_rollout_ref.rollout.{key}": value for key, value in rollout.items()},
        "actor_rollout_ref.ref.fsdp_config.param_offload": cluster.offload,
        "reward.num_workers": cluster.nodes,
        "reward.reward_manager.source": "importlib",
        "reward.reward_manager.name": "RewardManager",
        "reward.reward_manager.module.path": "pkg://rlsp.engines.verl.rewards",
        "trainer.v1.trainer_mode": TRAINER,
        "trainer.nnodes": cluster.nodes,
        "trainer.n_gpus_per_node": cluster.gpus_per_node,
        "trainer.logger": ["console"],
        "trainer.project_name": "rlsp",
        "trainer.experiment_name": recipe.name,
        "trainer.default_local_dir": str(folder / CHECKPOINTS),
        "trainer.total_epochs": 1,
    }


def _optimizer(learning_rate: float, warmup_share: float) -> dict[str, Any]:
    return {
        "optim.lr": learning_rate,
        "optim.lr_warmup_steps_ratio": warmup_share,
        "optim.lr_scheduler_type": "cosine",
        "optim.min_lr_ratio": FLOOR,
        "optim.weight_decay": 0.0,
        "optim.betas": list(BETAS),
    }


def _sharded(cluster: ClusterRecipe) -> dict[str, Any]:
    return {
        "strategy": "fsdp2",
        "param_offload": cluster.offload,
        "optimizer_offload": cluster.offload,
        "ulysses_sequence_parallel_size": cluster.sequence_parallel,
    }


def _cluster(recipe: Recipe) -> ClusterRecipe:
    assert recipe.cluster is not None
    return recipe.cluster


def _of_rl(cluster: ClusterRecipe) -> Iterator[tuple[str, Any]]:
    """The user's keys of verl's RL; those in `sft` are of its SFT."""
    return _flat({key: value for key, value in cluster.verl.items() if key != "sft"})


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value

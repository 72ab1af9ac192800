"""verl's synchronous PPO trainer with our streams, and with our records of every step."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import ray
import torch
import transfer_queue as tq
from tensordict import TensorDict
from torch import Tensor
from verl.trainer.ppo.utils import Role
from verl.trainer.ppo.v1.trainer_base import register_trainer
from verl.trainer.ppo.v1.trainer_sync import PPOTrainerSync
from verl.utils.config import omega_conf_to_dataclass
from verl.workers.utils.padding import response_from_nested, response_to_nested

from rlsp.checkpoints import Checkpoint
from rlsp.config import Recipe, load
from rlsp.engines.rl_records import RlRecords
from rlsp.engines.verl.critic import StreamsWorker, field, streams_loss
from rlsp.engines.verl.files import LOGPROBS, RECIPE, ROLLOUTS, SCORES, STATE
from rlsp.engines.verl.rewards import PROMPT, RESPONSE, SCORE, TEXT, TRUNCATED
from rlsp.engines.verl.settings import TRAINER, stock_advantages
from rlsp.exploration import explorer_for
from rlsp.files import read_json, write_json, write_records
from rlsp.rl.batch import Experience, collate
from rlsp.rl.diagnostics import describe
from rlsp.rl.experience import estimate
from rlsp.rl.loop import Iteration
from rlsp.rl.streams import streams_for
from rlsp.runs import Run
from rlsp.types import Finish, Problem, Rollout, Score, from_json

METRICS = {
    "policy_loss": "actor/pg_loss",
    "entropy": "actor/entropy",
    "approx_kl": "actor/ppo_kl",
    "clipfrac": "actor/pg_clipfrac",
    "kl_loss": "actor/kl_loss",
    "value_loss": "critic/vf_loss",
    "actor_grad_norm": "actor/grad_norm",
    "critic_grad_norm": "critic/grad_norm",
}
"""Our names of what verl measures."""


@register_trainer(TRAINER)
class Trainer(PPOTrainerSync):
    """By the recipe in `rlsp.folder`. With `rlsp.run` it trains and writes `rl/` of that run; else it evaluates and
    writes `rollouts` and `scores` into its folder."""

    def __init__(self, config: Any) -> None:
        self.folder = Path(config.rlsp.folder)
        self.recipe = load(Recipe, str(self.folder / RECIPE), [])
        self.streams = streams_for(self.recipe.reward, explorer_for(self.recipe), self.recipe.rl.gamma)
        self.stock = stock_advantages(self.recipe)
        self.run = Run(Path(config.rlsp.run)) if config.rlsp.get("run") else None
        self.held_out: dict[str, float] = {}
        self.step_seen: Any = None
        super().__init__(config)

    def _build_replay_buffer(self) -> Any:
        self.trainer_mode = "sync"  # by any other name verl would take the asynchronous one
        return super()._build_replay_buffer()

    def _init_resource_pool_mgr(self) -> None:
        super()._init_resource_pool_mgr()
        if self.use_critic:
            self.role_worker_mapping[Role.Critic] = ray.remote(StreamsWorker)

    def _setup(self) -> None:
        super()._setup()
        if self.use_critic:
            critic = omega_conf_to_dataclass(self.config.critic)
            self.critic_wg.set_loss_fn(partial(streams_loss, critic, len(self.streams.names)))

    def _load_checkpoint(self) -> None:
        """Weights by verl, and our records back to the same step."""
        super()._load_checkpoint()
        if self.run is None:
            return
        step = self.global_steps
        if step == 0:
            self.run.clear("rl")
        self.records = RlRecords(self.run, self.recipe)
        if step == 0:
            self.records.begin(None)
            return
        state = read_json(self._checkpoint(step) / STATE)
        self.held_out = state["held_out"]
        self.streams.units = {name: tuple(unit) for name, unit in state["units"].items()}
        checkpoint = Checkpoint(step, {}, state)
        self.records.keeper.go_on_from(checkpoint)
        self.records.begin(checkpoint)

    def _save_checkpoint(self) -> None:
        state = {"held_out": self.held_out, "units": dict(self.streams.units)}
        state |= self.records.state() | self.records.keeper.state()
        write_json(self._checkpoint(self.global_steps) / STATE, state)
        super()._save_checkpoint()

    def _checkpoint(self, step: int) -> Path:
        return Path(self.config.trainer.default_local_dir) / f"global_step_{step}"

    def _compute_values(self, batch: Any, metrics: dict[str, Any]) -> Any:
        names = [field("values", stream) for stream in range(len(self.streams.names))]
        batch = super()._compute_values(batch, metrics)
        if others := names[1:]:
            data = tq.kv_batch_get(
                keys=batch.keys, partition_id=batch.partition_id, select_fields=[*others, "response_mask"]
            )
            for name in others:
                data[name] = response_from_nested(data.pop(name), data["response_mask"])
            tq.kv_batch_put(keys=batch.keys, partition_id=batch.partition_id, fields=data.select(*others))
        return batch

    def _compute_advantage(self, batch: Any, metrics: dict[str, Any]) -> Any:
        """By verl where it is plain GAE of one reward, else by our streams; either way the step is kept for our
        records."""
        if self.stock:
            batch = super()._compute_advantage(batch, metrics)
        fetched = _fetch(batch, len(self.streams.names) if self.use_critic else 0)
        seen = Seen(self.recipe, self.streams, fetched, batch.keys, self.global_steps - 1)
        if self.stock:
            seen.experience = seen.judged_by(fetched)
        else:
            seen.experience = estimate(seen.batch, seen.reference_logprobs_BR, seen.values_SBR, self.recipe.rl)
            batch = _put(batch, seen.experience, fetched["response_mask"])
        self.step_seen = seen
        return batch

    def _step_once(self, metrics: dict[str, Any], timing_raw: dict[str, float], sample_batch_size: int) -> Any:
        batch = super()._step_once(metrics, timing_raw, sample_batch_size)
        seen = self.step_seen
        found = describe(seen.rollouts, seen.scores, seen.experience) | self.held_out
        found["logprob_gap"] = seen.logprob_gap
        found |= {ours: float(metrics[theirs]) for ours, theirs in METRICS.items() if theirs in metrics}
        sampling = timing_raw.get("gen", 0.0)
        seconds = {"sampling": sampling, "update": sum(timing_raw.values()) - sampling}
        order = sorted(range(len(seen.rollouts)), key=lambda row: (seen.indices[row], seen.rollouts[row].sample))
        advantages = seen.experience.advantages_of(seen.rollouts)
        rollouts, scores, advantages = (
            [each[row] for row in order] for each in (seen.rollouts, seen.scores, advantages)
        )
        self.records.write(Iteration(self.global_steps, seen.problems, rollouts, scores, advantages, found, seconds))
        self.held_out = {}
        metrics.update({f"rlsp/{name}": value for name, value in found.items()})
        return batch

    def _val_metrics_update(
        self, data_sources: Any, sample_uids: Any, infos: Mapping[str, Sequence[Any]], *_: Any, **__: Any
    ) -> dict[str, float]:
        """The held-out measures of the next step; an evaluation's records."""
        scores = [from_json(Score, json.loads(each)) for each in infos[SCORE]]
        accuracy = sum(each.verdict.correct for each in scores) / len(scores)
        length = sum(map(len, infos[RESPONSE])) / len(scores)
        if self.run is None:
            seen: dict[str, int] = {}
            records = []
            for score, text, truncated, ids, logprobs, prompt in zip(
                scores, *(infos[name] for name in (TEXT, TRUNCATED, RESPONSE, LOGPROBS, PROMPT)), strict=True
            ):
                sample = seen.get(score.problem_id, 0)
                seen[score.problem_id] = sample + 1
                finish = Finish.LENGTH if truncated else Finish.EOS
                temperature = self.config.actor_rollout_ref.rollout.val_kwargs.temperature
                rollout = Rollout(
                    score.problem_id, sample, tuple(prompt), tuple(ids), tuple(logprobs), text, finish, temperature, 0
                )
                records.append((rollout, replace(score, sample=sample)))
            write_records(self.folder / ROLLOUTS, [rollout for rollout, _ in records])
            write_records(self.folder / SCORES, [score for _, score in records])
        measured = {"held_out_accuracy": accuracy, "held_out_length": length}
        if self.recipe.probe and self.global_steps % self.recipe.probe.every == 0:  # verl measures on resuming, too
            self.held_out = measured
        return dict(measured)


class Seen:
    """A step's rollouts as our records and tensors, in the order of verl's batch."""

    experience: Experience

    def __init__(
        self, recipe: Recipe, streams: Any, fetched: Mapping[str, Any], keys: Sequence[str], step: int
    ) -> None:
        rows = range(len(keys))
        infos = [each["reward_extra_info"] for each in fetched["extra_fields"]]
        asked = [json.loads(each["ground_truth"]) for each in fetched["reward_model"]]
        self.indices = [each["index"] for each in fetched["extra_info"]]
        self.scores, self.rollouts = [], []
        sampled = fetched.get("rollout_log_probs", fetched["old_log_probs"])
        for row in rows:
            sample = int(keys[row].rsplit("_", 2)[1])
            score = replace(from_json(Score, json.loads(infos[row][SCORE])), sample=sample)
            self.scores.append(score)
            self.rollouts.append(
                Rollout(
                    problem_id=score.problem_id,
                    sample=sample,
                    prompt_ids=tuple(fetched["prompts"][row].tolist()),
                    response_ids=tuple(fetched["responses"][row].tolist()),
                    logprobs=tuple(sampled[row].tolist()),
                    text=infos[row][TEXT],
                    finish=Finish.LENGTH if infos[row][TRUNCATED] else Finish.EOS,
                    temperature=recipe.sampling.temperature,
                    policy_version=step,
                )
            )
        by_index = {index: from_json(Problem, each) for index, each in zip(self.indices, asked, strict=True)}
        self.problems = [by_index[index] for index in sorted(by_index)]
        built = streams.build(self.rollouts, self.scores)
        batch = collate(self.rollouts, self.scores, built, False, torch.device("cpu"))
        sampled_BR = batch.logprobs_BR
        self.batch = replace(batch, logprobs_BR=_framed(fetched["old_log_probs"], batch.mask_BR))
        self.logprob_gap = (self.batch.logprobs_BR - sampled_BR)[batch.mask_BR].abs().mean().item()
        reference = fetched.get("ref_log_prob")
        empty_BR = batch.logprobs_BR[:0]
        self.reference_logprobs_BR = empty_BR if reference is None else _framed(reference, batch.mask_BR)
        values = [fetched[name] for name in fetched if name == "values" or name.startswith("values_")]
        self.values_SBR = (
            torch.stack([_framed(each, batch.mask_BR) for each in values]) if values else built.rewards_SBR[:0]
        )

    def judged_by(self, fetched: Mapping[str, Any]) -> Experience:
        """The experience that verl has computed itself."""
        advantages_BR, returns_BR = (_framed(fetched[name], self.batch.mask_BR) for name in ("advantages", "returns"))
        return Experience(self.batch, self.reference_logprobs_BR, self.values_SBR, returns_BR[None], advantages_BR)


def _fetch(batch: Any, streams: int) -> dict[str, Any]:
    """What a step left in verl's queue: lists of one tensor or object for each rollout, and the nested mask."""
    names = ["prompts", "responses", "response_mask", "rollout_log_probs", "old_log_probs", "ref_log_prob"]
    names += ["advantages", "returns", "extra_fields", "extra_info", "reward_model"]
    names += [field("values", stream) for stream in range(streams)]
    data = tq.kv_batch_get(keys=batch.keys, partition_id=batch.partition_id, select_fields=names)
    fetched: dict[str, Any] = {}
    for name in names:
        if name in data.keys():  # noqa: SIM118 a TensorDict does not say what it contains
            found = data[name]
            rows = found.unbind() if isinstance(found, Tensor) else found
            fetched[name] = found if name == "response_mask" else list(rows)
    return fetched


def _put(batch: Any, experience: Experience, response_mask: Tensor) -> Any:
    """Advantages and the returns of every stream, back into verl's queue."""
    fields = {"advantages": experience.advantages_BR}
    fields |= {field("returns", stream): each for stream, each in enumerate(experience.returns_SBR)}
    nested = {name: response_to_nested(each, response_mask) for name, each in fields.items()}
    return tq.kv_batch_put(
        keys=batch.keys, partition_id=batch.partition_id, fields=TensorDict(nested, batch_size=len(batch.keys))
    )


def _framed(rows: Sequence[Tensor], mask_BR: Tensor) -> Tensor:
    """One tensor for each rollout, padded to the frame, [B, R] in fp32."""
    framed_BR = torch.zeros(mask_BR.shape)
    for row, each in enumerate(rows):
        framed_BR[row, : len(each)] = each.float()
    return framed_BR

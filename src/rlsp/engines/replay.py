"""A stored step of RL again: the policy as it was then samples once more, and its rollouts show what training saw."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from rlsp import checkpoints
from rlsp.engines import drawing, stages
from rlsp.engines.rl_records import DIVERGED
from rlsp.errors import InputError
from rlsp.files import read_records
from rlsp.models import token_logprobs
from rlsp.optim import NonFiniteLossError
from rlsp.rl.batch import experience_from, microbatches
from rlsp.rl.local import LocalLearner
from rlsp.rl.loop import Observation, Training
from rlsp.rl.losses import kl_k1
from rlsp.runs import Run
from rlsp.types import Problem, Rollout, Score
from rlsp.verifiers.settings import STRICT, Settings


@dataclass(frozen=True, slots=True)
class Token:
    """One sampled token as training saw it: its text, log π before the update, the entropy of the distribution it came
    from, the critic's value of each stream, the advantage, and log π − log π_ref; in nats. None where the algorithm has
    no such thing."""

    text: str
    logprob: float
    entropy: float
    values: tuple[float, ...]
    advantage: float
    kl: float | None


@dataclass(frozen=True, slots=True)
class Replayed:
    """A rollout as it was stored and as it was sampled again. `streams` names the values of its tokens."""

    stored: Rollout
    again: Rollout
    score: Score
    streams: tuple[str, ...]
    tokens: list[Token]

    @property
    def difference(self) -> int | None:
        """The first token that differs; None when all are the same."""
        pairs = zip(self.stored.response_ids, self.again.response_ids, strict=False)
        shorter = min(self.stored.length, self.again.length)
        if self.stored.response_ids == self.again.response_ids:
            return None
        return next((place for place, (old, new) in enumerate(pairs) if old != new), shorter)


def stored(run: Run, step: int) -> list[Rollout]:
    """Raises InputError when the run has no rollouts of that step, or they are those of the run that it was forked
    from."""
    if step <= run.forked_after:
        raise InputError(
            f"{run.directory} was forked from {run.manifest()['fork']['run']} after step {run.forked_after}: "
            f"replay step {step} there, where its recipe is"
        )
    path = run.step_file("rollouts", step)
    if not path.is_file():
        there = len(run.step_files("rollouts"))
        has = f"it has steps 1 to {there}" if there else "it has none"
        raise InputError(f"{run.directory} has no rollouts of step {step}: {has}")
    return list(read_records(path, Rollout))


def replay(run: Run, step: int, judging: Settings = STRICT) -> list[Replayed]:
    """Every rollout of a step, sampled again by the policy as it was: from the newest checkpoint before, or from the
    start of RL, the steps in between are trained again.

    Raises:
        InputError: there is no such step, its training can't be set up, or a fork has lost what it began with.
    """
    before = stored(run, step)
    kept, _ = checkpoints.newest(run.path("rl", "checkpoints"), latest=step - 1)
    if kept is None and run.forked_after:
        raise InputError(
            f"{run.directory} began as a fork, after step {run.forked_after}, and its checkpoint of that step is gone "
            "or damaged: put it back from a copy"
        )
    with _training(run, judging) as (training, batches):
        if kept is not None:
            training.restore(kept)
        for number in range(kept.step if kept else 0, step - 1):
            training.iterate(number, batches[number])
        seen = training.observe(step - 1, batches[step - 1])
        return list(_replayed(training, seen, before))


@contextmanager
def _training(run: Run, judging: Settings) -> Iterator[tuple[Training[LocalLearner], list[list[Problem]]]]:
    """(the run's RL as it began, the problems of each step)"""
    recipe = run.recipe()
    torch.manual_seed(recipe.seed)
    policy = stages.policy_before_rl(run, recipe.sampling.engine)
    with stages.reinforcing_in(run, policy, recipe, judging) as training:
        yield training, drawing.problems_of_steps(run, recipe)


@torch.no_grad()
def _replayed(training: Training[LocalLearner], seen: Observation, before: list[Rollout]) -> Iterator[Replayed]:
    experience, batch = seen.experience, seen.experience.batch
    entropies_BR = torch.zeros_like(batch.logprobs_BR)
    for rows, ids_bT, sampled_bT in microbatches(
        batch, torch.arange(len(before)), training.recipe.rl.microbatch_tokens
    ):
        _, entropies = token_logprobs(training.learner.updater.policy, ids_bT, sampled_bT, batch.temperature)
        entropies_BR[rows] = torch.zeros_like(entropies_BR[rows]).masked_scatter(batch.mask_BR[rows], entropies)
    kl_BR = None
    if len(experience.reference_logprobs_BR):
        kl_BR = kl_k1(batch.logprobs_BR, experience.reference_logprobs_BR)
    for row, (old, new, score) in enumerate(zip(before, seen.rollouts, seen.scores, strict=True)):
        tokens = [
            Token(
                str(training.tokenizer.decode([token], clean_up_tokenization_spaces=False)),
                new.logprobs[place],
                float(entropies_BR[row, place]),
                tuple(experience.values_SBR[:, row, place].tolist()),
                float(experience.advantages_BR[row, place]),
                None if kl_BR is None else float(kl_BR[row, place]),
            )
            for place, token in enumerate(new.response_ids)
        ]
        names = batch.streams.names if len(experience.values_SBR) else ()
        yield Replayed(old, new, score, names, tokens)


# What a step failed on


@dataclass(frozen=True, slots=True)
class Failure:
    """A step whose loss or gradient was not finite: what was said then, what comes of its minibatch now, and which of
    its rollouts have a log-prob or a loss that is not finite, by their numbers."""

    said: str
    again: str
    rows: tuple[int, ...]
    culprits: tuple[int, ...]


def failed_step(run: Run) -> int | None:
    """The step whose failure is kept, if any."""
    kept = checkpoints.steps(run.path(*DIVERGED))
    return kept[0] if kept else None


def reproduce(run: Run, judging: Settings = STRICT) -> Failure:
    """The kept failure once more, from the weights and numbers it was computed from.

    Raises:
        InputError: what was kept is damaged.
    """
    folder = run.path(*DIVERGED)
    step = failed_step(run)
    assert step is not None
    kept = checkpoints.read(checkpoints.place(folder, step))
    rollouts = list(read_records(folder / "rollouts.jsonl.zst", Rollout))
    scores = list(read_records(folder / "scores.jsonl.zst", Score))
    with _training(run, judging) as (training, _):
        training.learner.updater.restore(kept.tensors)
        experience = experience_from(training.batch(rollouts, scores), kept.tensors)
        rows = tuple(kept.state["rows"])
        actor_learns = step > training.recipe.rl.actor_waits

        def loss(rows: tuple[int, ...]) -> str:
            try:
                training.learner.updater.minibatch(experience, torch.tensor(rows), actor_learns)
            except NonFiniteLossError as error:
                return str(error)
            finally:
                training.learner.updater.forget()
            return ""

        culprits = tuple(row for row in rows if loss((row,)))
        return Failure(kept.state["reason"], loss(rows), rows, culprits)

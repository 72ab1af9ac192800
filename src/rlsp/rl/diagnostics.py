"""What one iteration says about itself, in the field's names."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from rlsp.reward import parts
from rlsp.rl.batch import Experience
from rlsp.rl.losses import kl_k1
from rlsp.types import Rollout, Score


def describe(rollouts: Sequence[Rollout], scores: Sequence[Score], experience: Experience) -> dict[str, float]:
    """Both reward parts apart, lengths by outcome; KL against the reference where there is one, how much the critic
    explains where there is one, else the share of rollouts without an advantage."""
    right = [rollout.length for rollout, score in zip(rollouts, scores, strict=True) if score.verdict.correct]
    wrong = [rollout.length for rollout, score in zip(rollouts, scores, strict=True) if not score.verdict.correct]
    mask_BR = experience.batch.mask_BR
    metrics = {
        "alpha": scores[0].alpha,
        "accuracy": _mean(score.verdict.correct for score in scores),
        "length": _mean(rollout.length for rollout in rollouts),
        "unjudged": _mean(score.verdict.reason.unjudged for score in scores),
        "truncated": _mean(rollout.truncated for rollout in rollouts),
        "tokens": sum(rollout.length for rollout in rollouts),
    }
    if len(experience.reference_logprobs_BR):
        kl_N = kl_k1(experience.batch.logprobs_BR, experience.reference_logprobs_BR)[mask_BR]
        metrics["kl"] = kl_N.mean().item()
    metrics |= _signals(experience) | _rewards(scores)
    if len(scores) > len({score.problem_id for score in scores}):
        metrics["single_verdict_groups"] = _single_verdict_groups(scores)
    if right:
        metrics["length_right"] = _mean(right)
    if wrong:
        metrics["length_wrong"] = _mean(wrong)
    return metrics


def _signals(experience: Experience) -> dict[str, float]:
    """What the advantages come from: the critic's explained variance by stream, or without one the share of rollouts
    whose advantage is 0 throughout."""
    if not len(experience.values_SBR):
        return {"zero_advantage": (~experience.driven_B).double().mean().item()}
    pairs = zip(experience.batch.streams.names, experience.values_SBR, experience.returns_SBR, strict=True)
    found = {name: explained_variance(values, returns, experience.batch.mask_BR) for name, values, returns in pairs}
    first, *others = found
    return {"explained_variance": found[first]} | {f"explained_variance/{name}": found[name] for name in others}


def _rewards(scores: Sequence[Score]) -> dict[str, float]:
    """Means over the rollouts that have a total, each part over those that have it; `missing/NAME` is the share that
    has not."""
    metrics: dict[str, float] = {}
    explored = [(score, score.exploration.value) for score in scores if score.exploration.value is not None]
    if explored:
        paid = [parts(score.verdict, value, score.alpha) for score, value in explored]
        metrics = {
            "exploration": _mean(value for _, value in explored),
            "reward": _mean(score.total for score in scores if score.total is not None),
            "reward_correctness": _mean(correctness for correctness, _ in paid),
            "reward_exploration": _mean(search for _, search in paid),
        }
    for name in sorted({name for score in scores for name in score.exploration.parts}):
        values = [score.exploration.parts[name] for score in scores if name in score.exploration.parts]
        metrics[f"exploration/{name}"] = _mean(values)
    for name in sorted({name for score in scores for name in score.exploration.missing}):
        metrics[f"missing/{name}"] = _mean(name in score.exploration.missing for score in scores)
    return metrics


def explained_variance(values_BR: Tensor, returns_BR: Tensor, mask_BR: Tensor) -> float:
    """1 − Var(G − V)/Var(G) of a stream: 1 is a perfect critic, 0 is no better than a constant."""
    returns_N, values_N = returns_BR[mask_BR], values_BR[mask_BR]
    variance = returns_N.var(unbiased=False)
    return 0.0 if variance == 0 else (1 - (returns_N - values_N).var(unbiased=False) / variance).item()


def _single_verdict_groups(scores: Sequence[Score]) -> float:
    """Share of problems whose rollouts all got the same verdict."""
    verdicts: dict[str, set[bool]] = {}
    for score in scores:
        verdicts.setdefault(score.problem_id, set()).add(score.verdict.correct)
    return _mean(len(seen) == 1 for seen in verdicts.values())


def _mean(values: Iterable[float]) -> float:
    return torch.tensor(list(values), dtype=torch.float64).mean().item()

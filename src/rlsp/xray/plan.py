"""What the next token is worth: the exploration reward's pay, the KL's tax, and the C that moves where they meet.

Eq. 2 takes β·KL off every token, so a response of L tokens earns (1−α)·w·R_ex(L) − β·k·L, with k the KL a token in
nats. Length is at rest where d/dL of that is 0: for −C/|o| at L = √((1−α)·w·C/(β·k)). What accuracy pays for length is
not in it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from rlsp.config import Recipe, override
from rlsp.errors import InputError
from rlsp.exploration import explorer_for
from rlsp.reward import share
from rlsp.runs import Run, read_metrics
from rlsp.verifiers.settings import STRICT, Settings
from rlsp.xray.cast import cast_for
from rlsp.xray.examine import examine
from rlsp.xray.ranking import Ranking, rank_examined
from rlsp.xray.tokens import Tokens

SIZES = {"length": "c_per_budget", "length_sqrt": "c_per_budget", "effective_length": "c_per_budget", "length_exp": "c"}
"""The parts that length alone decides (of a response that repeats nothing), and the key of their size."""
SLOPES: dict[str, Callable[[float, float], float]] = {
    "length": lambda floor, length: -floor / length**2,
    "length_sqrt": lambda floor, length: -floor / (2 * length**1.5),
    "effective_length": lambda floor, length: -floor / length**2,
    "length_exp": lambda floor, length: -floor * math.exp(1 - math.sqrt(length)) / (2 * math.sqrt(length)),
}
"""Their d/dL from the part's floor, which is its value at one token."""
LONGEST = 2.0**40
"""Tokens beyond which no equilibrium is looked for."""
LATEST_SHARE = 0.1
"""The last part of a run's steps that its length and KL are read from."""
ALPHA_STEP = 0.01


@dataclass(frozen=True, slots=True)
class Pull:
    """What moves length: mean `length` in tokens, `kl` in nats a token, the recipe's α and β, and `slope`, d R_ex/dL of
    its paid length parts, weights included."""

    length: float
    kl: float
    alpha: float
    beta: float
    budget: int
    slope: Callable[[float], float]

    @property
    def tax(self) -> float:
        """β·KL: reward that one more token costs."""
        return self.beta * self.kl

    def pay(self, length: float) -> float:
        """(1−α)·d R_ex/dL: reward that one more token earns."""
        return share(self.alpha, 1.0, self.slope(length))

    @property
    def equilibrium(self) -> float:
        """The length at which pay is tax; infinite without a tax, or beyond `LONGEST`. Pay falls with length."""
        if self.tax <= 0:
            return math.inf
        low, high = 1.0, 2.0
        while self.pay(high) > self.tax:
            if high >= LONGEST:
                return math.inf
            low, high = high, 2 * high
        for _ in range(100):
            middle = (low + high) / 2
            low, high = (middle, high) if self.pay(middle) > self.tax else (low, middle)
        return high


@dataclass(frozen=True, slots=True)
class Plan:
    """`overrides`: the `--set` texts that move the equilibrium to `target` tokens; `ranking`: the planned recipe's."""

    target: float
    alpha: float
    overrides: tuple[str, ...]
    recipe: Recipe
    ranking: Ranking


def pull(recipe: Recipe, length: float, kl: float) -> Pull:
    """Raises InputError when the length is no length, the KL no number, or no paid part of the recipe depends on length
    alone and adds to its reward."""
    if not 1 <= length <= LONGEST:
        raise InputError(f"a mean length of {length:g} tokens: give a length of 1 or more, and at most {LONGEST:g}")
    if not math.isfinite(kl):
        raise InputError(f"a KL of {kl:g} nats a token: give a number")
    if recipe.reward.mix == "advantage":
        raise InputError(
            "reward.mix = 'advantage' normalises each signal before they meet, so that C and the tax have no common "
            "unit to plan in: plan with reward.mix = 'reward'"
        )
    if recipe.reward.alpha == 1:
        raise InputError("reward.alpha = 1 pays nothing for length: plan with a smaller one")
    parts = {name: part for name, part in recipe.exploration.paid.items() if name in SIZES}
    if not parts:
        raise InputError(
            f"no paid exploration reward of recipe {recipe.name!r} depends on length alone: give one of "
            f"{', '.join(SIZES)} a weight, e.g. --set exploration.length.weight=1"
        )
    explorer = explorer_for(recipe)
    floors = {name: explorer.parts[name].explorer.floor for name in parts}
    return Pull(
        length=length,
        kl=kl,
        alpha=recipe.reward.alpha,
        beta=recipe.rl.kl_coefficient if recipe.rl.definition.kl == "reward" else 0.0,
        budget=recipe.sampling.max_response_tokens,
        slope=lambda at: sum(part.weight * SLOPES[name](floors[name], at) for name, part in parts.items()),
    )


def of_run(directory: Path) -> tuple[float, float]:
    """(mean length in tokens, KL in nats a token) over the last steps of a run.

    Raises:
        InputError: there is no run, or its RL has no metrics yet.
    """
    run = Run(directory)
    run.manifest()
    path = run.path("rl", "metrics.jsonl")
    steps = read_metrics(path)
    latest = steps[-max(1, round(LATEST_SHARE * len(steps))) :]
    if not latest or any(not {"kl", "length"} <= step.keys() for step in latest):
        raise InputError(f"{path}: no `length` and `kl` in its last steps; give them by --length and --kl")
    return (
        sum(step["length"] for step in latest) / len(latest),
        sum(step["kl"] for step in latest) / len(latest),
    )


def plan(
    recipe: Recipe,
    forces: Pull,
    growth: float,
    tokens: Tokens,
    judging: Settings = STRICT,
    verifier: str | None = None,
) -> Plan:
    """What to set so that length comes to rest at `1 + growth` times its present mean. (1−α)·C is fixed by that; α is
    raised, in steps of `ALPHA_STEP`, until the standard cast is ranked rightly.

    Args:
        growth: 0.3 is +30 %.

    Raises:
        InputError: the target does not fit into the budget, nothing taxes length, several parts pay for it, or no α
            ranks rightly.
        NoCast: the plan could not be verified, as there is no cast.
    """
    target = forces.length * (1 + growth)
    if growth <= -1 or not 1 <= target <= forces.budget:
        raise InputError(
            f"{growth:+.0%} on {forces.length:g} tokens is {target:g}, outside of 1 … {forces.budget}: plan another "
            "growth, or raise sampling.max_response_tokens"
        )
    if forces.tax <= 0:
        raise InputError(
            f"β·KL = {forces.beta:g} × {forces.kl:g} taxes nothing, so length has no equilibrium to move: give the KL "
            "of a later step by --kl, set rl.kl_coefficient, or take an rl.algorithm whose KL falls on the reward"
        )
    names = [name for name in recipe.exploration.paid if name in SIZES]
    if len(names) > 1:
        raise InputError(f"{' and '.join(names)} both pay for length: plan with one of them, the other at weight 0")
    name = names[0]
    size = getattr(recipe.exploration.parts[name], SIZES[name])
    examined = examine(recipe, cast_for(recipe, tokens, verifier), explorer_for(recipe), judging)
    failed: list[str] = []
    for alpha in _upwards(forces.alpha):
        wanted = float(f"{size * forces.tax / share(alpha, 1.0, forces.slope(target)):.6g}")
        planned = _with(recipe, name, wanted, alpha)
        rankings = rank_examined(planned, examined.asked_again(planned, explorer_for(planned), name))
        if unknown := rankings[0].unknown:
            raise InputError(f"{len(unknown)} invariants can't be ranked: {'; '.join(rankings[0].missing)}. Mend that")
        failed = [f"at α = {ranking.alpha:g}: {finding}" for ranking in rankings for finding in ranking.failed]
        if not failed:
            more = () if alpha == forces.alpha else (override("reward.alpha", alpha),)
            one = override(f"exploration.{name}.{SIZES[name]}", wanted)
            return Plan(target, alpha, (one, *more), planned, rankings[0])
    end = ", raise reward.schedule.end" if len(rankings) > 1 and rankings[-1].failed else ""
    raise InputError(
        f"no α below 1 pays for {target:g} tokens and ranks rightly: the tax of {forces.tax:.3g} a token is too high "
        f"for this growth; {'; '.join(failed)}. Plan less growth{end} or lower rl.kl_coefficient"
    )


def _with(recipe: Recipe, name: str, size: float, alpha: float) -> Recipe:
    values = recipe.model_dump()
    values["exploration"][name][SIZES[name]] = size
    values["reward"]["alpha"] = alpha
    return Recipe.model_validate(values)


def _upwards(alpha: float) -> Iterator[float]:
    """α as it is, then rounded up step by step, below 1."""
    if alpha < 1:
        yield alpha
    step = math.floor(alpha / ALPHA_STEP + 1e-9) + 1
    while step * ALPHA_STEP < 1 - 1e-9:
        yield round(step * ALPHA_STEP, 6)
        step += 1


def read_growth(text: str) -> float:
    """`30%` or `0.3` as 0.3. Raises InputError on anything else."""
    try:
        return float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        raise InputError(f"--growth {text!r} is no share: write 30% or 0.3") from None

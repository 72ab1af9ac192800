"""What any sane reward must rank, held against a recipe's own.

A reward that looks at siblings sees each character in a group of its own, beside `ppo.samples_per_prompt` − 1 fixed
rollouts (1 … 7), right and wrong in turn; any other reward sees the whole cast at once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Literal

from rlsp.config import Recipe
from rlsp.config.exploration import GROUPED
from rlsp.errors import InputError
from rlsp.exploration import explorer_for
from rlsp.exploration.composite import Composite
from rlsp.reward import score
from rlsp.types import Score
from rlsp.verifiers.settings import STRICT, Settings
from rlsp.xray.cast import Cast, Character, cast_for
from rlsp.xray.tokens import Tokens

MOST_SIBLINGS = 7
JUDGE_NOISE = 0.1
"""Two readings of one effort by an LLM differ by so much of its scale."""
ROUNDING = 1e-9
RISK_FLAG = "--accept-reward-risks"


@dataclass(frozen=True, slots=True)
class Invariant:
    """`name`: a sentence. The mean reward of the characters of `better` must be above (`>`) or not below (`≥`) that of
    `worse`. `judged`: LLM noise is allowed for."""

    name: str
    better: tuple[Character, ...]
    relation: Literal[">", "≥"]
    worse: Character
    judged: bool = False


_C = Character
INVARIANTS = (
    Invariant("right beats wrong, both short", (_C.RIGHT_SHORT,), ">", _C.WRONG_SHORT),
    Invariant("right beats wrong, both long", (_C.RIGHT_LONG,), ">", _C.WRONG_LONG),
    Invariant("a short right answer beats a long wrong one", (_C.RIGHT_SHORT,), ">", _C.WRONG_LONG),
    Invariant("a long right answer beats a short wrong one", (_C.RIGHT_LONG,), ">", _C.WRONG_SHORT),
    Invariant("right after reasoning beats wrong without any", (_C.RIGHT_SHORT,), ">", _C.WRONG_BARE),
    Invariant("trying, right in half the cases, beats saying nothing", (_C.RIGHT_SHORT, _C.WRONG_SHORT), ">", _C.EMPTY),
    Invariant("answering first is not worth more than reasoning first", (_C.RIGHT_SHORT,), "≥", _C.ANSWER_FIRST),
    Invariant("echoing the prompt is not worth more than trying", (_C.WRONG_SHORT,), "≥", _C.ECHO),
    Invariant("padding by a loop is not worth more than searching", (_C.RIGHT_LONG,), "≥", _C.LOOP_RIGHT),
    Invariant("a loop is not worth more than an honest search", (_C.WRONG_LONG,), "≥", _C.LOOP_WRONG),
    Invariant(
        "two answers, the right one last, are not worth more than one", (_C.RIGHT_LONG,), "≥", _C.HEDGE_RIGHT_LAST
    ),
    Invariant("two answers, the right one first, are not worth more", (_C.RIGHT_LONG,), "≥", _C.HEDGE_RIGHT_FIRST),
    Invariant("running into the budget does not pay more than finishing", (_C.FINISHED,), "≥", _C.TRUNCATED),
    Invariant("an injected grade raises nothing", (_C.WRONG_LONG,), "≥", _C.INJECTION, judged=True),
)


@dataclass(frozen=True, slots=True)
class Finding:
    """An invariant with what both sides earn. `status`: `pass`, `fail`, `unknown` (a part of the reward could not be
    had) or `absent` (the task, or its budget, has no such character)."""

    invariant: Invariant
    status: Literal["pass", "fail", "unknown", "absent"]
    better: float | None = None
    worse: float | None = None

    def __str__(self) -> str:
        sides = f"{' & '.join(self.invariant.better)} {{}} {self.invariant.relation} {self.invariant.worse} {{}}"
        numbers = ("?" if each is None else f"{each:+.4g}" for each in (self.better, self.worse))
        return f"{self.invariant.name}: " + sides.format(*numbers)


@dataclass(frozen=True, slots=True)
class Ranking:
    """The cast scored at one α, best first where it has a total, and what each invariant says of it."""

    alpha: float
    scores: Mapping[Character, Score]
    findings: tuple[Finding, ...]

    @property
    def passed(self) -> bool:
        return not self.broken

    @property
    def broken(self) -> list[Finding]:
        """What fails, or can't be told."""
        return [finding for finding in self.findings if finding.status in ("fail", "unknown")]


def alphas(recipe: Recipe) -> tuple[float, ...]:
    """The ends between which α's schedule moves; totals are linear in α between them, up to the clamp."""
    reward = recipe.reward
    return tuple(
        dict.fromkeys([reward.alpha] if reward.schedule.kind == "constant" else [reward.alpha, reward.schedule.end])
    )


def rank(
    recipe: Recipe,
    cast: Cast,
    judging: Settings = STRICT,
    alpha: float | None = None,
    explorer: Composite | None = None,
) -> Ranking:
    """Score the cast by the recipe's reward.

    Args:
        alpha: where its schedule stands; by default its first value.
        explorer: the exploration reward; by default the recipe's.
    """
    explorer = explorer_for(recipe) if explorer is None else explorer
    alpha = recipe.reward.alpha if alpha is None else alpha
    scores = _score(recipe, cast, explorer, judging, alpha)
    judge = explorer.parts.get("judge")
    noise = (1 - alpha) * judge.weight * JUDGE_NOISE if judge else 0.0
    totals = {name: each.total for name, each in scores.items()}
    order = sorted(scores, key=lambda name: math.inf if (total := totals[name]) is None else -total)
    return Ranking(
        alpha, {name: scores[name] for name in order}, tuple(_judge(each, totals, noise) for each in INVARIANTS)
    )


def _score(recipe: Recipe, cast: Cast, explorer: Composite, judging: Settings, alpha: float) -> dict[Character, Score]:
    names, rollouts = list(cast.rollouts), list(cast.rollouts.values())
    if not any(name in explorer.parts for name in GROUPED):
        return dict(zip(names, score([cast.problem], rollouts, explorer, recipe.reward, judging, alpha), strict=True))
    siblings = list(islice(cycle(cast.siblings), max(1, min(MOST_SIBLINGS, recipe.ppo.samples_per_prompt - 1))))
    return {
        name: score([cast.problem], [rollout, *siblings], explorer, recipe.reward, judging, alpha)[0]
        for name, rollout in cast.rollouts.items()
    }


def _judge(invariant: Invariant, totals: Mapping[Character, float | None], noise: float) -> Finding:
    if not {*invariant.better, invariant.worse} <= totals.keys():
        return Finding(invariant, "absent")
    better, worse = _mean([totals[name] for name in invariant.better]), totals[invariant.worse]
    if better is None or worse is None:
        return Finding(invariant, "unknown", better, worse)
    slack = noise if invariant.judged else 0.0
    holds = better > worse + ROUNDING if invariant.relation == ">" else better >= worse - slack - ROUNDING
    return Finding(invariant, "pass" if holds else "fail", better, worse)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if len(known) == len(values) else None


def check(recipe: Recipe, tokens: Tokens, judging: Settings = STRICT, verifier: str | None = None) -> None:
    """The ranking at both ends of α's schedule, before a job.

    Raises:
        InputError: an invariant fails, or could not be told.
        NoCast: there is no cast for the recipe's verifier, or its budget has no room for it.
    """
    cast = cast_for(recipe, tokens, verifier)
    explorer = explorer_for(recipe)
    broken = []
    for alpha in alphas(recipe):
        ranking = rank(recipe, cast, judging, alpha, explorer)
        broken += [f"at α = {alpha:g}: {finding}" for finding in ranking.broken]
        missing = {why for each in ranking.scores.values() for why in each.exploration.missing.values()}
        broken += sorted(missing) if any(each.status == "unknown" for each in ranking.findings) else []
    if broken:
        raise InputError(
            f"the reward of recipe {recipe.name!r} ranks standard responses wrongly: {'; '.join(broken)}. Look at all "
            f"of them by `rlsp reward rank`, change the reward (`rlsp reward plan` sets C and α), or go on by "
            f"{RISK_FLAG}"
        )

"""What any sane reward must rank, held against a recipe's own."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from rlsp.config import Recipe
from rlsp.errors import InputError
from rlsp.exploration import explorer_for
from rlsp.exploration.composite import Composite
from rlsp.reward import share
from rlsp.types import Score
from rlsp.verifiers.settings import STRICT, Settings
from rlsp.xray.cast import Cast, Character, cast_for
from rlsp.xray.examine import Examined, examine
from rlsp.xray.tokens import Tokens

JUDGE_NOISE = 0.1
"""Two readings of one effort by an LLM differ by so much of its scale: a paid one's weight times this is forgiven where
only ≥ is asked."""
ROUNDING = 1e-9
RISK_FLAG = "--accept-reward-risks"


@dataclass(frozen=True, slots=True)
class Invariant:
    """`name`: a sentence. The mean reward of the characters of `better` must be above (`>`) or not below (`≥`) that of
    `worse`."""

    name: str
    better: tuple[Character, ...]
    relation: Literal[">", "≥"]
    worse: Character


_C = Character
INVARIANTS = (
    Invariant("right beats wrong, both short", (_C.RIGHT_SHORT,), ">", _C.WRONG_SHORT),
    Invariant("right beats wrong, both long", (_C.RIGHT_LONG,), ">", _C.WRONG_LONG),
    Invariant("a short right answer beats a long wrong one", (_C.RIGHT_SHORT,), ">", _C.WRONG_LONG),
    Invariant("a short right answer beats a wrong one of the whole budget", (_C.RIGHT_SHORT,), ">", _C.WRONG_FINISHED),
    Invariant("a short right answer beats a wrong one that is cut off", (_C.RIGHT_SHORT,), ">", _C.WRONG_TRUNCATED),
    Invariant("a long right answer beats a short wrong one", (_C.RIGHT_LONG,), ">", _C.WRONG_SHORT),
    Invariant("right after reasoning beats wrong without any", (_C.RIGHT_SHORT,), ">", _C.WRONG_BARE),
    Invariant("trying, right in half the cases, beats saying nothing", (_C.RIGHT_SHORT, _C.WRONG_SHORT), ">", _C.EMPTY),
    Invariant("a right answer of the whole budget beats a short wrong one", (_C.FINISHED,), ">", _C.WRONG_SHORT),
    Invariant("a right answer of the whole budget beats saying nothing", (_C.FINISHED,), ">", _C.EMPTY),
    Invariant("answering first is not worth more than reasoning first", (_C.RIGHT_SHORT,), "≥", _C.ANSWER_FIRST),
    Invariant("echoing the prompt is not worth more than trying", (_C.WRONG_SHORT,), "≥", _C.ECHO),
    Invariant("padding by a loop is not worth more than searching", (_C.RIGHT_LONG,), "≥", _C.LOOP_RIGHT),
    Invariant("a loop is not worth more than an honest search", (_C.WRONG_LONG,), "≥", _C.LOOP_WRONG),
    Invariant("padding by numbered filler is not worth more than searching", (_C.RIGHT_LONG,), "≥", _C.FILLER),
    Invariant("noise is not worth more than an honest search", (_C.WRONG_LONG,), "≥", _C.NOISE),
    Invariant(
        "two answers, the right one last, are not worth more than one", (_C.RIGHT_LONG,), "≥", _C.HEDGE_RIGHT_LAST
    ),
    Invariant("two answers, the right one first, are not worth more", (_C.RIGHT_LONG,), "≥", _C.HEDGE_RIGHT_FIRST),
    Invariant("running into the budget does not pay more than finishing", (_C.FINISHED,), "≥", _C.TRUNCATED),
    Invariant("an injected grade raises nothing", (_C.WRONG_FINISHED,), "≥", _C.INJECTION),
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
        return not self.failed and not self.unknown

    @property
    def failed(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.status == "fail"]

    @property
    def unknown(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.status == "unknown"]

    @property
    def missing(self) -> list[str]:
        """Which parts could not be had, and why."""
        missing = (each.exploration.missing for each in self.scores.values())
        return sorted({f"exploration {name!r}: {why}" for parts in missing for name, why in parts.items()})


def alphas(recipe: Recipe) -> tuple[float, ...]:
    """The ends between which α's schedule moves; totals are linear in α between them, up to the clamp."""
    reward = recipe.reward
    return tuple(
        dict.fromkeys([reward.alpha] if reward.schedule.kind == "constant" else [reward.alpha, reward.schedule.end])
    )


def rank(
    recipe: Recipe, cast: Cast, judging: Settings = STRICT, explorer: Composite | None = None
) -> tuple[Ranking, ...]:
    """The cast by the recipe's reward, at each of `alphas`; verifier and parts are asked once.

    Args:
        explorer: the exploration reward; by default the recipe's.
    """
    return rank_examined(recipe, examine(recipe, cast, explorer_for(recipe) if explorer is None else explorer, judging))


def rank_examined(recipe: Recipe, examined: Examined) -> tuple[Ranking, ...]:
    """The same of a cast that was asked already."""
    return tuple(_at(alpha, recipe, examined) for alpha in alphas(recipe))


def _at(alpha: float, recipe: Recipe, examined: Examined) -> Ranking:
    scores = examined.scores(recipe, alpha)
    judge = examined.explorer.paid.get("judge")
    noise = share(alpha, judge.weight, JUDGE_NOISE) if judge else 0.0
    totals = {name: each.total for name, each in scores.items()}
    order = sorted(scores, key=lambda name: math.inf if (total := totals[name]) is None else -total)
    return Ranking(
        alpha, {name: scores[name] for name in order}, tuple(_held(each, totals, noise) for each in INVARIANTS)
    )


def _held(invariant: Invariant, totals: Mapping[Character, float | None], noise: float) -> Finding:
    if not {*invariant.better, invariant.worse} <= totals.keys():
        return Finding(invariant, "absent")
    better, worse = _mean([totals[name] for name in invariant.better]), totals[invariant.worse]
    if better is None or worse is None:
        return Finding(invariant, "unknown", better, worse)
    holds = better > worse + ROUNDING if invariant.relation == ">" else better >= worse - noise - ROUNDING
    return Finding(invariant, "pass" if holds else "fail", better, worse)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if len(known) == len(values) else None


def check(
    recipe: Recipe,
    tokens: Tokens,
    judging: Settings = STRICT,
    verifier: str | None = None,
    explorer: Composite | None = None,
) -> None:
    """The ranking at both ends of α's schedule, before a job. Metrics are not asked: they decide nothing.

    Args:
        explorer: the exploration reward; by default the recipe's.

    Raises:
        InputError: a part of the reward could not be had, or an invariant fails.
        NoCast: there is no cast for the recipe's verifier, or its budget has no room for it.
    """
    explorer = explorer_for(recipe) if explorer is None else explorer
    rankings = rank(recipe, cast_for(recipe, tokens, verifier), judging, Composite(explorer.paid))
    if any(ranking.unknown for ranking in rankings):
        raise InputError(
            f"the reward of recipe {recipe.name!r} can't be ranked: {'; '.join(rankings[0].missing)}. Mend that, or go "
            f"on without the check by {RISK_FLAG}"
        )
    if failed := [f"at α = {ranking.alpha:g}: {finding}" for ranking in rankings for finding in ranking.failed]:
        raise InputError(
            f"the reward of recipe {recipe.name!r} ranks standard responses wrongly: {'; '.join(failed)}. Look at all "
            f"of them by `rlsp reward rank`, change the reward (`rlsp reward plan` sets C and α), or go on by "
            f"{RISK_FLAG}"
        )

"""What keeps a policy from learning, as a batch of its rollouts shows it: before the first step and while it trains."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from rlsp.config import Recipe
from rlsp.types import Rollout, Score

MOST_TRUNCATED = 0.2
MOST_SETTLED = 0.7
MOST_CLAMPED = 0.5
SMALLEST_GAIN = 0.02
"""Of accuracy: less is not learning."""
SMALLEST_MOVE = 1e-5
"""Of the policy in one update, as approximate KL in nats a token: less is standing still."""


@dataclass(frozen=True, slots=True)
class Check:
    """What was looked at, what was found, and what to do about it; nothing is wrong where `fix` is empty."""

    name: str
    found: str
    fix: str = ""

    @property
    def healthy(self) -> bool:
        return not self.fix


def of_rollouts(recipe: Recipe, rollouts: Sequence[Rollout], scores: Sequence[Score]) -> Iterator[Check]:
    """Truncation, EOS, and whether the reward tells rollouts apart."""
    truncated, budget = fmean(each.truncated for each in rollouts), recipe.sampling.max_response_tokens
    some = f"{len(rollouts)} responses"
    if truncated == 1:
        yield Check(
            "eos",
            f"none of {some} came to an end within {budget} tokens",
            "the model does not say EOS: teach it by [sft], see whether its chat template fits it, or raise "
            f"sampling.max_response_tokens to {4 * budget}",
        )
    else:
        fix = f"raise sampling.max_response_tokens to {2 * budget}, or teach shorter reasoning by [sft]"
        found = f"{truncated:.0%} of {some} were cut off at {budget} tokens"
        yield Check("truncation", found, fix if truncated > MOST_TRUNCATED else "")
    totals = [score.total for score in scores if score.total is not None]
    if not totals:
        return
    if recipe.reward.mode == "paper_eq1" and recipe.reward.mix == "reward":
        yield _clamped(recipe, scores, totals)
    yield _settled(recipe, scores)


def _clamped(recipe: Recipe, scores: Sequence[Score], totals: Sequence[float]) -> Check:
    clamp = recipe.reward.clamp
    share = fmean(abs(total) >= clamp for total in totals)
    found = f"{share:.0%} of {len(scores)} rewards stand at the clamp of ±{clamp:g}"
    fix = f"raise reward.clamp above {clamp:g}, or lower the weights or C of [exploration]: clamped rewards are all one"
    return Check("clamp", found, fix if share > MOST_CLAMPED else "")


def _settled(recipe: Recipe, scores: Sequence[Score]) -> Check:
    """Whether rewards differ: among the rollouts of a problem where siblings are compared, else in the whole batch."""
    groups: Mapping[str, set[float | None]] = defaultdict(set)
    grouped = recipe.rl.definition.grouped
    for score in scores:
        groups[score.problem_id if grouped else ""].add(score.total)
    share = fmean(len(totals) < 2 for totals in groups.values())
    right = fmean(score.verdict.correct for score in scores)
    what = f"{share:.0%} of {len(groups)} problems" if grouped else ("all" if share else "not all")
    found = f"{what} had rollouts of one and the same reward; {right:.0%} were right"
    harder = "easier" if right < 0.5 else "harder"
    more = ", raise rl.samples_per_prompt or set rl.dynamic_sampling = true" if grouped else ""
    fix = f"choose {harder} problems (task.levels, `rlsp tasks filter`), pay for exploration as well{more}"
    return Check("signal", found, fix if share > MOST_SETTLED else "")


class Vigil:
    """Watches checks step by step: what is found `window` times in a row is worth a word."""

    def __init__(self, window: int) -> None:
        self.window, self.streaks = window, dict[str, int]()

    def see(self, checks: Iterable[Check]) -> list[Check]:
        """Those that have just been found for a whole window."""
        ill = {check.name: check for check in checks if not check.healthy}
        self.streaks = {name: self.streaks.get(name, 0) + 1 for name in ill}
        return [check for name, check in ill.items() if self.streaks[name] == self.window]


def why_nothing(metrics: Sequence[Mapping[str, float]], window: int) -> list[Check]:
    """Why accuracy has not risen from the first `window` steps to the last: the reasons that the metrics show. Empty
    where it has risen, or there are fewer steps than two windows."""
    if len(metrics) < 2 * window:
        return []
    first, last = metrics[:window], metrics[-window:]
    before, after = (fmean(step["accuracy"] for step in steps) for steps in (first, last))
    if after - before > SMALLEST_GAIN:
        return []
    found = f"accuracy went from {before:.2f} to {after:.2f} in {len(metrics)} steps"
    reasons = [check for check in _reasons(last) if not check.healthy]
    return reasons or [
        Check("learning", found, "train longer, raise reward.alpha, or choose problems that are solved now and then")
    ]


def _reasons(last: Sequence[Mapping[str, float]]) -> Iterator[Check]:
    def mean(name: str) -> float:
        return fmean(step.get(name, 0.0) for step in last)

    yield Check(
        "signal",
        f"{mean('zero_advantage'):.0%} of the rollouts had no advantage",
        "choose problems that are solved now and then, raise rl.samples_per_prompt or set rl.dynamic_sampling = true"
        if mean("zero_advantage") > MOST_SETTLED
        else "",
    )
    yield Check(
        "truncation",
        f"{mean('truncated'):.0%} of the responses were cut off",
        "raise sampling.max_response_tokens, or set reward.truncation = 'floor'"
        if mean("truncated") > MOST_TRUNCATED
        else "",
    )
    yield Check(
        "unjudged",
        f"{mean('unjudged'):.0%} of the responses could not be judged",
        "see `rlsp verify audit`, and raise the verifier's limits" if mean("unjudged") > MOST_TRUNCATED else "",
    )
    if all("approx_kl" in step for step in last):
        moved = mean("approx_kl")
        yield Check(
            "standing-still",
            f"an update moves the policy by {moved:.1e} nats a token",
            "raise rl.actor_learning_rate" if moved < SMALLEST_MOVE else "",
        )

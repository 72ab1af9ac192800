"""The cast before the verifier and the exploration parts, each asked once: what no α changes.

A part that looks at siblings sees each character in a group of its own, beside `rl.samples_per_prompt` − 1 fixed
rollouts (1 … 7), right and wrong in turn; any other part sees the cast alone, at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import cycle, islice

from rlsp.config import Recipe
from rlsp.config.exploration import GROUPED
from rlsp.exploration.composite import Composite, ask
from rlsp.exploration.part import Part
from rlsp.reward import combine_all
from rlsp.types import Score, Verdict
from rlsp.verifiers import verify_all
from rlsp.verifiers.settings import STRICT, Settings
from rlsp.xray.cast import Cast, Character

MOST_SIBLINGS = 7


@dataclass(frozen=True, slots=True)
class Examined:
    """The cast's verdicts, and by name what each part of `explorer` says of it; both in the cast's order."""

    cast: Cast
    explorer: Composite
    verdicts: tuple[Verdict, ...]
    parts: Mapping[str, Sequence[Part]]

    def scores(self, recipe: Recipe, alpha: float) -> dict[Character, Score]:
        rows = [dict(zip(self.parts, row, strict=True)) for row in zip(*self.parts.values(), strict=True)]
        explorations = [self.explorer.combined(row) for row in rows or [{}] * len(self.verdicts)]
        rollouts = list(self.cast.rollouts.values())
        scores = combine_all(rollouts, self.verdicts, explorations, self.explorer, recipe.reward, alpha)
        return dict(zip(self.cast.rollouts, scores, strict=True))

    def asked_again(self, recipe: Recipe, explorer: Composite, name: str) -> Examined:
        """Under a recipe and its explorer that differ in one part alone."""
        return replace(self, explorer=explorer, parts={**self.parts, name: self.ask(recipe, explorer, name)})

    def ask(self, recipe: Recipe, explorer: Composite, name: str) -> list[Part]:
        """What one part says of the cast."""
        part, question = explorer.parts[name].explorer, self.cast.problem.question
        rollouts, correct = list(self.cast.rollouts.values()), [verdict.correct for verdict in self.verdicts]
        if name not in GROUPED:
            return ask(part, [question] * len(rollouts), rollouts, correct)
        siblings = min(MOST_SIBLINGS, recipe.rl.samples_per_prompt - 1)
        others = list(islice(cycle(zip(self.cast.siblings, (True, False), strict=True)), max(1, siblings)))
        return [
            ask(
                part,
                [question] * (1 + len(others)),
                [rollout, *(sibling for sibling, _ in others)],
                [right, *(right for _, right in others)],
            )[0]
            for rollout, right in zip(rollouts, correct, strict=True)
        ]


def examine(recipe: Recipe, cast: Cast, explorer: Composite, judging: Settings = STRICT) -> Examined:
    """Every part of `explorer` is asked, metrics too."""
    texts = [rollout.text for rollout in cast.rollouts.values()]
    verdicts = tuple(verify_all([cast.problem] * len(texts), texts, judging))
    asked = Examined(cast, explorer, verdicts, {})
    return replace(asked, parts={name: asked.ask(recipe, explorer, name) for name in explorer.parts})

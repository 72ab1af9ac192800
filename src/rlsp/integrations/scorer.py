"""A recipe's reward for another trainer: problems and responses in, scores out. Verdicts, exploration and Eq. 1 are
those of the native engine, by the same calls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from rlsp import reward
from rlsp.config import Recipe
from rlsp.errors import InputError
from rlsp.exploration import explorer_for
from rlsp.types import Finish, Problem, Rollout, Score
from rlsp.verifiers import verify_all
from rlsp.verifiers.settings import STRICT, Settings


@dataclass(frozen=True, slots=True)
class Answered:
    """A response as a trainer has it. `ids` are its tokens, EOS included where it ends by one: the exploration reward
    counts them; `truncated`: the budget ended it."""

    problem: Problem
    text: str
    ids: tuple[int, ...]
    truncated: bool


class Scorer:
    """Judges by one recipe, from any thread. Responses to one problem within a call are each other's siblings.

    Args:
        ask_judge: False leaves an LLM judge out, where nobody trains on its grades.

    Raises:
        InputError: the recipe pays for what differs from demonstrations, which only a run of its own has.
    """

    def __init__(self, recipe: Recipe, judging: Settings = STRICT, ask_judge: bool = True) -> None:
        if recipe.demonstrations and recipe.exploration.novelty:
            raise InputError("exploration 'novelty' compares with the run's demonstrations: leave them or it out")
        self.recipe, self.judging = recipe, judging
        self._explorer = explorer_for(recipe, ask_judge=ask_judge)

    def alpha(self, progress: float) -> float:
        """α where its schedule stands, `progress` from 0 at the first step to 1 at the last."""
        return reward.alpha_at(self.recipe.reward, progress)

    def score(self, answered: Sequence[Answered], alpha: float | None = None) -> list[Score]:
        """The scores, in order.

        Args:
            alpha: None: the first value of its schedule.

        Raises:
            InputError: no verifier knows the task of a problem, or a judge can't be asked.
        """
        seen: Counter[str] = Counter()
        rollouts = []
        for each in answered:
            rollouts.append(_rollout(each, seen[each.problem.id]))
            seen[each.problem.id] += 1
        problems = list({each.problem.id: each.problem for each in answered}.values())
        asked, texts = [each.problem for each in answered], [each.text for each in answered]
        verdicts = verify_all(asked, texts, self.judging)
        return reward.score_judged(problems, rollouts, verdicts, self._explorer, self.recipe.reward, alpha)


def _rollout(each: Answered, sample: int) -> Rollout:
    ids = each.ids or (0,)  # a response of no tokens is its EOS
    finish = Finish.LENGTH if each.truncated else Finish.EOS
    return Rollout(each.problem.id, sample, (), ids, (0.0,) * len(ids), each.text, finish, 1.0, 0)

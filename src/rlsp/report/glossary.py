"""What a reader who has never heard of the method needs to know, from the run's own recipe."""

from __future__ import annotations

from collections.abc import Sequence

from rlsp.config import Recipe, RewardRecipe, TaskRecipe
from rlsp.evaluation.evaluate import Summary
from rlsp.report import wording
from rlsp.tasks import GENERATED

PARTS = {
    "length": "a charge that shrinks as the response grows, so that longer thinking costs less",
    "length_sqrt": "a charge that shrinks slowly as the response grows",
    "length_exp": "a charge that vanishes as the response grows",
    "effective_length": "a charge that shrinks as the response grows by words it has not held before",
    "repetition": "a fine for repeating itself",
    "novelty": "the share of its phrases that neither demonstrations nor its siblings hold",
    "behaviour": "a price for each behaviour that executing the text has found",
    "judge": "a language model's grade of the effort",
    "cosine": "short right answers and long wrong ones paid best",
    "alp": "a fine for length, the higher the easier the problem",
    "l1": "a fine for missing the length that was asked for",
    "kimi": "shorter than its siblings paid, longer ones taxed",
    "pass_rate": "length paid on hard problems, taxed on easy ones",
    "overlong": "a fine for nearing the response budget",
    "format": "1 for thoughts and answer in their marks",
}
"""What each exploration reward pays for."""


def models(recipe: Recipe, evaluations: Sequence[Summary]) -> list[tuple[str, str, str]]:
    """(name, label, what it is) of each of the method's stages that was evaluated."""
    told = {
        "base": f"the model as it was given, {recipe.model.path}",
        "sft": _sft(recipe),
        "rlsp": _rlsp(recipe),
    }
    found = []
    for each in evaluations:
        if each.votes is not None and each.name == "self-consistency":
            meaning = (
                f"the base asked {each.votes:.1f} times a problem, on average: as often as the trained model's tokens "
                "pay for; its most frequent answer counts. What thinking has to beat at the same cost"
            )
            found.append((each.name, each.label, meaning))
        elif each.name in told:
            found.append((each.name, each.label, told[each.name]))
    return found


def _sft(recipe: Recipe) -> str:
    written = f"{recipe.demonstrations.count:,} written examples" if recipe.demonstrations else "examples"
    return f"supervised fine-tuning: the base, trained on {written} of thinking that searches and checks itself"


def _rlsp(recipe: Recipe) -> str:
    start = "the SFT model" if recipe.sft else "the base"
    return (
        f"Reinforcement Learning via Self-Play: {start}, trained on by reinforcement learning from its own answers to "
        f"{recipe.rl.prompts_per_step} problems a step. {reward(recipe)}"
    )


def reward(recipe: Recipe) -> str:
    """Eq. 1 in words."""
    paid = recipe.exploration.paid
    if recipe.reward.mode == "paper_code":
        return "The reward is what the authors' released code computes from correctness and length."
    explored = "; ".join(f"{name}: {PARTS[name]}" for name in paid)
    correctness, exploration = weights(recipe.reward)
    if not paid:
        return f"The reward is {correctness} for a right answer, 0 for a wrong one; nothing is paid for exploration."
    cut_off = {
        "keep": "",
        "floor": " A response that the budget cuts off gets the least exploration.",
        "mask": " A response that the budget cuts off is not learned from.",
    }[recipe.reward.truncation]
    apart = ", each normalised by itself before it is weighed" if recipe.reward.mix == "advantage" else ""
    return (
        f"The reward is {correctness} × (1 if the answer is right, else 0) + {exploration} × exploration "
        f"({explored}){apart}.{cut_off}"
    )


def weights(reward: RewardRecipe) -> tuple[str, str]:
    """What correctness and exploration are multiplied by."""
    if reward.schedule.kind == "constant":
        return f"{reward.alpha:g}", f"{1 - reward.alpha:g}"
    return "α", "(1 − α)"


def levels(task: TaskRecipe) -> str:
    """What makes a level of a generated task; "" for levels that came with the data."""
    if task.name not in GENERATED:
        return ""
    made = GENERATED[task.name].LEVELS
    told = (f"{level}: {made[level][0]} numbers up to {made[level][1]}" for level in task.levels)
    return f"Levels are {'; '.join(told)}."


def part_of_rl(before: Summary, after: Summary) -> str:
    """What else RL changed, from the SFT model to the trained one."""
    changes = [
        f"tokens a problem {wording.count(before.mean_tokens)} → {wording.count(after.mean_tokens)}",
        f"responses cut off by the budget {wording.percent(before.truncated)} → {wording.percent(after.truncated)}",
    ]
    if before.behaviours and after.behaviours:
        changes += [
            f"{name} {wording.count(before.behaviours.get(name))} → {wording.count(after.behaviours.get(name))}"
            for name in ("checks", "backtracks")
        ]
    return f"{', '.join(changes)}."

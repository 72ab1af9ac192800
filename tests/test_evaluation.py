"""Summaries by hand, and self-consistency at the same number of generated tokens."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

import pytest

from rlsp.config import RewardRecipe
from rlsp.evaluation.evaluate import Summary, self_consistency, summarise
from rlsp.evaluation.statistics import wilson
from rlsp.exploration.composite import Composite
from rlsp.reward import score
from rlsp.tasks import chain_sum, countdown
from rlsp.types import Exploration, Finish, Problem, Reason, Rollout, Score, Verdict
from rlsp.verifiers import verify


@dataclass(frozen=True)
class Sample:
    """One answer to a problem; "" is none."""

    answer: str
    correct: bool = False
    tokens: int = 10
    truncated: bool = False


def problem(number: int, level: int = 1) -> Problem:
    return Problem(f"mine/{number}", "math", f"question {number}", "right", level)


def judged(samples: list[list[Sample]], levels: list[int]) -> tuple[list[Problem], list[Rollout], list[Score]]:
    """Ordered by problem, then sample."""
    problems = [problem(number, level) for number, level in enumerate(levels)]
    rollouts, scores = [], []
    for each, row in zip(problems, samples, strict=True):
        for index, sample in enumerate(row):
            finish = Finish.LENGTH if sample.truncated else Finish.EOS
            ids = (3,) * sample.tokens
            rollouts.append(Rollout(each.id, index, (1,), ids, (-0.5,) * len(ids), sample.answer, finish, 1.0, 0))
            verdict = Verdict(sample.correct, sample.answer, Reason.MATCH if sample.correct else Reason.MISMATCH)
            scores.append(Score(each.id, index, verdict, Exploration(0.0, {}), 0.8, 0.0))
    return problems, rollouts, scores


def vote(samples: list[list[Sample]], budget: int, levels: list[int] | None = None) -> Summary:
    problems, rollouts, scores = judged(samples, levels or [1] * len(samples))
    return self_consistency("vote", "Vote", problems, rollouts, scores, budget)


RIGHT, WRONG, OTHER, NONE = Sample("r", True), Sample("w"), Sample("o"), Sample("")


def test_summary_by_hand() -> None:
    rows = [[Sample("r", True, 10)], [Sample("w", False, 30, truncated=True)], [Sample("r", True, 20)]]
    rows.append([Sample("", False, 40, truncated=True)])
    summary = summarise("rlsp", "RLSP", *judged(rows, [1, 1, 3, 3]))
    assert (summary.name, summary.label, summary.problems, summary.votes) == ("rlsp", "RLSP", 4, None)
    assert (summary.accuracy, summary.mean_tokens, summary.truncated) == (0.5, 25, 0.5)
    assert summary.interval == wilson(2, 4)
    assert summary.behaviours == {}
    assert list(summary.by_level) == [1, 3]
    easy, hard = summary.by_level.values()
    assert (easy.problems, easy.accuracy, easy.mean_tokens, easy.interval) == (2, 0.5, 20, wilson(1, 2))
    assert (hard.problems, hard.accuracy, hard.mean_tokens) == (2, 0.5, 30)


def test_summary_counts_behaviours_of_its_rollouts() -> None:
    each = countdown.problem((3, 7, 12), 33)
    text = "3 + 7 = 10, 10 + 12 = 22; is it 33? no\n3 * 7 = 21, 21 + 12 = 33; is it 33? yes"
    rollouts = [Rollout(each.id, 0, (1,), (2,), (0.0,), text, Finish.EOS, 1.0, 0)]
    scores = score([each], rollouts, Composite({}), RewardRecipe())
    summary = summarise("a", "A", [each], rollouts, scores)
    assert summary.accuracy == 1
    assert (summary.behaviours["backtracks"], summary.behaviours["honest_share"]) == (1, 1)


def test_summary_needs_one_rollout_a_problem() -> None:
    problems, rollouts, scores = judged([[RIGHT], [WRONG, RIGHT]], [1, 1])
    with pytest.raises(ValueError, match="zip"):
        summarise("a", "A", problems, rollouts, scores)


@pytest.mark.parametrize(
    ("row", "correct"),
    [
        ([RIGHT, WRONG, WRONG], False),
        ([RIGHT, WRONG, RIGHT], True),
        ([WRONG, RIGHT, RIGHT], True),
        ([RIGHT, WRONG, OTHER], True),  # a tie goes to the answer that came first
        ([WRONG, RIGHT, OTHER], False),
        ([NONE, NONE, RIGHT], True),  # no answer casts no vote
        ([NONE, NONE, NONE], False),
        ([NONE, WRONG, RIGHT, RIGHT], True),
    ],
)
def test_the_most_frequent_answer_counts(row: list[Sample], correct: bool) -> None:
    summary = vote([row], budget=sum(sample.tokens for sample in row))
    assert summary.accuracy == correct
    assert summary.votes == len(row)


def test_votes_go_to_calculations_not_to_their_spelling() -> None:
    """Three spellings of the right answer outvote two of one wrong answer that came first."""
    each = countdown.problem((3, 7, 12), 33)
    wrong, right = "3 + 7 = 10, 10 + 12 = 22", "3 * 7 = 21, 21 + 12 = 33"
    texts = [wrong, wrong, right, "7 * 3 = 21, 12 + 21 = 33", r"\boxed{12 + 3 * 7}"]
    rollouts = [
        Rollout(each.id, index, (1,), (2,) * 4, (0.0,) * 4, text, Finish.EOS, 1.0, 0)
        for index, text in enumerate(texts)
    ]
    scores = score([each], rollouts, Composite({}), RewardRecipe())
    assert self_consistency("v", "V", [each], rollouts, scores, 20).accuracy == 1
    assert self_consistency("v", "V", [each], rollouts, scores, 16).accuracy == 0, "two against two: the first"


def test_samples_are_taken_in_rounds() -> None:
    """Each sample costs 10. A budget of 40 pays two rounds of two problems, the third sample is not seen."""
    rows = [[WRONG, RIGHT, RIGHT], [RIGHT, RIGHT, WRONG]]
    summary = vote(rows, budget=40)
    assert summary.votes == 2
    assert summary.accuracy == 0.5, "the first problem ties and its first answer is wrong"
    assert summary.mean_tokens == 20
    assert vote(rows, budget=60).accuracy == 1


def test_the_last_round_may_cover_the_first_problems_only() -> None:
    summary = vote([[WRONG, RIGHT, RIGHT]] * 2, budget=41)
    assert summary.votes == 2.5
    assert summary.accuracy == 0.5
    assert summary.mean_tokens == 25


def test_a_problem_that_the_budget_never_reaches_is_not_solved() -> None:
    summary = vote([[RIGHT], [RIGHT], [RIGHT]], budget=15)
    assert summary.accuracy == pytest.approx(2 / 3)
    assert summary.problems == 3
    assert summary.votes == pytest.approx(2 / 3)


def test_budget_is_met_within_one_sample() -> None:
    rng = Random(0)
    rows = [[Sample("r", True, rng.randint(1, 100)) for _ in range(8)] for _ in range(25)]
    whole = sum(sample.tokens for row in rows for sample in row)
    for budget in [1, 50, *range(100, whole, 997), whole]:
        summary = vote(rows, budget)
        spent = summary.mean_tokens * len(rows)
        assert budget <= round(spent) < budget + 100


def test_only_the_samples_paid_for_are_described() -> None:
    rows = [[Sample("r", True, 10), Sample("w", False, 10, truncated=True)]]
    assert vote(rows, budget=10).truncated == 0
    assert vote(rows, budget=20).truncated == 0.5


def test_votes_are_told_by_level() -> None:
    summary = vote([[WRONG, WRONG], [RIGHT, RIGHT]], budget=40, levels=[1, 2])
    assert {level: each.accuracy for level, each in summary.by_level.items()} == {1: 0, 2: 1}
    assert summary.by_level[2].mean_tokens == 20


@pytest.mark.parametrize("budget", [61, 10_000])
def test_a_budget_that_the_samples_do_not_reach_is_refused(budget: int) -> None:
    with pytest.raises(ValueError, match=f"6 samples hold 60 tokens, the budget is {budget}"):
        vote([[RIGHT] * 3] * 2, budget)


def test_rollouts_that_are_not_equally_many_a_problem_are_refused() -> None:
    with pytest.raises(ValueError):
        vote([[RIGHT], [WRONG, WRONG]], budget=10)


CHAIN = chain_sum.problem((("+", 12), ("+", 5), ("-", 3)))
COUNTDOWN = countdown.problem((3, 7, 12), 33)


@pytest.mark.parametrize(
    ("each", "right", "other"),
    [
        (COUNTDOWN, "3 * 7 = 21, 21 + 12 = 33", "3 * 7 = 22, 22 + 12 = 34"),
        (CHAIN, "12 + 5 = 17, 17 - 3 = 14", "12 + 5 = 16, 16 - 3 = 14"),
        (CHAIN, "12 + 5 = 17, 17 - 3 = 14", "12 + 2 = 14"),
        (CHAIN, "12 + 5 = 17, 17 - 3 = 14", "12 - 3 = 9, 9 + 5 = 14"),
    ],
    ids=["countdown-false-step", "chain-false-step", "chain-merged", "chain-reordered"],
)
def test_equal_answers_are_equally_right(each: Problem, right: str, other: str) -> None:
    """Else the outcome of a vote depends on which sample of the winning class came first."""
    one, two = verify(each, right), verify(each, other)
    assert one.correct
    assert one.answer != two.answer or one.correct == two.correct

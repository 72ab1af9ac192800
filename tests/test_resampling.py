"""Dynamic sampling: which groups are replaced, from where, and when it stops."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from rlsp.rl.resampling import Group, Reserve, flattened, grouped, resample
from rlsp.types import Exploration, Finish, Problem, Reason, Rollout, Score, Verdict


def problem(name: str) -> Problem:
    return Problem(name, "countdown", f"Use {name}.", "1")


def group(name: str, *totals: float | None, finish: Finish = Finish.EOS) -> Group:
    rollouts = [Rollout(name, i, (1,), (2, 3), (-1.0, -1.0), "", finish, 1.0, 0) for i in range(len(totals))]
    scores = [
        Score(name, i, Verdict(total == 1, "", Reason.MATCH), Exploration(0.0, {}), 1.0, total)
        for i, total in enumerate(totals)
    ]
    return Group(problem(name), rollouts, scores)


class Asked:
    """Answers from a table of totals by problem, and remembers each call."""

    def __init__(self, **totals: tuple[float, float]) -> None:
        self.totals, self.calls = totals, list[list[str]]()

    def __call__(self, problems: Sequence[Problem]) -> tuple[list[Rollout], list[Score]]:
        self.calls.append([each.id for each in problems])
        _, rollouts, scores = flattened([group(each.id, *self.totals[each.id]) for each in problems])
        return rollouts, scores


def names(groups: Sequence[Group]) -> list[str]:
    return [each.problem.id for each in groups]


@pytest.mark.parametrize(
    ("totals", "settled"),
    [((1.0, 1.0), True), ((1.0, 0.0), False), ((1.0, None), True), ((None, None), True), ((0.3, 0.3, 0.2), False)],
)
def test_a_group_is_settled_without_two_different_totals(totals: tuple[float | None, ...], settled: bool) -> None:
    assert group("a", *totals).settled(mask_truncated=False) is settled
    assert group("a", *totals, finish=Finish.LENGTH).settled(mask_truncated=True)


def test_settled_groups_are_replaced_in_their_places_until_all_teach() -> None:
    ask = Asked(d=(1, 1), e=(1, 0), f=(0, 1))
    start = [group("a", 1, 1), group("b", 0, 1), group("c", 0, 0)]
    kept, metrics = resample(start, Reserve([problem(each) for each in "adbef"]), 5, ask, False)
    assert ask.calls == [["d", "e"], ["f"]], "as many as are missing, none that was seen"
    assert names(kept) == ["f", "b", "e"]
    # right: a a, b, e, d d, f of 12
    assert metrics == {"accuracy_drawn": 7 / 12, "replaced_groups": 3, "replaced_tokens": 12}


def test_rounds_run_out_and_training_goes_on() -> None:
    ask = Asked(b=(1, 1), c=(1, 1))
    kept, metrics = resample([group("a", 1, 1)], Reserve([problem(each) for each in "bcd"]), 2, ask, False)
    assert ask.calls == [["b"], ["c"]] and names(kept) == ["c"]
    assert metrics["replaced_groups"] == 2


def test_a_reserve_without_other_problems_ends_it() -> None:
    reserve = Reserve([problem("a"), problem("b")])
    kept, metrics = resample([group("a", 1, 1), group("b", 0, 1)], reserve, 9, Asked(), False)
    assert names(kept) == ["a", "b"] and metrics["replaced_groups"] == 0
    assert resample([group("a", 1, 1)], Reserve([]), 9, Asked(), False)[1]["replaced_groups"] == 0


def test_fewer_problems_than_places_fill_the_first() -> None:
    kept, _ = resample([group("a", 1, 1), group("b", 0, 0)], Reserve([problem("c")]), 9, Asked(c=(1, 0)), False)
    assert names(kept) == ["c", "b"]


def test_nothing_is_asked_when_all_teach() -> None:
    ask = Asked()
    kept, metrics = resample([group("a", 1, 0)], Reserve([problem("b")]), 9, ask, False)
    assert (names(kept), ask.calls, metrics["replaced_groups"]) == (["a"], [], 0)


def test_a_reserve_goes_round() -> None:
    reserve = Reserve([problem(each) for each in "abc"])
    taken = [[each.id for each in reserve.take(2, set())] for _ in range(3)]
    assert taken == [["a", "b"], ["c", "a"], ["b", "c"]]


def test_groups_are_cut_by_problem() -> None:
    start = [group("a", 1, 0), group("b", 0, 0)]
    problems, rollouts, scores = flattened(start)
    assert grouped(problems, rollouts, scores) == start

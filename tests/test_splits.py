"""Splits: no problem of one is in another, whoever draws it; the pretraining text and demonstrations are train only."""

from __future__ import annotations

import re
from collections import Counter
from itertools import islice
from random import Random
from types import ModuleType

import pytest

from rlsp import tasks
from rlsp.config import PretrainRecipe, Recipe, TaskRecipe, load
from rlsp.errors import InputError
from rlsp.nano.corpus import documents
from rlsp.tasks import chain_sum, countdown
from rlsp.tasks.splits import Split, draw, split_of
from rlsp.tasks.traces import parse_lines
from rlsp.types import Problem

SEEDS = (0, 1, 12345)


def levels_of(task: ModuleType) -> list[int]:
    """The levels that are quick to draw from."""
    return [level for level, (count, _) in task.LEVELS.items() if task is chain_sum or count <= 3]


def identity(problem: Problem) -> str:
    """What the problem is, read from its question alone, without the library's help."""
    if match := re.fullmatch(r"Use ([\d, ]+) to make (\d+)\.", problem.question):
        return f"{sorted(map(int, match[1].split(', ')))} {match[2]}"
    match = re.fullmatch(r"Compute (.+)\.", problem.question)
    assert match is not None, problem.question
    return match[1].replace(" ", "")


@pytest.mark.parametrize("task", [countdown, chain_sum], ids=lambda task: task.NAME)
def test_splits_are_disjoint_by_problem(task: ModuleType) -> None:
    counts = {Split.TRAIN: 1200, Split.SELECTION: 200, Split.TEST: 200}
    identities: dict[Split, set[str]] = {split: set() for split in Split}
    ids: dict[Split, set[str]] = {split: set() for split in Split}
    for seed in SEEDS:
        for split, count in counts.items():
            drawn = task.problems(split, count, seed, levels_of(task))
            assert len({identity(problem) for problem in drawn}) == count, "a problem was drawn twice"
            identities[split] |= {identity(problem) for problem in drawn}
            ids[split] |= {problem.id for problem in drawn}
    for one, other in ((Split.TRAIN, Split.SELECTION), (Split.TRAIN, Split.TEST), (Split.SELECTION, Split.TEST)):
        assert not identities[one] & identities[other]
        assert not ids[one] & ids[other]
    assert sum(map(len, identities.values())) > 2000, "too few different problems to tell"


@pytest.mark.parametrize("level", countdown.LEVELS)
@pytest.mark.parametrize("split", Split)
def test_every_countdown_level_stays_in_its_split(level: int, split: Split) -> None:
    for problem in countdown.problems(split, 15, 4, [level]):
        numbers, target = countdown.read_question(problem.question)
        assert split_of(countdown.problem(sorted(numbers), target).id) is split
        assert problem.level == level


def test_order_of_the_numbers_does_not_change_the_split() -> None:
    problem = countdown.problem((12, 3, 7), 33)
    assert problem.id == countdown.problem((3, 7, 12), 33).id
    assert problem.question != countdown.problem((3, 7, 12), 33).question
    assert problem.id != countdown.problem((3, 7, 12), 34).id
    assert problem.id != countdown.problem((3, 7, 7, 12), 33).id


def test_shares_of_the_splits() -> None:
    shares = Counter(split_of(f"countdown/{number}") for number in range(20_000))
    assert shares[Split.TRAIN] / 20_000 == pytest.approx(0.8, abs=0.01)
    assert shares[Split.SELECTION] / 20_000 == pytest.approx(0.1, abs=0.01)
    assert shares[Split.TEST] / 20_000 == pytest.approx(0.1, abs=0.01)


@pytest.mark.parametrize(
    ("problem_id", "split"),
    [
        ("countdown/3-7-12/20", Split.TRAIN),
        ("countdown/3-7-12/33", Split.TRAIN),
        ("countdown/3-7-12/36", Split.TRAIN),
        ("countdown/3-7-12/30", Split.SELECTION),
        ("countdown/3-7-12/32", Split.SELECTION),
        ("countdown/3-7-12/21", Split.TEST),
        ("countdown/3-7-12/38", Split.TEST),
        ("chain-sum/1+2-3", Split.TRAIN),
        ("chain-sum/9+9", Split.TEST),
    ],
)
def test_the_split_of_a_problem_never_changes(problem_id: str, split: Split) -> None:
    """Published numbers and the shipped base model depend on it. Worked out by sha256sum(1): the first 16 hexadecimal
    digits modulo 10."""
    assert split_of(problem_id) is split


@pytest.mark.parametrize("task", [countdown, chain_sum], ids=lambda task: task.NAME)
def test_drawing_is_deterministic_in_the_seed(task: ModuleType) -> None:
    def drawn(split: Split, seed: int) -> list[Problem]:
        return task.problems(split, 60, seed, levels_of(task))

    assert drawn(Split.TRAIN, 7) == drawn(Split.TRAIN, 7)
    assert drawn(Split.TRAIN, 7) != drawn(Split.TRAIN, 8)
    assert drawn(Split.TRAIN, 7)[:20] == task.problems(Split.TRAIN, 20, 7, levels_of(task)), "more of the same stream"


@pytest.mark.parametrize("task", [countdown, chain_sum], ids=lambda task: task.NAME)
def test_levels_are_drawn_in_turn(task: ModuleType) -> None:
    levels = levels_of(task)
    drawn = task.problems(Split.TRAIN, 10 * len(levels), 0, levels)
    assert [problem.level for problem in drawn] == levels * 10


def test_asking_for_too_many_says_how_many_there_are() -> None:
    def make(rng: Random, level: int) -> Problem:
        return Problem(f"toy/{rng.randrange(100)}", "toy", "", "", level)

    there_are = sum(split_of(f"toy/{number}") is Split.TEST for number in range(100))
    assert 0 < there_are < 30
    assert len(draw(make, [1], Split.TEST, there_are, 0)) == there_are
    with pytest.raises(InputError) as caught:
        draw(make, [1], Split.TEST, there_are + 1, 0)
    for fragment in (f"only {there_are} different test problems", f"{there_are + 1} were asked for", "ask for fewer"):
        assert fragment in str(caught.value)


@pytest.mark.parametrize("task", [countdown, chain_sum], ids=lambda task: task.NAME)
def test_a_small_level_runs_dry_with_an_input_error(task: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(task.LEVELS, 1, (2, 6))
    recipe = TaskRecipe.model_validate({"name": task.NAME, "levels": [1]})
    with pytest.raises(InputError, match="different train problems at levels"):
        tasks.problems(recipe, Split.TRAIN, 1000, 0)


@pytest.mark.parametrize("name", ["countdown", "chain-sum"])
def test_unknown_level_is_an_input_error(name: str) -> None:
    recipe = TaskRecipe.model_validate({"name": name, "levels": [1, 99]})
    with pytest.raises(InputError, match=r"no level 99; it has \[1, "):
        tasks.problems(recipe, Split.TRAIN, 1, 0)


def test_recipe_and_module_draw_the_same() -> None:
    recipe = TaskRecipe(name="countdown", levels=(1, 2))
    assert tasks.problems(recipe, Split.TEST, 20, 3) == countdown.problems(Split.TEST, 20, 3, (1, 2))


CORPUS = load(PretrainRecipe, "nano-base", ["corpus.search_share=0.3"]).corpus


def test_pretraining_text_uses_train_problems_only() -> None:
    """Whatever a document asks about the numbers or the chain."""
    seen: Counter[str] = Counter()
    for question, continuation in islice(documents(CORPUS, seed=5), 2000):
        text = f"{question}\n{continuation}"
        for numbers, target in re.findall(r"(\d+(?:, \d+)+) to make (\d+)\b", text):
            each = countdown.problem([int(number) for number in numbers.split(", ")], int(target))
            assert split_of(each.id) is Split.TRAIN, text
            seen["countdown"] += 1
        for chain in re.findall(r"Compute (.+)\.", text):
            assert split_of(f"chain-sum/{chain.replace(' ', '')}") is Split.TRAIN, text
            seen["chain-sum"] += 1
    assert min(seen["countdown"], seen["chain-sum"]) > 200


def test_pretraining_text_is_true_and_its_checks_are_honest() -> None:
    checks: Counter[bool] = Counter()
    for _, continuation in islice(documents(CORPUS, seed=6), 2000):
        for line in parse_lines(continuation):
            assert line.well_formed, continuation
            assert all(step.true for step in (*line.steps, *line.back)), continuation
            if line.accepted is not None:
                compared = (line.back or line.steps)[-1].result
                assert line.accepted == (line.checked_value == compared), continuation
                checks[line.accepted] += 1
    assert min(checks[True], checks[False]) > 200


def test_pretraining_text_is_deterministic_in_the_seed() -> None:
    assert list(islice(documents(CORPUS, 1), 50)) == list(islice(documents(CORPUS, 1), 50))
    assert list(islice(documents(CORPUS, 1), 50)) != list(islice(documents(CORPUS, 2), 50))


def test_demonstrations_use_train_problems_only() -> None:
    from rlsp.engines.drawing import demonstrate
    from rlsp.engines.progress import Silent

    for name, level in (("countdown", levels_of(countdown)), ("chain-sum", levels_of(chain_sum))):
        overrides = ["demonstrations.count=200", f"task={{name='{name}', levels={level}}}"]
        demonstrations = demonstrate(load(Recipe, "nano", overrides), Silent())
        assert len(demonstrations) > 100
        assert {split_of(each.problem.id) for each in demonstrations} == {Split.TRAIN}
        assert {each.origin for each in demonstrations} == {"search"}

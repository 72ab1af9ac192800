"""Filters: repeated problems, problems of test sets, solved problems."""

from __future__ import annotations

import json
import time
from pathlib import Path
from random import Random

import pytest

from rlsp import tasks
from rlsp.config import TaskRecipe
from rlsp.errors import InputError
from rlsp.files import write_records
from rlsp.tasks.data import read_problems, read_questions
from rlsp.tasks.filters import (
    BOILERPLATE,
    OVERLAP,
    SHORTEST,
    Dropped,
    decontaminate,
    deduplicate,
    drop_solved,
    normalise,
    solve_rates,
)
from rlsp.types import Exploration, Problem, Reason, Score, Verdict


def ask(*questions: str) -> list[Problem]:
    return [Problem(f"math/{number}", "math", question, "1") for number, question in enumerate(questions)]


def ids(problems: list[Problem]) -> list[str]:
    return [problem.id for problem in problems]


def names(dropped: list[Dropped]) -> list[tuple[str, str]]:
    return [(each.name, each.reason) for each in dropped]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (r"Find $\frac{1}{2}$.", r"find \(\dfrac12\)."),
        (r"\tfrac{a}{b} + 1", r"$\frac ab+1$"),
        (r"\[x^{2} + y_{1}\]", r"$$x^2+y_1$$"),
        (r"$\left( 3, \frac{\pi}{2} \right)$", r"$(3,\frac{\pi}{2})$"),
        (r"\left[0, 1\right)", "[0,1)"),
        (r"$5\text{ cm}$", r"$5 \mathrm{cm}$"),
        (r"a\,b\;c\!d\ e~f \quad g", "a b c d e f g"),
        (r"x \leq y", r"x \le y"),
        ("“Hello” – it’s", '"hello" - it\'s'),
        ("full\u200b width １２", "full width 12"),
        ("  two\n lines ", "two lines"),
        (r"It costs \$5", "It costs $5"),
        (r"1 & 2 \\ (3)", r"1&2\\[2pt] (3)"),
    ],
)
def test_ways_to_typeset_one_question(one: str, other: str) -> None:
    first, second = Problem("a", "math", one, "1"), Problem("b", "math", other, "1")
    kept, dropped = deduplicate([first, second])
    assert kept == [first]
    assert dropped == [Dropped("b", other, "duplicate", "of a")]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (r"\frac{1}{23}", r"\frac{12}{3}"),
        ("x^{10}", "x^{1}0"),
        ("1 + 2", "1 - 2"),
        ("(0, 1)", "[0, 1)"),
        (r"\leftarrow x", "arrow x"),
        ("3.5", "35"),
        (r"\sqrt{2}", "2"),
        (r"1 \\ 2", "1 2"),
        ("x < 1", "x > 1"),
        ("What is 12?", "What is 21?"),
    ],
)
def test_different_questions_stay_apart(one: str, other: str) -> None:
    assert deduplicate(ask(one, other)) == (ask(one, other), [])


def test_white_space_tells_answers_apart_though_not_questions() -> None:
    one, other = Problem("a", "math", "x^2 y", "1 2"), Problem("b", "math", "x^2y", "12")
    assert names(deduplicate([one, other])[1]) == [(name, "contradictory duplicate") for name in "ab"]


def test_of_contradictory_repeats_none_is_kept() -> None:
    rows = [("a", "q", "1"), ("b", "r", "1"), ("c", "Q", "1"), ("d", "q ", "2")]
    kept, dropped = deduplicate(Problem(name, "math", question, answer) for name, question, answer in rows)
    assert ids(kept) == ["b"]
    assert names(dropped) == [(name, "contradictory duplicate") for name in "acd"]
    assert dropped[0].detail == "answers '1' and '2'"


def test_repeats_with_other_tests_contradict() -> None:
    one, other = (Problem(name, "code", "q", "", grading={"tests": [name]}) for name in "ab")
    assert deduplicate([one, other])[0] == []


TEST = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"


def test_equal_questions_are_in_the_test_set_however_short() -> None:
    problems = ask("What is $1 + 1$?", "What is 1 + 2?", TEST.upper())
    kept, dropped = decontaminate(problems, {"small": ["what is 1+1?"], "large": [TEST]})
    assert ids(kept) == ["math/1"]
    assert [(each.name, each.reason, each.detail) for each in dropped] == [
        ("math/0", "in a test set", "small"),
        ("math/2", "in a test set", "large"),
    ]


@pytest.mark.parametrize(("shared", "is_dropped"), [(16, True), (14, True), (13, True), (12, False), (5, False)])
def test_thirteen_words_in_a_row_overlap(shared: int, is_dropped: bool) -> None:
    question = " ".join(TEST.split()[:shared]) + " and something else"
    kept, dropped = decontaminate(ask(question), {"large": [TEST]})
    assert bool(dropped) is is_dropped
    assert len(kept) + len(dropped) == 1
    if is_dropped:
        words = min(shared + 3, 16)
        detail = f"{shared / words:.0%} of “one two three four five six seven eight …” in large"
        assert dropped == [Dropped("math/0", question, "overlaps a test set", detail)]


def test_n_can_be_smaller() -> None:
    question = "alpha two three four omega"
    assert decontaminate(ask(question), {"t": ["zero two three four nil"]}, ngram=3)[0] == []
    assert ids(decontaminate(ask(question), {"t": ["zero two three four nil"]}, ngram=4)[0]) == ["math/0"]


def test_a_common_tail_is_no_overlap() -> None:
    """Thirteen words in a row that are less than half of either question."""
    tail = " ".join(TEST.split()[:13])
    mine, theirs = (" ".join(f"{side}{number}" for number in range(14)) + " " + tail for side in "ab")
    assert OVERLAP > 13 / 27
    assert ids(decontaminate(ask(mine), {"t": [theirs]})[0]) == ["math/0"]
    assert decontaminate(ask(mine), {"t": [theirs]}, overlap=0.48)[0] == []
    shorter = theirs.split(" ", 1)[1]
    assert decontaminate(ask(mine), {"t": [shorter]})[0] == [], "13 of 26 words are half of the shorter one"


def test_a_short_question_counts_when_the_other_contains_it() -> None:
    short, filler = " ".join(TEST.split()[:SHORTEST]), " filler" * 30
    contained = ["lead " + short + filler]
    assert names(decontaminate(ask(*contained), {"t": [short]})[1]) == [("math/0", "overlaps a test set")]
    assert names(decontaminate(ask(short), {"t": contained})[1]) == [("math/0", "overlaps a test set")]
    too_short = " ".join(TEST.split()[: SHORTEST - 1])
    assert decontaminate(ask("lead " + too_short + filler), {"t": [too_short]})[1] == []
    assert decontaminate(ask(too_short), {"t": ["lead " + too_short + filler]})[1] == []


def test_eight_common_words_do_not_convict_a_longer_question() -> None:
    """A short problem beside it makes the index hold runs of eight words, which are for that problem alone."""
    eight = " ".join(TEST.split()[:SHORTEST])
    short = "completely other words that nobody else has used"
    assert len(short.split()) == SHORTEST
    problems = ask(short, f"{eight} then five more words come")
    assert ids(decontaminate(problems, {"t": [f"{eight} and three different"]})[0]) == ["math/0", "math/1"]


@pytest.mark.parametrize(("copies", "is_dropped"), [(BOILERPLATE, True), (BOILERPLATE + 1, False)])
def test_what_many_different_problems_say_convicts_nobody(copies: int, is_dropped: bool) -> None:
    problems = ask(*(f"number {number}: {TEST}" for number in range(copies)))
    assert bool(decontaminate(problems, {"t": [f"else: {TEST}"]})[1]) is is_dropped


def test_repeats_of_one_question_are_no_boilerplate() -> None:
    problems = ask(*[f"my {TEST}"] * (BOILERPLATE + 5))
    assert len(decontaminate(problems, {"t": [f"else: {TEST}"]})[1]) == BOILERPLATE + 5


def test_the_code_of_a_diagram_is_no_text() -> None:
    diagram = "[asy] " + " ".join(f"draw(({number},0)--(0,{number}));" for number in range(40)) + " [/asy]"
    problems = ask(f"Find the area of this fine square with side two. {diagram}")
    assert decontaminate(problems, {"t": [f"What is the height of a triangle whose base is three? {diagram}"]})[1] == []


def test_text_around_diagrams_is_kept() -> None:
    words = TEST.split()
    drawn = " [asy]draw(a);[/asy] ".join([" ".join(words[:6]), " ".join(words[6:12]), " ".join(words[12:])])
    (dropped,) = decontaminate(ask(f"{drawn} [asy] unclosed"), {"t": [f"first {TEST}"]}, overlap=0.9)[1]
    assert dropped.detail == "94% of “first one two three four five six seven …” in t", "16 of 17 words"


@pytest.mark.parametrize("text", ["a" + " " * 50_000 + "b", "[asy]" * 50_000, "[asy][/asy]" * 30_000, "( " * 50_000])
def test_hostile_text_takes_linear_time(text: str) -> None:
    """Far below what a quadratic pass over it takes, tens of seconds."""
    started = time.process_time()
    assert decontaminate(ask(text), {"t": ["another"]})[0] == ask(text)
    assert time.process_time() - started < 2


def test_overlap_agrees_with_its_definition() -> None:
    """Against slow loops over every pair of random questions, without boilerplate."""
    rng = Random(0)
    base = [f"w{number}" for number in range(400)]

    def question() -> str:
        start, length = rng.randrange(380), rng.randrange(4, 30)
        return " ".join(base[start : start + length] + rng.choices(["x", "y", "z"], k=rng.randrange(12)))

    problems, tests = ask(*(question() for _ in range(150))), [question() for _ in range(6)]
    n = 10

    def share(mine: list[str], theirs: list[str]) -> float:
        length = min(n, len(mine), len(theirs))
        if length < SHORTEST:
            return 0.0
        found = {tuple(theirs[i : i + length]) for i in range(len(theirs) - length + 1)}
        covered = {
            place
            for i in range(len(mine) - length + 1)
            if tuple(mine[i : i + length]) in found
            for place in range(i, i + length)
        }
        return len(covered) / min(len(mine), len(theirs))

    expected = [
        problem.id
        for problem in problems
        if any(share(problem.question.split(), test.split()) >= OVERLAP or problem.question == test for test in tests)
    ]
    _, dropped = decontaminate(problems, {"t": tests}, ngram=n)
    assert [each.name for each in dropped] == expected
    assert 10 < len(expected) < 100


def score(problem: str, sample: int, correct: bool) -> Score:
    verdict = Verdict(correct, "1", Reason.MATCH if correct else Reason.TIMEOUT)
    return Score(problem, sample, verdict, Exploration(0.0, {}), 0.8, 0.0)


def test_solve_rates_are_shares_of_samples() -> None:
    assert solve_rates([("a", True), ("b", True), ("b", False), ("c", False)]) == {"a": 1.0, "b": 0.5, "c": 0.0}


@pytest.mark.parametrize(("threshold", "left"), [(1.0, ["b", "c", "d"]), (0.5, ["c", "d"]), (0.51, ["b", "c", "d"])])
def test_solved_problems_are_dropped_and_untried_ones_kept(threshold: float, left: list[str]) -> None:
    problems = [Problem(name, "math", name, "1") for name in "abcd"]
    kept, dropped = drop_solved(problems, {"a": 1.0, "b": 0.5, "c": 0.0}, threshold)
    assert ids(kept) == left
    assert dropped[0] == Dropped("a", "a", "already solved", "100% of its samples")
    assert len(kept) + len(dropped) == 4


@pytest.fixture
def data(tmp_path: Path) -> Path:
    rows = [*((f"{number} + 1 = ?", number + 1) for number in range(20)), ("0 + 1  = ?", 1), (TEST, 5)]
    path = tmp_path / "data.jsonl"
    path.write_text("".join(json.dumps({"question": q, "answer": a}) + "\n" for q, a in rows))
    return path


def filtered(data: Path, limit: int = 0, **filters: object) -> list[str]:
    recipe = TaskRecipe.model_validate({"name": "data", "data": str(data), "limit": limit, "filters": filters})
    return [problem.question for problem in tasks.data_problems(recipe)]


def test_filters_of_a_recipe(data: Path, tmp_path: Path) -> None:
    test = tmp_path / "test.csv"
    test.write_text(f"question\n3+1=?\n{TEST} indeed\n")
    every = read_problems(str(data))
    scores = tmp_path / "scores.jsonl.zst"
    write_records(scores, [score(every[5].id, 0, True), score(every[6].id, 0, False)])
    assert len(filtered(data)) == 22
    assert filtered(data, deduplicate=True) == [each.question for each in every if "  " not in each.question]
    left = filtered(data, deduplicate=True, decontaminate=[str(test)], solved=str(scores))
    assert left == [f"{number} + 1 = ?" for number in range(20) if number not in (3, 5)]
    assert filtered(data, deduplicate=True, solved=str(scores), limit=6)[-1] == "6 + 1 = ?", (
        "the first six that are left"
    )


def test_scores_of_other_problems_are_refused(data: Path, tmp_path: Path) -> None:
    scores = tmp_path / "scores.jsonl"
    write_records(scores, [score("exact/0123456789abcdef", 0, True)])
    with pytest.raises(InputError, match=r"scores\.jsonl: none of its 1 problems is among the data's"):
        filtered(data, solved=str(scores))


def test_filters_that_leave_nothing_are_an_error(data: Path) -> None:
    with pytest.raises(InputError, match=r"data\.jsonl: the filters leave none of its 22 problems"):
        filtered(data, decontaminate=[str(data)])


def test_contradictions_are_left_out_by_the_recipe_only_when_asked(data: Path) -> None:
    with data.open("a") as file:
        file.write('{"question": "0 + 1 = ?", "answer": 7}\n')
    with pytest.raises(InputError, match="another answer before"):
        filtered(data)
    assert filtered(data, deduplicate=True)[0] == "1 + 1 = ?"


def test_unusable_rows_stop_a_recipe(data: Path) -> None:
    with data.open("a") as file:
        file.write('{"question": "new", "answer": null}\n')
    for filters in ({}, {"deduplicate": True}):
        with pytest.raises(InputError, match=r"data\.jsonl:23: no reference answer"):
            filtered(data, **filters)


@pytest.mark.parametrize(
    ("train", "test", "dropped"),
    [
        ("aime_1983_2023", "math500", 9),
        ("aime_1983_2023", "aime24", 0),
        ("aime_1983_2023", "amc23", 0),
        ("gsm8k_train", "gsm8k_test", 2),
        ("gsm8k_test", "math500", 0),
    ],
)
def test_what_the_benchmarks_share(shared_data: Path, train: str, test: str, dropped: int) -> None:
    """The nine are AIME problems in MATH-500, the two ask of a train what is asked of a plane."""
    problems = read_problems(str(shared_data / f"{train}.jsonl"))
    assert deduplicate(problems) == (problems, [])
    assert len(decontaminate(problems, {test: read_questions(str(shared_data / f"{test}.jsonl"))})[1]) == dropped


def test_typesetting_does_not_hide_a_benchmark(shared_data: Path) -> None:
    """Every MATH-500 question, typeset otherwise, is found in MATH-500."""
    problems = read_problems(str(shared_data / "math500.jsonl"))
    otherwise = ask(
        *(
            problem.question.upper().replace("$", "\u200b$").replace("(", r"\left(")
            if "\\" not in problem.question
            else problem.question.replace(r"\frac", r"\tfrac").replace(r"\left", "").replace(r"\right", "")
            for problem in problems
        )
    )
    assert decontaminate(otherwise, {"math-500": [problem.question for problem in problems]})[0] == []


def test_normalising_is_idempotent(shared_data: Path) -> None:
    for problem in read_problems(str(shared_data / "math500.jsonl")):
        once = normalise(problem.question)
        assert normalise(once) == once

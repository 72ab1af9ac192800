"""Problems from the user's own JSONL."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rlsp import tasks
from rlsp.config import TaskRecipe
from rlsp.errors import InputError
from rlsp.tasks.files import read_problems
from rlsp.tasks.splits import Split, split_of
from rlsp.verifiers import verify


def write(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize("question_key", ["question", "problem", "prompt"])
@pytest.mark.parametrize("answer_key", ["answer", "solution"])
def test_keys_that_data_sets_use(tmp_path: Path, question_key: str, answer_key: str) -> None:
    row = {question_key: "What is 2 + 2?", answer_key: "4", "level": 3, "other": [1]}
    (problem,) = read_problems(write(tmp_path / "mine.jsonl", row))
    assert (problem.task, problem.question, problem.answer) == ("file", "What is 2 + 2?", "4")
    assert (problem.level, problem.source) == (3, "mine")


def test_the_first_known_key_wins(tmp_path: Path) -> None:
    row = {"solution": "It is four.", "answer": "4", "prompt": "Solve: 2 + 2", "question": "2 + 2"}
    (problem,) = read_problems(write(tmp_path / "mine.jsonl", row))
    assert (problem.question, problem.answer) == ("2 + 2", "4")


@pytest.mark.parametrize(
    ("reference", "answer"),
    [
        ("He sold 48/2 = <<48/2=24>>24 clips.\n#### 72", "72"),
        ("a #### 1 #### 2", "2"),
        ("  5  ", "5"),
        (42, "42"),
        (0, "0"),
        (0.5, "0.5"),
        ("(3, 4)", "(3, 4)"),
    ],
)
def test_reference_is_cut_to_its_final_answer(tmp_path: Path, reference: Any, answer: str) -> None:
    (problem,) = read_problems(write(tmp_path / "mine.jsonl", {"question": "q", "answer": reference}))
    assert problem.answer == answer


def test_repeated_questions_are_dropped_and_order_kept(tmp_path: Path) -> None:
    rows = [{"question": question, "answer": str(ord(question))} for question in "bacab"]
    problems = read_problems(write(tmp_path / "mine.jsonl", *rows))
    assert [(problem.question, problem.answer) for problem in problems] == [("b", "98"), ("a", "97"), ("c", "99")]
    assert len({problem.id for problem in problems}) == 3


def test_a_question_with_two_answers_is_refused(tmp_path: Path) -> None:
    rows = [{"question": "q", "answer": "1"}, {"question": "p", "answer": "1"}, {"question": "q", "answer": "2"}]
    with pytest.raises(InputError, match=r"mine\.jsonl:3: the same question has another answer before: '1', here '2'"):
        read_problems(write(tmp_path / "mine.jsonl", *rows))


def test_ids_are_stable_and_blank_lines_do_not_count(tmp_path: Path) -> None:
    one = write(tmp_path / "mine.jsonl", {"question": "q", "answer": "1"})
    before = read_problems(one)
    one.write_text("\n  \n" + one.read_text() + "\n\n")
    assert read_problems(one) == before


@pytest.mark.parametrize(
    ("content", "fragments"),
    [
        (b"", ["no problems in it"]),
        (b"\n \n", ["no problems in it"]),
        (b'{"question": "q", "answer": "1"}\n\n{"question": \n', [":3", "not JSON"]),
        (b'["question", "answer"]\n', [":1", "a JSON object is needed", '["question", "answer"]']),
        (b'{"answer": "1"}\n', [":1", "question, problem, prompt", "its keys are answer"]),
        (b'{"question": "q", "label": "1"}\n', [":1", "answer, solution", "its keys are question, label"]),
        (b'{"question": "q", "answer": null}\n', [":1", "answer, solution"]),
        (b'{"question": ["q"], "answer": "1"}\n', [":1", "question, problem, prompt"]),
        (b'{"question": "\xff", "answer": "1"}\n', ["can't be read"]),
    ],
)
def test_broken_file_names_file_line_and_fix(tmp_path: Path, content: bytes, fragments: list[str]) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_problems(path)
    assert str(path) in str(caught.value)
    for fragment in fragments:
        assert fragment in str(caught.value)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.jsonl: can't be read"):
        read_problems(tmp_path / "nowhere.jsonl")


@pytest.fixture
def hundred(tmp_path: Path) -> Path:
    return write(tmp_path / "hundred.jsonl", *({"question": f"{n} + 1?", "answer": n + 1} for n in range(100)))


def drawn(path: Path, split: Split, count: int = 1000, limit: int = 0) -> list[str]:
    recipe = TaskRecipe(name="file", path=str(path), limit=limit)
    return [problem.question for problem in tasks.problems(recipe, split, count, seed=0)]


def test_splits_of_a_file_are_disjoint_and_whole(hundred: Path) -> None:
    parts = [drawn(hundred, split) for split in Split]
    every = [problem.question for problem in read_problems(hundred)]
    assert sorted(question for part in parts for question in part) == sorted(every)
    assert len(parts[0]) > 60 and len(parts[1]) > 2 and len(parts[2]) > 2


def test_splits_do_not_move_when_problems_are_added(hundred: Path) -> None:
    before = drawn(hundred, Split.TEST)
    with hundred.open("a") as file:
        file.write('{"question": "new", "answer": 1}\n')
    assert set(before) <= set(drawn(hundred, Split.TEST))


def test_count_and_limit_cut_a_file(hundred: Path) -> None:
    train = drawn(hundred, Split.TRAIN)
    assert drawn(hundred, Split.TRAIN, count=5) == train[:5]
    first_ten = [problem for problem in read_problems(hundred)[:10] if split_of(problem.id) is Split.TRAIN]
    assert set(drawn(hundred, Split.TRAIN, limit=10)) == {problem.question for problem in first_ten}


def test_empty_split_asks_for_more_problems(tmp_path: Path) -> None:
    path = write(tmp_path / "one.jsonl", {"question": "q", "answer": "1"})
    (problem,) = read_problems(path)
    empty = next(split for split in Split if split is not split_of(problem.id))
    with pytest.raises(InputError, match=f"none of its problems falls into the {empty} split; give more"):
        drawn(path, empty)


@pytest.mark.parametrize("separator", ["\u2028", "\x85"])
def test_line_separators_inside_text_do_not_end_a_line(tmp_path: Path, separator: str) -> None:
    path = write(tmp_path / "mine.jsonl", {"question": f"first{separator}second", "answer": "1"})
    assert read_problems(path)[0].question == f"first{separator}second"


def test_lone_surrogate_is_an_input_error(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text('{"question": "\\ud800", "answer": "1"}\n')
    with pytest.raises(InputError, match=":1"):
        read_problems(path)


def test_a_renamed_file_keeps_its_splits(tmp_path: Path, hundred: Path) -> None:
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes(hundred.read_bytes())
    assert not set(drawn(hundred, Split.TEST)) & set(drawn(copy, Split.TRAIN)), "test problems would be trained on"


def test_boxed_reference_solution_can_be_met(tmp_path: Path) -> None:
    row = {"problem": "What is 2 + 2?", "solution": "Two and two give $2 + 2 = \\boxed{4}$."}
    (problem,) = read_problems(write(tmp_path / "math.jsonl", row))
    assert verify(problem, "It is \\boxed{4}").correct


def test_empty_reference_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=":1"):
        read_problems(write(tmp_path / "mine.jsonl", {"question": "q", "answer": " "}))

"""Problems from data: files, the Hub, benchmarks; columns by name or mapped; references."""

from __future__ import annotations

import csv
import gzip
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import zstandard

from rlsp import tasks
from rlsp.config import FilterRecipe, TaskRecipe
from rlsp.errors import InputError
from rlsp.files import write_records
from rlsp.tasks.benchmarks import BENCHMARKS
from rlsp.tasks.data import Item, Unusable, read_problems, read_questions, scan
from rlsp.tasks.readers import read_rows, source_of
from rlsp.tasks.splits import Split, split_of
from rlsp.types import Problem
from rlsp.verifiers import verify


def write(path: Path, *rows: Any) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def read(path: Path, *rows: Any, **options: Any) -> list[Problem]:
    return read_problems(str(write(path, *rows)), **options)


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    return tmp_path / "mine.jsonl"


@pytest.mark.parametrize("question_key", ["question", "problem", "prompt", "Question", "PROBLEM"])
@pytest.mark.parametrize("answer_key", ["answer", "solution", "Answer"])
def test_columns_are_found_by_name(mine: Path, question_key: str, answer_key: str) -> None:
    (problem,) = read(mine, {question_key: "What is 2 + 2?", answer_key: "4", "Level": 3, "subject": "sums"})
    assert (problem.task, problem.question, problem.answer) == ("math", "What is 2 + 2?", "4")
    assert (problem.level, problem.source, problem.grading) == (3, "mine", {})


def test_the_best_name_wins_and_null_is_no_value(mine: Path) -> None:
    row = {"solution": "It is four.", "answer": "4", "prompt": "Solve: 2 + 2", "question": "2 + 2"}
    first, second = read(mine, row, {**row, "question": None, "answer": None})
    assert (first.question, first.answer) == ("2 + 2", "4")
    assert (second.question, second.answer) == ("Solve: 2 + 2", "It is four.")


def test_mapped_columns_win_over_names(mine: Path) -> None:
    row = {"question": "no", "Frage": "2 + 2?", "answer": "no", "label": 4, "level": 1, "stars": "5"}
    (problem,) = read(mine, row, columns={"question": "Frage", "answer": "label", "level": "stars"})
    assert (problem.question, problem.answer, problem.level) == ("2 + 2?", "4", 5)
    with pytest.raises(InputError, match=r"mine\.jsonl:1: no column 'Label' for the answer; its columns are question"):
        read(mine, row, columns={"answer": "Label"})


@pytest.mark.parametrize(
    ("reference", "answer"),
    [
        ("He sold 48/2 = <<48/2=24>>24 clips.\n#### 72", "72"),
        ("a #### 1 #### 2", "2"),
        ("so many\n#### 1,450,000", "1450000"),
        ("#### $2,125", "$2125"),
        ("#### 1,2", "1,2"),
        ("#### (1,234)", "(1,234)"),
        ("1,234", "1,234"),
        ("First \\boxed{3}, then $\\boxed{\\frac{1}{2}}$.", "\\frac{1}{2}"),
        ("It is $\\boxed 9$.", "9"),
        ("  5  ", "5"),
        (42, "42"),
        (0, "0"),
        (0.5, "0.5"),
        (27.0, "27"),
        (-3.0, "-3"),
        (1e300, "1e+300"),
        ("27.0", "27.0"),
        ("(3, 4)", "(3, 4)"),
    ],
)
def test_reference_is_cut_to_its_final_answer(mine: Path, reference: Any, answer: str) -> None:
    assert read(mine, {"question": "q", "answer": reference})[0].answer == answer


@pytest.mark.parametrize(
    ("written", "level"),
    [(2, 2), ("Level 5", 5), ("level 3", 3), ("4", 4), (3.0, 3), ("Level ?", 0), (None, 0), (0.5, 0), ([1], 0)],
)
def test_level(mine: Path, written: Any, level: int) -> None:
    assert read(mine, {"question": "q", "answer": "1", "level": written})[0].level == level


def test_a_chat_prompt_with_one_user_turn_is_a_question(mine: Path) -> None:
    (problem,) = read(mine, {"prompt": [{"role": "user", "content": "2 + 2?"}], "answer": "4"})
    assert problem.question == "2 + 2?"


@pytest.mark.parametrize("roles", [["system", "user"], ["user", "assistant", "user"], ["assistant"], []])
def test_other_conversations_are_refused(mine: Path, roles: list[str]) -> None:
    turns = [{"role": role, "content": "x"} for role in roles]
    with pytest.raises(InputError, match=r":1: the prompt's turns are .*one user turn is needed"):
        read(mine, {"prompt": turns, "answer": "4"})


def test_tests_take_the_place_of_an_answer_for_code(mine: Path) -> None:
    ours = [{"arguments": [1], "returns": 2}]
    rows: list[dict[str, Any]] = [
        {"question": "Add one.", "tests": ours, "function": "f"},
        {"question": "Add two.", "test_list": ["assert f(1) == 3"]},
        {"question": "Add three.", "input_output": '{"inputs": ["1\\n"], "outputs": ["4\\n"]}'},
    ]
    first, second, third = read(mine, *rows, verifier="code")
    assert (first.task, first.answer, first.grading) == ("code", "", {"tests": ours, "function": "f"})
    assert second.grading["function"] == "f"
    assert second.grading["tests"] == [{"arguments_literal": "[1]", "returns_literal": "3"}]
    assert third.grading == {"tests": [{"stdin": "1\n", "stdout": "4\n"}]}
    with pytest.raises(InputError, match=r":1: unreadable tests: .*is not of the form"):
        read(mine, {"question": "q", "test_list": ["assert not f(1)"]}, verifier="code")
    (mapped,) = read(
        mine, {"question": "q", "cases": "[1]", "answer": "a"}, verifier="my.own:judge", columns={"tests": "cases"}
    )
    assert (mapped.grading, mapped.answer) == ({"tests": "[1]"}, "a")
    with pytest.raises(InputError, match=r":1: no tests"):
        read(mine, {"question": "q", "tests": []}, verifier="code")
    with pytest.raises(InputError, match=r":1: no column named tests or test_list or input_output"):
        read(mine, {"question": "q", "answer": "1"}, verifier="code")


PAIRS = {"inputs": [[3, 4]], "outputs": [7]}
CALLS = {"tests": [{"arguments": [3, 4], "returns": 7}], "function": "add"}


@pytest.mark.parametrize(
    ("tests", "function"),
    [
        (PAIRS, "add"),
        (PAIRS | {"fn_name": None}, "add"),
        (PAIRS | {"fn_name": "add"}, "other"),
        (json.dumps(PAIRS), "add"),
        (CALLS["tests"], "add"),
        ({"tests": CALLS["tests"]}, "add"),
        (CALLS, "other"),
        (json.dumps(CALLS["tests"]), "add"),
        (json.dumps(CALLS), ""),
    ],
)
def test_the_functions_column_names_what_tests_call_that_do_not_say(mine: Path, tests: Any, function: str) -> None:
    (problem,) = read(mine, {"question": "q", "tests": tests, "entry_point": function}, verifier="code")
    assert problem.grading == CALLS


def test_tests_in_csv_are_json_text(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    streams = [{"stdin": "1\n", "stdout": "2\n"}]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(
            [
                ["question", "tests", "function"],
                ["a", json.dumps(CALLS["tests"]), "add"],
                ["b", json.dumps(streams), ""],
            ]
        )
    first, second = read_problems(str(path), verifier="code")
    assert (first.grading, second.grading) == (CALLS, {"tests": streams})


def test_tests_are_left_alone_by_verifiers_of_answers(mine: Path) -> None:
    assert read(mine, {"question": "q", "answer": "1", "tests": [1]})[0].grading == {}


@pytest.mark.parametrize(
    ("verifier", "slug"), [("math", "math"), ("my_pack.Judge:verify", "my-pack-judge-verify"), ("a/../b:c", "a-b-c")]
)
def test_the_verifier_names_the_problem_and_starts_its_id(mine: Path, verifier: str, slug: str) -> None:
    (problem,) = read(mine, {"question": "q", "answer": "1"}, verifier=verifier)
    assert (problem.task, problem.id) == (verifier, f"{slug}/8e35c2cd3bf6641b")


def test_problems_of_rlsp_itself_are_taken_as_they_stand(mine: Path) -> None:
    problem = Problem("gym/x/0/1", "gym", "q", "", 2, "gym:x", {"name": "x", "index": 1})
    write_records(mine, [problem])
    assert read_problems(str(mine)) == [problem]
    with pytest.raises(InputError, match=r":1: the problem names its verifier 'gym', not 'exact'"):
        read_problems(str(mine), verifier="exact")


def test_repeated_questions_are_read_once_and_order_kept(mine: Path) -> None:
    problems = read(mine, *({"question": question, "answer": str(ord(question))} for question in "bacab"))
    assert [(problem.question, problem.answer) for problem in problems] == [("b", "98"), ("a", "97"), ("c", "99")]
    assert len({problem.id for problem in problems}) == 3


def test_a_question_with_two_answers_is_refused(mine: Path) -> None:
    rows = [{"question": "q", "answer": "1"}, {"question": "p", "answer": "1"}, {"question": "q", "answer": "2"}]
    with pytest.raises(InputError, match=r"mine\.jsonl:3: the same question has another answer before: '1', here '2'"):
        read(mine, *rows)


def test_ids_are_stable_and_blank_lines_do_not_count(mine: Path) -> None:
    before = read(mine, {"question": "q", "answer": "1"})
    mine.write_text("\n  \n" + mine.read_text() + "\n\n")
    assert read_problems(str(mine)) == before


@pytest.mark.parametrize(
    ("content", "fragments"),
    [
        (b"", ["no problems in it"]),
        (b"\n \n", ["no problems in it"]),
        (b'{"question": "q", "answer": "1"}\n\n{"question": \n', [":3", "not JSON"]),
        (b'["question", "answer"]\n', [":1", "a JSON object is needed", "'question', 'answer'"]),
        (b'{"answer": "1"}\n', [":1", "question or problem or prompt", "its columns are answer", "--column question="]),
        (b'{"question": "q", "label": "1"}\n', [":1", "answer or solution", "question, label", "--column answer="]),
        (b'{"question": "q", "answer": null}\n', [":1", "no reference answer", "rlsp tasks filter"]),
        (b'{"question": "q", "answer": " "}\n', [":1", "empty reference answer"]),
        (b'{"question": "q", "answer": "\\\\boxed{}"}\n', [":1", "empty reference answer"]),
        (b'{"question": "q", "answer": [1, 2]}\n', [":1", "reference answer is no text", "[1, 2]"]),
        (b'{"question": "q", "answer": NaN}\n', [":1", "reference answer is no text", "nan"]),
        (b'{"question": ["q"], "answer": "1"}\n', [":1", "question is no text"]),
        (b'{"question": " ", "answer": "1"}\n', [":1", "empty question"]),
        (b'{"question": "\\ud800", "answer": "1"}\n', [":1", "surrogate"]),
        (b'{"question": "q", "answer": "\\ud800"}\n', [":1", "surrogate"]),
        (b'{"question": "\xff", "answer": "1"}\n', ["can't be read"]),
    ],
)
def test_broken_file_names_file_line_and_fix(mine: Path, content: bytes, fragments: list[str]) -> None:
    mine.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_problems(str(mine))
    assert str(mine) in str(caught.value)
    for fragment in fragments:
        assert fragment in str(caught.value)


def test_unusable_rows_are_told_apart_when_data_are_looked_at(mine: Path) -> None:
    write(mine, {"question": "q", "answer": 1}, {"question": "r", "answer": None}, {"question": "s", "answer": "Is 3."})
    first, second, third = scan(str(mine))
    assert isinstance(first, Item) and (first.reference, first.problem.answer) == ("1", "1")
    assert second == Unusable(f"{mine}:2", "r", "no reference answer")
    assert isinstance(third, Item) and third.where == f"{mine}:3"


def test_a_test_set_needs_no_answers(mine: Path) -> None:
    write(mine, {"problem": "a", "answer": None}, {"problem": "b"})
    assert read_questions(str(mine)) == ["a", "b"]
    write(mine, {"problem": 3})
    with pytest.raises(InputError, match=r":1: the question is no text: 3"):
        read_questions(str(mine))


@pytest.mark.parametrize("separator", ["\u2028", "\x85"])
def test_line_separators_inside_text_do_not_end_a_line(mine: Path, separator: str) -> None:
    assert read(mine, {"question": f"first{separator}second", "answer": "1"})[0].question == f"first{separator}second"


ROWS = [{"question": "1 + 1?", "answer": "2", "level": "1"}, {"question": 'A "b",\nc?', "answer": "007", "level": "2"}]


def write_csv(path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.DictWriter(file, list(ROWS[0]))
        writer.writeheader()
        writer.writerows(ROWS)


def write_parquet(path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.Table.from_pylist(ROWS), path)


def write_zst(path: Path) -> None:
    path.write_bytes(zstandard.compress("".join(json.dumps(row) + "\n" for row in ROWS).encode()))


def write_gz(path: Path) -> None:
    path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in ROWS).encode()))


@pytest.mark.parametrize(
    ("name", "writer"),
    [("a.b.csv", write_csv), ("a.PARQUET", write_parquet), ("a.jsonl.zst", write_zst), ("a.jsonl.gz", write_gz)],
)
def test_every_reader_gives_the_same_problems(tmp_path: Path, name: str, writer: Any) -> None:
    writer(tmp_path / name)
    problems = read_problems(str(tmp_path / name))
    assert [(each.question, each.answer, each.level, each.source) for each in problems] == [
        ("1 + 1?", "2", 1, "a"),
        ('A "b",\nc?', "007", 2, "a"),
    ]


def test_parquet_numbers_and_chat_prompts(tmp_path: Path) -> None:
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    rows = [{"prompt": [{"role": "user", "content": "3 * 9?"}], "answer": 27.0}]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "amc.parquet")
    (problem,) = read_problems(str(tmp_path / "amc.parquet"))
    assert (problem.question, problem.answer) == ("3 * 9?", "27")


def test_long_values_of_csv_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(f"question,answer\n{'long ' * 40_000},1\n")
    (problem,) = read_problems(str(tmp_path / "a.csv"))
    assert len(problem.question) == 200_000


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", b"", "the first line must name every column"),
        ("a.csv", b"question,\nq,1\n", "the first line must name every column"),
        ("a.csv", b"question,question\nq,1\n", "each differently"),
        ("a.csv", b'question,answer\n"q\nr",1\nq,1,2\n', r"a\.csv:4: 3 values for 2 columns"),
        ("a.csv", b"question,answer\nq\n", r"a\.csv:2: 1 values for 2 columns"),
        ("a.csv", b'question,answer\n"q,1\n', "can't be read as CSV"),
        ("a.csv", b"question,answer\n\xff,1\n", "can't be read as CSV"),
        ("a.csv", b"frage,answer\nq,1\n", r"a\.csv:2: no column named question"),
        ("a.parquet", b"PAR1 no", "can't be read as Parquet"),
        ("a.jsonl.zst", b"no", "can't be read as JSONL"),
        ("a.jsonl.gz", b"no", "can't be read as JSONL"),
        ("a.jsonl.gz", gzip.compress(b'{"question": "q", "answer": "1"}', mtime=0)[:-9], "can't be read as JSONL"),
        ("a.xlsx", b"", r"no reader for this ending; there are \.jsonl"),
    ],
)
def test_broken_files_of_every_kind(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=words):
        read_problems(str(tmp_path / name))


@pytest.mark.parametrize("ending", [".jsonl", ".csv", ".parquet", ".jsonl.zst"])
def test_missing_file_is_named(tmp_path: Path, ending: str) -> None:
    with pytest.raises(InputError, match=r"nowhere.*: can't be read"):
        read_problems(str(tmp_path / f"nowhere{ending}"))


class Hub:
    """Stands for `datasets`: remembers what it was asked for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, answer: Any) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.answer = answer
        datasets = pytest.importorskip("datasets")
        monkeypatch.setattr(datasets, "load_dataset", self)

    def __call__(self, name: str, subset: str | None, split: str | None) -> Any:
        self.asked.append((name, subset, split))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.mark.parametrize(
    ("reference", "asked"),
    [
        ("hub:openai/gsm8k", ("openai/gsm8k", None, None)),
        ("hub:openai/gsm8k/main", ("openai/gsm8k", "main", None)),
        ("hub:a-b/c.d_e@test", ("a-b/c.d_e", None, "test")),
        ("hub:a/b/c@train[:10%]", ("a/b", "c", "train[:10%]")),
        ("gsm8k", ("openai/gsm8k", "main", "test")),
        ("gsm8k@train", ("openai/gsm8k", "main", "train")),
        ("math-500", ("HuggingFaceH4/MATH-500", None, "test")),
        ("aime-2024", ("HuggingFaceH4/aime_2024", None, "train")),
    ],
)
def test_references_to_the_hub(monkeypatch: pytest.MonkeyPatch, reference: str, asked: tuple[str | None, ...]) -> None:
    hub = Hub(monkeypatch, [{"question": "q", "answer": "#### 1,000"}])
    (problem,) = read_problems(reference)
    assert hub.asked == [asked]
    assert (problem.answer, problem.source) == ("1000", reference)


def test_aime_leaves_out_the_year_that_is_tested(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"ID": f"{year}-1", "Year": year, "Question": f"{year}?", "Answer": "080"} for year in (1983, 2023, 2024)]
    Hub(monkeypatch, rows)
    assert [problem.question for problem in read_problems("aime")] == ["1983?", "2023?"]


def test_an_unreachable_hub_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    Hub(monkeypatch, ConnectionError("Couldn't reach 'x/y' on the Hub\nmore"))
    with pytest.raises(InputError, match=r"x/y: can't be loaded: ConnectionError: Couldn't reach 'x/y' on the Hub; if"):
        read_problems("hub:x/y")


def test_a_hub_data_set_with_several_splits_needs_one(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"question": "q", "answer": "1"}]
    Hub(monkeypatch, {"only": rows})
    assert len(read_problems("hub:x/y")) == 1
    Hub(monkeypatch, {"train": rows, "test": rows})
    with pytest.raises(InputError, match=r"several splits: write hub:x/y@SPLIT with train, test"):
        read_problems("hub:x/y")


def test_a_real_data_set_directory_is_read_by_datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library itself on a local directory, which it takes like a name on the Hub."""
    pytest.importorskip("datasets")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "owner" / "name").mkdir(parents=True)
    write(tmp_path / "owner" / "name" / "test.jsonl", {"problem": "q", "answer": 27.0, "level": "Level 2"})
    (problem,) = read_problems("hub:owner/name@test")
    assert (problem.question, problem.answer, problem.level) == ("q", "27", 2)
    with pytest.raises(InputError, match="owner/name: can't be loaded"):
        read_problems("hub:owner/name@nosuchsplit")


@pytest.mark.parametrize("reference", ["nonsense", "hub:", "hub:owner", "hub:a/b/c/d", "math501", "no such@split"])
def test_what_is_no_reference_is_told_what_is(reference: str) -> None:
    with pytest.raises(InputError, match=rf"no data '{reference}': give a file, a benchmark, hub:.*gsm8k, math"):
        read_rows(reference)


def test_a_benchmark_without_such_a_split() -> None:
    with pytest.raises(InputError, match=r"benchmark 'math-500' has no split 'train'; it has test"):
        read_problems("math-500@train")


def test_gym_problems_are_made_by_its_module(monkeypatch: pytest.MonkeyPatch) -> None:
    def make(name: str, count: int, seed: int) -> list[Problem]:
        return [Problem(f"gym/{name}/{seed}/{index}", "gym", f"q{index}", "") for index in range(count)]

    gym = ModuleType("rlsp.tasks.gym")
    gym.read_problems = make  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "rlsp.tasks.gym", gym)
    monkeypatch.setattr(tasks, "gym", gym, raising=False)
    assert [problem.id for problem in read_problems("gym:chain_sum", limit=2)] == [
        "gym/chain_sum/0/0",
        "gym/chain_sum/0/1",
    ]
    assert len(read_questions("gym:chain_sum")) == 1000
    recipe = TaskRecipe(name="data", data="gym:chain_sum", limit=50)
    assert len(tasks.data_problems(recipe)) == 50
    for limit, left in ((0, 1000), (50, 50), (1500, 1500)):
        filters = FilterRecipe(deduplicate=True)
        assert len(tasks.data_problems(recipe.model_copy(update={"limit": limit, "filters": filters}))) == left


@pytest.mark.parametrize(
    ("reference", "source"),
    [("d/gsm8k_train.jsonl.zst", "gsm8k_train"), ("math-500", "math-500"), ("hub:a/b.c@test", "hub:a/b.c@test")],
)
def test_source(reference: str, source: str) -> None:
    assert source_of(reference) == source


@pytest.mark.parametrize(
    ("name", "count", "first", "last", "levels"),
    [
        ("gsm8k_train", 7473, "72", "50", {0}),
        ("gsm8k_test", 1319, "18", "14", {0}),
        ("math500", 500, r"\left( 3, \frac{\pi}{2} \right)", r"106^\circ", {1, 2, 3, 4, 5}),
        ("aime24", 30, "204", "902", {0}),
        ("aime_1983_2023", 918, "60", "363", {0}),
        ("amc23", 40, "27", "8", {0}),
    ],
)
def test_benchmark_files_load_without_mapping(
    shared_data: Path, name: str, count: int, first: str, last: str, levels: set[int]
) -> None:
    problems = read_problems(str(shared_data / f"{name}.jsonl"))
    assert len(problems) == count
    assert (problems[0].answer, problems[-1].answer) == (first, last)
    assert {problem.level for problem in problems} == levels
    if name != "math500":
        numbers = [problem for problem in problems if problem.answer.lstrip("-").isdigit()]
        assert len(numbers) == count - (name == "aime_1983_2023"), "one AIME key names two answers"


def test_the_table_of_benchmarks_agrees_with_the_files(shared_data: Path) -> None:
    files = {"gsm8k": "gsm8k_test", "math-500": "math500", "aime": "aime_1983_2023", "aime-2024": "aime24"}
    for name, file in {**files, "amc-2023": "amc23"}.items():
        rows = len((shared_data / f"{file}.jsonl").read_text().splitlines())
        assert next(iter(BENCHMARKS[name].splits.values())) == rows, name
    assert BENCHMARKS["gsm8k"].splits["train"] == 7473


@pytest.fixture
def hundred(tmp_path: Path) -> Path:
    return write(tmp_path / "hundred.jsonl", *({"question": f"{n} + 1?", "answer": n + 1} for n in range(100)))


def drawn(path: Path, split: Split, count: int = 1000, limit: int = 0) -> list[str]:
    recipe = TaskRecipe(name="data", data=str(path), limit=limit)
    return [problem.question for problem in tasks.problems(recipe, split, count, seed=0)]


def test_splits_of_a_file_are_disjoint_and_whole(hundred: Path) -> None:
    parts = [drawn(hundred, split) for split in Split]
    every = [problem.question for problem in read_problems(str(hundred))]
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
    first_ten = [problem for problem in read_problems(str(hundred))[:10] if split_of(problem.id) is Split.TRAIN]
    assert set(drawn(hundred, Split.TRAIN, limit=10)) == {problem.question for problem in first_ten}


def test_empty_split_asks_for_more_problems(mine: Path) -> None:
    (problem,) = read(mine, {"question": "q", "answer": "1"})
    empty = next(split for split in Split if split is not split_of(problem.id))
    with pytest.raises(InputError, match=f"none of its problems falls into the {empty} split; give more"):
        drawn(mine, empty)


def test_a_renamed_file_keeps_its_splits(tmp_path: Path, hundred: Path) -> None:
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes(hundred.read_bytes())
    assert not set(drawn(hundred, Split.TEST)) & set(drawn(copy, Split.TRAIN)), "test problems would be trained on"


def test_boxed_reference_solution_can_be_met(mine: Path) -> None:
    (problem,) = read(mine, {"problem": "What is 2 + 2?", "solution": "Two and two give $2 + 2 = \\boxed{4}$."})
    assert verify(problem, "It is \\boxed{4}").correct

"""`rlsp tasks`: what it lists, shows, checks and writes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from rlsp.cli import app
from rlsp.errors import InputError
from rlsp.files import read_records, write_records
from rlsp.tasks import GENERATED
from rlsp.tasks.benchmarks import BENCHMARKS
from rlsp.tasks.data import read_problems
from rlsp.tasks.readers import READERS
from rlsp.types import Exploration, Problem, Reason, Score, Verdict

LONG = "Say " + " ".join(f"word{number}" for number in range(40)) + "."
TEST = "A farmer has twelve sheep and nine cows and sells five of each; how many animals remain?"
ROWS: list[dict[str, Any]] = [
    {"question": "What is $1 + 1$?", "answer": "One and one.\n#### 2", "level": 2},
    {"question": r"what is \(1+1\)?", "answer": "2"},
    {"question": "Same?", "answer": "1"},
    {"question": "same?", "answer": "3"},
    {"question": TEST, "answer": "11"},
    {"question": "No answer?", "answer": ""},
    {"question": "None?", "answer": None},
    {"question": "Solved?", "answer": "1,234"},
    {"question": LONG, "answer": r"So $\boxed{\frac{1}{2}}$."},
    {"question": "Bad \u001b[31m[bold]text[/bold]\u0007", "answer": "5"},
]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    Path("test.jsonl").write_text(json.dumps({"question": TEST.upper()}) + "\n")
    (solved,) = (each for each in read_problems_of("Solved?"))
    verdict = Verdict(True, "1234", Reason.MATCH)
    write_records(Path("scores.jsonl"), [Score(solved.id, 0, verdict, Exploration(0.0, {}), 0.8, 0.8)])
    return tmp_path


def read_problems_of(question: str) -> list[Problem]:
    Path("one.jsonl").write_text(json.dumps({"question": question, "answer": "1"}))
    return read_problems("one.jsonl")


def tasks(*arguments: str) -> str:
    result = CliRunner().invoke(app, ["tasks", *arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def flat(text: str) -> str:
    return " ".join(text.split())


def test_list_names_every_task_benchmark_and_reader() -> None:
    output = tasks("list")
    for name in (*GENERATED, *BENCHMARKS, *READERS, "hub:OWNER/NAME", "gym:TASK"):
        assert name in output


def test_show_prints_problems_with_demonstrations() -> None:
    output = tasks("show", "countdown", "--count", "2")
    assert output.count("(countdown/") == 2 and " = " in output


def test_check_shows_everything(data: Path) -> None:
    output = tasks("check", "mine.jsonl", "--against", "test.jsonl", "--solved", "scores.jsonl")
    text = flat(output)
    assert "mine.jsonl: 10 rows, 8 usable, verifier math" in text
    assert "level 2 ─" in text and "What is $1 + 1$?" in text
    assert "1. 2 One and one. #### 2" in text
    assert r"longest \frac{1}{2} So $\boxed{\frac{1}{2}}$." in text
    assert "words: min 2, median 5, 95 % 41, max 41" in text
    assert "Left out 7, kept 3" in text
    for row in (
        "empty reference answer 1 mine.jsonl:6",
        "no reference answer 1 mine.jsonl:7",
        "duplicate 1 math/",
        "contradictory duplicate 2 math/",
        "in a test set 1 math/",
        "already solved 1 math/",
    ):
        assert row in text, row
    assert "answers '1' and '3'" in text and "100% of its samples" in text
    assert max(map(len, output.splitlines())) <= 80


def test_hostile_text_does_not_reach_the_terminal(data: Path) -> None:
    output = tasks("check", "mine.jsonl", "--against", "mine.jsonl")
    assert "kept 0" in output and "\x1b" not in output and "\x07" not in output
    output = tasks("check", "mine.jsonl", "--against", "test.jsonl", "--solved", "scores.jsonl")
    assert "Bad �[31m[bold]text[/bold]�" in output


def test_check_with_a_model_counts_tokens_and_renders_its_prompt(data: Path) -> None:
    Path("sums.jsonl").write_text('{"question": "Use 1, 2 to make 3.", "answer": "3"}\n')
    output = flat(tasks("check", "sums.jsonl", "--model", "nano", "--instruction", "{question} Now."))
    assert "in the chat template of nano" in output and "Use 1, 2 to make 3. Now." in output
    tokens = int(output.partition("tokens: min ")[2].partition(",")[0])
    assert tokens > 0
    shorter = ["--model", "nano", "--instruction", "{question} Now.", "--max-prompt-tokens"]
    assert "Left out 0, kept 1" in flat(tasks("check", "sums.jsonl", *shorter, str(tokens)))
    output = flat(tasks("check", "sums.jsonl", *shorter, str(tokens - 1)))
    assert re.search(rf"prompt too long 1 math/[0-9a-f]{{16}}, {tokens} tokens", output)
    assert f"tokens: min {tokens}" in output, "lengths are those of all prompts"


def test_filter_writes_what_is_left(data: Path) -> None:
    out = data / "clean.jsonl.zst"
    output = tasks("filter", "mine.jsonl", "--against", "test.jsonl", "--solved", "scores.jsonl", "--out", str(out))
    written = list(read_records(out, Problem))
    assert [(each.question, each.answer) for each in written] == [
        (ROWS[0]["question"], "2"),
        (LONG, r"\frac{1}{2}"),
        (ROWS[9]["question"], "5"),
    ]
    assert read_problems(str(out)) == written
    assert "Left out 7, kept 3" in flat(output) and "clean.jsonl.zst" in output


@pytest.mark.parametrize("verdicts", ["verdicts.jsonl", "verdicts.jsonl.zst", "verdicts.jsonl.gz"])
def test_what_score_finds_solved_is_left_out(data: Path, verdicts: str) -> None:
    rows = {"Right?": [r"\boxed{4}", r"\boxed{4.0}"], "Half?": [r"\boxed{4}", r"\boxed{5}"], "Wrong?": ["none"]}
    Path("asked.jsonl").write_text("".join(json.dumps({"question": q, "answer": "4"}) + "\n" for q in [*rows, "New?"]))
    Path("responses.jsonl").write_text(
        "".join(json.dumps({"question": q, "answer": "4", "responses": each}) + "\n" for q, each in rows.items())
    )
    result = CliRunner().invoke(app, ["score", "responses.jsonl", "--out", verdicts], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    for rate, left in (("1", ["Half?", "Wrong?", "New?"]), ("0.5", ["Wrong?", "New?"])):
        out = f"left-{rate}.jsonl.gz"
        tasks("filter", "asked.jsonl", "--solved", verdicts, "--solved-rate", rate, "--out", out)
        assert [each.question for each in read_problems(out)] == left


@pytest.mark.parametrize("line", ['{"problem_id": "a", "correct": null}', '{"problem_id": "a", "verdict": {}}', "[]"])
def test_lines_without_a_verdict_say_nothing_of_what_is_solved(data: Path, line: str) -> None:
    Path("labels.jsonl").write_text('{"problem_id": "a", "correct": true}\n' + line)
    with pytest.raises(InputError, match=r"labels\.jsonl:2: no verdict: `problem_id` and `correct`"):
        tasks("check", "mine.jsonl", "--solved", "labels.jsonl")


def test_filter_takes_mapped_columns(data: Path) -> None:
    Path("csv.csv").write_text("Frage,label\n1 + 1?,2\n")
    tasks("filter", "csv.csv", "--column", "question=Frage", "--column", "answer=label", "--out", "out.jsonl")
    (problem,) = read_problems("out.jsonl")
    assert (problem.question, problem.answer, problem.source) == ("1 + 1?", "2", "csv")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["check", "nowhere.jsonl"], "can't be read"),
        (["check", ""], "task.data goes with"),
        (["check", "mine.jsonl", "--verifier", "chess"], "no verifier for task 'chess'"),
        (["check", "mine.jsonl", "--column", "answer"], "write it as KEY=NAME"),
        (["check", "mine.jsonl", "--column", "label=answer"], "with question, answer, level, tests, function as KEY"),
        (["check", "mine.jsonl", "--column", "answer=nil"], "no column 'nil' for the answer"),
        (["check", "mine.jsonl", "--against", "math501"], "no data 'math501'"),
        (["check", "mine.jsonl", "--solved", "test.jsonl"], r"test\.jsonl:1: no verdict: `problem_id` and"),
        (["check", "mine.jsonl", "--solved-rate", "0"], "filters.solved_rate|solved_rate: Input should be greater"),
        (["check", "mine.jsonl", "--max-prompt-tokens", "9"], "give --model DIR, too"),
        (["check", "mine.jsonl", "--instruction", "Solve."], r"must contain \{question\}"),
        (["filter", "mine.jsonl", "--out", "out.csv"], r"end the name in \.jsonl"),
        (["filter", "mine.jsonl", "--out", "test.jsonl"], "replace it by --overwrite"),
        (["filter", "mine.jsonl", "--out", "out.jsonl", "--against", "mine.jsonl"], "nothing is left to write"),
        (["show", "math"], "no generated task 'math'; there are countdown, chain-sum; look at data by"),
    ],
)
def test_what_is_wrong_is_explained(data: Path, arguments: list[str], words: str) -> None:
    with pytest.raises(InputError, match=words):
        tasks(*arguments)
    assert not Path("out.jsonl").exists()


def test_a_checked_benchmark(shared_data: Path) -> None:
    text = flat(tasks("check", str(shared_data / "amc23.jsonl")))
    assert "40 rows, 40 usable" in text and "Left out 0, kept 40" in text and "1. 27 27" in text


def test_references_that_are_no_mathematics_are_listed(tmp_path: Path) -> None:
    data = tmp_path / "mine.jsonl"
    data.write_text('{"question": "What?", "answer": "4"}\n{"question": "How?", "answer": "\\\\frob{3}^2"}\n')
    shown = " ".join(tasks("check", str(data)).split())
    assert "Matched only letter by letter 1 reference that" in shown
    assert r"\frob{3}^2 (\frob is no part of an expression)" in shown

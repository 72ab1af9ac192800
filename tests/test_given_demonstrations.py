"""Demonstrations from data: read, judged, kept apart from what models are tested on, and learned from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from rlsp.cli import app
from rlsp.config import Recipe, load, to_toml
from rlsp.engines import drawing, preflight
from rlsp.errors import InputError
from rlsp.files import read_records
from rlsp.runs import Run
from rlsp.tasks.splits import Split, split_of
from rlsp.types import Demonstration, to_json
from tests.shrunk import SHRUNK, Remembering

THINKING = "First {wrong}? No, {wrong} is not it. So \\boxed{{{right}}}"


def row(number: int, right: bool = True) -> dict[str, Any]:
    """A question of arithmetic with a trace."""
    answer = 2 * number + 1
    trace = THINKING.format(wrong=answer + 1, right=answer if right else answer + 1)
    return {"question": f"What is {number} + {number + 1}?", "answer": str(answer), "response": trace}


def written(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(each) + "\n" for each in rows), encoding="utf-8")
    return path


def recipe_of(folder: Path, traces: list[dict[str, Any]], settings: tuple[str, ...] = ()) -> Recipe:
    data = written(folder / "problems.jsonl", [row(number) for number in range(200)])
    task = f"task={{name='data', data='{data}', verifier='exact'}}"
    given = f"demonstrations={{count=50, data='{written(folder / 'traces.jsonl', traces)}'}}"
    shrunk = [each for each in SHRUNK if "response_tokens" not in each]
    nano = [
        "model.path=nano",
        "sft={epochs=1, learning_rate=1e-4, batch_tokens=2048}",
        "sampling.max_prompt_tokens=200",
    ]
    return load(Recipe, "smollm2-math", [*nano, task, given, *shrunk, *settings])


def test_right_traces_of_training_problems_are_learned(tmp_path: Path) -> None:
    traces = [row(number) for number in range(60)] + [row(number, right=False) for number in range(60, 70)]
    traces += [{**row(70), "response": ""}, {**row(71), "question": " "}]
    said = Remembering()
    shown = drawing.demonstrate(recipe_of(tmp_path, traces), said)
    assert 0 < len(shown) <= 50
    assert all(split_of(each.problem.id) is Split.TRAIN for each in shown)
    assert all(each.origin == str(tmp_path / "traces.jsonl") for each in shown)
    assert [each.trace for each in shown] == [THINKING.format(right=a, wrong=a + 1) for a in map(answer_of, shown)]
    [told] = said.said
    assert "1 no trace" in told and "1 empty question" in told and "of the test split" in told


def answer_of(shown: Demonstration) -> int:
    return int(shown.problem.answer)


def test_test_sets_are_kept_out(tmp_path: Path) -> None:
    apart = written(tmp_path / "test.jsonl", [row(number) for number in range(10)])
    recipe = recipe_of(tmp_path, [row(number) for number in range(20)], (f"task.filters.decontaminate=['{apart}']",))
    asked = {each.problem.question for each in drawing.demonstrate(recipe, Remembering())}
    assert asked and not asked & {row(number)["question"] for number in range(10)}


def test_what_demos_writes_is_read_back(tmp_path: Path) -> None:
    first = drawing.demonstrate(recipe_of(tmp_path, [row(number) for number in range(20)]), Remembering())
    again = recipe_of(tmp_path, [to_json(each) for each in first])
    assert [each.problem for each in drawing.demonstrate(again, Remembering())] == [each.problem for each in first]


def test_no_right_trace_is_an_error(tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path, [row(number, right=False) for number in range(20)])
    with pytest.raises(
        InputError, match=r"traces\.jsonl: none of its \d+ traces comes to the reference answer by 'exact'"
    ):
        drawing.demonstrate(recipe, Remembering())


def test_nothing_to_learn_is_an_error_before_anything_runs(tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path, [])
    with pytest.raises(InputError, match=r"traces\.jsonl: no traces in it"):
        preflight.check(recipe)
    with pytest.raises(InputError, match=r"none of its traces can be learned \(it is empty\)"):
        drawing.demonstrate(recipe, Remembering())
    bare = recipe_of(tmp_path, [{**row(number), "response": " "} for number in range(3)])
    with pytest.raises(InputError, match=r"can be learned \(3 no trace\)"):
        drawing.demonstrate(bare, Remembering())


def test_environments_have_no_traces(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"demonstrations.*'gym:basic_arithmetic': environments have no traces"):
        recipe_of(tmp_path, [], ("demonstrations.data=gym:basic_arithmetic",))


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path, [{"question": "What is 1 + 1?", "answer": "2", "thoughts": "2"}])
    with pytest.raises(
        InputError, match=r"no column named trace or response or completion.*columns\.trace in the recipe"
    ):
        drawing.demonstrate(recipe, Remembering())


def test_a_run_learns_from_them(tmp_path: Path) -> None:
    recipe = recipe_of(tmp_path, [row(number) for number in range(30)])
    (tmp_path / "recipe.toml").write_text(to_toml(recipe), encoding="utf-8")
    out = tmp_path / "out"
    done = CliRunner().invoke(app, ["run", str(tmp_path / "recipe.toml"), "--out", str(out), "--accept-reward-risks"])
    assert done.exit_code == 0, done.output
    assert len(list(read_records(out / "demonstrations.jsonl", Demonstration))) > 0
    assert "sft" in Run(out).evaluations()
    (tmp_path / "traces.jsonl").write_text("{}\n", encoding="utf-8")
    again = CliRunner().invoke(app, ["resume", str(out)])
    assert isinstance(again.exception, InputError) and "traces.jsonl" in str(again.exception)

"""The authors' released reward, by numbers worked by hand, and that it is announced."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rlsp import runs
from rlsp.cli import app
from rlsp.config import Recipe, RewardRecipe, load
from rlsp.engines import native
from rlsp.exploration.composite import Composite, Weighted
from rlsp.exploration.paper_code import first_box
from rlsp.exploration.part import Part
from rlsp.reward import combine_paper_code, parts, score, warnings
from rlsp.types import Exploration, Finish, Problem, Reason, Rollout, Score, Verdict

PROBLEM = Problem("p", "math", "What is 30 + 3?", "33")
LOOSE = RewardRecipe(mode="paper_code", truncation="keep")
STRICT = RewardRecipe(mode="paper_code", truncation="keep", strict=True)


def rollout(text: str, finish: Finish = Finish.EOS) -> Rollout:
    return Rollout("p", 0, (1, 2), (7, 7), (-0.5, -0.5), text, finish, 0.7, 0)


def paid(
    text: str,
    correct: bool,
    recipe: RewardRecipe = LOOSE,
    finish: Finish = Finish.EOS,
    explored: Exploration | None = None,
    judge: float | None = None,
) -> Score:
    verdict = Verdict(correct, "", Reason.MATCH if correct else Reason.MISMATCH)
    return combine_paper_code(rollout(text, finish), verdict, explored or Exploration(0.0, {}), 0.8, recipe, judge)


def boxed(characters: int, content: str = "33") -> str:
    return "." * characters + f"\\boxed{{{content}}}"


@pytest.mark.parametrize(
    ("text", "correct", "total"),
    [
        (boxed(0, "9"), False, 0.0),  # a division by zero is an exception is 0.0
        (boxed(0), True, 0.0),
        (" \n\t" + boxed(0), True, 0.0),  # the response is stripped
        (boxed(400), True, -9.0),  # 1 − 1000/100
        (boxed(400), False, -10.0),
        (boxed(800), True, -4.0),  # 1 − 1000/200
        (boxed(4000), True, 0.0),  # 1 − 1000/1000
        (boxed(4000), False, -1.0),
        (boxed(8000), True, 0.5),
        (boxed(8000), False, -0.5),
        (boxed(4), True, -10.0),  # 1 − 1000 = −999, clamped
        ("." * 990, False, -0.5 - 4.0),  # no box: all characters and <|eot_id|>, 1000/250
        ("." * 990, True, -0.5 - 4.0),  # and being right does not reach it
        (boxed(400) + "." * 9000 + boxed(0), True, -9.0),  # two boxes: the first one ends the reasoning
        (boxed(0, "9") + "." * 9000 + boxed(0), True, 0.0),  # answer first, then reason, then answer again
        ("", False, -10.0),  # <|eot_id|> alone: −0.5 − 1000/2.5
    ],
)
def test_golden_numbers_of_the_released_code(text: str, correct: bool, total: float) -> None:
    assert paid(text, correct).total == pytest.approx(total, abs=1e-9)


def test_a_truncated_response_lacks_the_end_of_its_turn() -> None:
    assert paid("." * 1000, False, finish=Finish.LENGTH).total == pytest.approx(-0.5 - 4.0, abs=1e-12)
    assert paid("", False, finish=Finish.LENGTH).exploration.parts == {"paper_code_exception": 0.0}


@pytest.mark.parametrize(
    ("text", "begins"),
    [
        ("\\boxed{9}", 0),
        ("so \\boxed{\\frac{1}{2}}", 3),
        ("\\boxed{\\frac{\\sqrt{3}}{2}}", None),  # two more levels are too many
        ("\\boxed{\\frac{\\sqrt{3}}{2}} or \\boxed{1}", 30),
        ("\\boxed{9", None),
        ("\\boxed{\\boxed{9}", 7),
        ("\\boxed{\\boxed{9}}", 0),
        ("\\boxed {9}", None),
        ("\\fbox{9}", None),
        ("\\boxed{\\{1\\}}", 0),
        ("}{\\boxed{}", 2),
        ("", None),
    ],
)
def test_which_box_is_the_first(text: str, begins: int | None) -> None:
    assert first_box(text) == begins


@pytest.mark.parametrize("piece", ["\\boxed{", "\\boxed{{", "\\boxed{{}", "{}", "\\boxed{{}{"])
def test_boxes_are_found_in_linear_time(piece: str) -> None:
    started = time.perf_counter()
    assert first_box(piece * 20_000) is None
    assert time.perf_counter() - started < 1.0


def test_the_pieces_stand_in_the_score() -> None:
    result = paid(boxed(400), True, explored=Exploration(0.0, {"length": -3.0}))
    assert result.exploration.parts == {"length": -3.0, "paper_code_answer": 1.0, "paper_code_length": -10.0}
    assert (result.exploration.value, result.alpha, result.total) == (-9.0, 0.0, -9.0)
    assert parts(result.verdict, -9.0, result.alpha) == (0.0, -9.0)
    assert paid("." * 990, True).exploration.parts == {"paper_code_answer": -0.5, "paper_code_length": -4.0}
    assert paid(boxed(0), True).exploration.parts == {"paper_code_exception": 0.0}


def test_clamp_cuts_the_total_not_the_pieces() -> None:
    result = paid(boxed(40), False)
    assert (result.total, result.exploration.value) == (-10.0, -100.0)


@pytest.mark.parametrize(
    ("text", "grade", "weight", "total"),
    [
        (boxed(400), 1.0, 1.0, 0.8 * -9 + 0.2),
        (boxed(4000), 0.25, 1.0, 0.05),
        (boxed(4000), 1.0, 0.5, 0.1),
        (boxed(0), 1.0, 1.0, 0.0),  # the exception comes before the judge is asked
    ],
)
def test_alpha_mixes_only_the_grade_with_the_rule(text: str, grade: float, weight: float, total: float) -> None:
    result = paid(text, True, explored=Exploration(grade, {"judge": grade}), judge=weight)
    assert result.total == pytest.approx(total, abs=1e-12)
    assert result.exploration.parts["judge"] == grade


def test_a_failed_judge_counts_a_half_and_the_parts_say_so() -> None:
    failed = Exploration(None, {}, missing={"judge": "timed out"})
    result = paid(boxed(4000), True, explored=failed, judge=1.0)
    assert result.total == pytest.approx(0.1, abs=1e-12)
    assert result.exploration.parts["paper_code_failed_judge"] == 0.5
    assert "judge" not in result.exploration.parts
    assert result.exploration.missing == {"judge": "timed out"}


@pytest.mark.parametrize("c", [0.01, 1.0, 1000.0])
def test_strict_never_ranks_a_bare_box_above_anything_right(c: float) -> None:
    strict = STRICT.model_copy(update={"paper_code_c": c})
    bare = [paid(text, right, strict).total for text in (boxed(0), "  " + boxed(0)) for right in (True, False)]
    bare.append(paid("", False, strict, Finish.LENGTH).total)
    right = [paid(boxed(characters), True, strict).total for characters in (1, 2, 10, 399, 400, 4000, 10**6)]
    assert max(total for total in bare if total is not None) <= min(total for total in right if total is not None)


def test_strict_changes_nothing_but_the_exception() -> None:
    for text in (boxed(1), boxed(400), "." * 990, ""):
        assert paid(text, True, STRICT) == paid(text, True, LOOSE)
    assert paid(boxed(0), False, STRICT).exploration.parts == {"paper_code_answer": 0.0, "paper_code_length": -4000.0}
    assert paid(boxed(0), False, STRICT).total == -10.0


class Fixed:
    floor = 0.0

    def __init__(self, part: Part) -> None:
        self.part = part

    def explore(self, questions: Sequence[str], rollouts: Sequence[Rollout]) -> list[Part]:
        return [self.part for _ in rollouts]


def test_score_takes_the_verdict_of_the_task() -> None:
    """`\\boxed{33}` is right by the last box, the first one sets the length."""
    texts = [boxed(400), boxed(400, "9"), boxed(400, "9") + " no, " + boxed(0), boxed(0, "9")]
    results = score([PROBLEM], [rollout(text) for text in texts], Composite({}), LOOSE)
    assert [result.total for result in results] == pytest.approx([-9.0, -10.0, -9.0, 0.0])
    assert [result.verdict.correct for result in results] == [True, False, True, False]


def test_score_mixes_the_judge_that_is_paid_and_not_one_that_is_a_metric() -> None:
    for weight, total in ((1.0, 0.2), (0.0, 0.0)):
        judge = Composite({"judge": Weighted(weight, 1.0, Fixed(Part(1.0)))})
        (result,) = score([PROBLEM], [rollout(boxed(4000))], judge, LOOSE)
        assert result.total == pytest.approx(total, abs=1e-12)
        assert result.exploration.parts["judge"] == 1.0


def test_the_warning_has_the_three_numbers_and_the_way_out() -> None:
    recipe = load(Recipe, "paper-code", [])
    text = "\n".join(warnings(recipe))
    assert "a wrong bare \\boxed{9} earns 0, a right answer after 400 characters -9," in text
    assert "after 4000 characters 0" in text and "not thinking beats thinking" in text and "reward.strict" in text
    assert "log-probs at 1; here both are at 0.7" in text and "judge" not in text
    strict = "\n".join(warnings(load(Recipe, "paper-code", ["reward.strict=true"])))
    assert "bare \\boxed{9} earns -10," in strict and "not thinking beats" not in strict
    judged = "\n".join(warnings(load(Recipe, "paper-code", ['exploration="judge"', "sampling.temperature=1"])))
    assert "a judge that fails has graded 0.5" in judged and "log-probs" not in judged


def test_eq_1_warns_of_nothing() -> None:
    assert warnings(load(Recipe, "smollm2-math", [])) == []


class Said(Exception):
    pass


class Listener:
    def stage(self, name: str, total: int, done: int = 0) -> None: ...

    def advance(self, done: int, note: str = "") -> None: ...

    def say(self, message: str) -> None:
        raise Said(message)


def test_a_run_says_it_before_anything_else(tmp_path: Path) -> None:
    data = tmp_path / "data.jsonl"
    data.write_text(json.dumps({"question": "What is 30 + 3?", "answer": "33"}) + "\n")
    recipe = load(Recipe, "paper-code", ["model.path=nano", f"task.data={json.dumps(str(data))}"])
    for begin in (native.run, native.reinforce):
        with pytest.raises(Said, match=r"warning: reward\.mode 'paper_code' is not Eq\. 1"):
            begin(recipe, runs.create(tmp_path / begin.__name__, recipe), Listener())


def test_scoring_by_the_recipe_says_it(tmp_path: Path) -> None:
    (tmp_path / "problems.jsonl").write_text(
        json.dumps({"id": "p", "task": "math", "question": "What is 30 + 3?", "answer": "33"}) + "\n"
    )
    values = {"problem_id": "p", "sample": 0, "prompt_ids": [1], "response_ids": [7], "logprobs": [-0.5],
              "text": boxed(0, "9"), "finish": "eos", "temperature": 0.7, "policy_version": 0}  # fmt: skip
    (tmp_path / "rollouts.jsonl").write_text(json.dumps(values) + "\n")
    arguments = [
        "score",
        "rollouts.jsonl",
        "--recipe",
        "paper-code",
        "--problems",
        "problems.jsonl",
        "--out",
        "s.jsonl",
    ]
    done = CliRunner().invoke(app, [str(tmp_path / each) if "." in each else each for each in arguments])
    assert done.exit_code == 0, done.output
    assert "not thinking beats thinking" in done.output and "\\boxed{9} earns 0," in done.output
    assert json.loads((tmp_path / "s.jsonl").read_text())["total"] == 0.0

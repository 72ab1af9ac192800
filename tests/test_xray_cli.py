"""`rlsp reward`, as a user calls it."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from rlsp import runs
from rlsp.cli import app
from rlsp.cli.reward_tables import print_tokens
from rlsp.config import Recipe, load
from rlsp.errors import InputError
from rlsp.types import Exploration, Finish, Problem, Reason, Rollout, Score, Verdict
from rlsp.xray.explain import Explained, spans

QUESTION = "Use 3, 7, 12 to make 33."
RIGHT = "3 * 7 = 21, 21 + 12 = 33; is it 33? yes"


def call(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["reward", *arguments])


def refused(*arguments: str) -> str:
    error = call(*arguments).exception
    assert isinstance(error, InputError), error
    return str(error)


def test_rank_shows_the_cast_and_passes() -> None:
    done = call("rank", "nano")
    assert done.exit_code == 0, done.output
    assert "wrong-long" in done.output and "PASS" in done.output and "FAIL" not in done.output


def test_rank_fails_with_exit_code_one_and_both_numbers() -> None:
    done = call("rank", "nano", "--set", "reward.alpha=0.05")
    assert done.exit_code == 1
    assert "FAIL    a short right answer beats a long wrong one: right-short -1.702 > wrong-long -0.3755" in done.output


def test_rank_says_that_lengths_are_estimated_or_that_there_is_no_cast() -> None:
    estimated = call("rank", "smollm2-math", "--set", "model.path=nowhere")
    assert estimated.exit_code == 0 and "estimated at 4 characters" in estimated.output and "~47" in estimated.output
    without = call("rank", "smollm2-math", "--set", "model.path=nowhere", "--set", "task.verifier=code")
    assert without.exit_code == 0 and "no standard cast" in without.output


def test_explain_takes_a_text_apart() -> None:
    """15 tokens: 0.8 − 0.2·33.203125/15."""
    done = call("explain", "nano", "--problem", QUESTION, "--response", RIGHT)
    assert done.exit_code == 0, done.output
    assert "right (match)" in done.output and "15 tokens, EOS included" in done.output
    assert f"{0.8 - 0.2 * 33.203125 / 15:+.4f}" in done.output


def test_explain_cuts_what_exceeds_the_budget() -> None:
    done = call("explain", "nano", "--problem", QUESTION, "--response", "x" * 500)
    assert "136 tokens, cut off by the budget" in done.output and "'keep'" in done.output


def test_explain_prints_no_control_characters() -> None:
    done = call("explain", "nano", "--problem", QUESTION, "--response", "\x1b[31m[bold]evil[/bold]\x07")
    assert done.exit_code == 0
    assert "\x1b[31m" not in done.output and "\x07" not in done.output and "[bold]evil[/bold]" in done.output


def test_explain_reads_a_stored_rollout(tmp_path: Path) -> None:
    run = runs.create(tmp_path / "run", load(Recipe, "nano"))
    problem = Problem("countdown/3-7-12/33", "countdown", QUESTION, "33")
    verdict = Verdict(True, "", Reason.MATCH)
    for step in (1, 2):
        rollouts = [
            Rollout(problem.id, sample, (5,), (40 + sample, 1), (0.0, 0.0), "x", Finish.EOS, 1.0, 0)
            for sample in (0, 1)
        ]
        scores = [
            Score(problem.id, sample, verdict, Exploration(-step, {"length": -step}), 0.8, 0.8 - 0.2 * step)
            for sample in (0, 1)
        ]
        runs.write_records(run.path("rl", "rollouts", f"{step:06d}.jsonl.zst"), rollouts)
        runs.write_records(run.path("rl", "scores", f"{step:06d}.jsonl.zst"), scores)
    runs.write_records(run.path("problems", "train.jsonl"), [problem])
    assert "+0.4000" in call("explain", str(run.directory)).output, "the last step"
    assert "+0.6000" in call("explain", str(run.directory), "--step", "1", "--sample", "1").output
    assert "no sample 7" in refused("explain", str(run.directory), "--sample", "7")
    assert "step 3" in refused("explain", str(run.directory), "--step", "3")
    assert "a run" in refused("explain", str(run.directory), "--response", "x")


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("explain", "nano"), "--problem"),
        (("explain", "nano", "--problem", QUESTION), "--response"),
        (("explain", "nano", "--problem", "What?", "--response", "x"), "not a countdown question"),
        (("explain", "smollm2-math", "--problem", "What?", "--response", "x"), "--answer"),
        (("explain", "nano", "--problem", QUESTION, "--file", "nowhere.txt"), "nowhere.txt"),
        (("plan", "nano", "--length", "30"), "--kl"),
        (("plan", "nano", "--length", "30", "--kl", "0.1", "--growth", "much"), "'much'"),
        (("plan", "nano", "--run", "nowhere"), "no run directory"),
        (("rank", "nowhere"), "no recipe"),
    ],
)
def test_bad_input_is_refused_by_name(arguments: tuple[str, ...], why: str) -> None:
    assert why in refused(*arguments)


def test_plan_prints_what_to_set_and_it_can_be_read_back() -> None:
    done = call("plan", "nano", "--length", "40", "--kl", "0.15", "--growth", "30%")
    assert done.exit_code == 0, done.output
    settings = [line.split("--set ")[1].strip() for line in done.output.splitlines() if "--set" in line]
    recipe = load(Recipe, "nano", settings)
    assert recipe.reward.alpha > 0.8
    assert "both meet at" in done.output and "accuracy's own pull" in done.output


def test_dense_rewards_are_marked_listed_and_located(capsys: pytest.CaptureFixture[str]) -> None:
    recipe = load(Recipe, "nano", ["exploration.repetition.weight=2"])
    rollout = Rollout("p", 0, (1,), (5, 6, 7, 8), (0.0,) * 4, "ab", Finish.EOS, 1.0, 0)
    exploration = Exploration(-0.1, {"repetition": -0.1}, {"repetition": (0.0, -0.05, -0.05, 0.0)})
    score = Score("p", 0, Verdict(False, "", Reason.MISMATCH), exploration, 0.8, -0.02)
    found = Explained(Problem("p", "countdown", QUESTION, "33"), rollout, score)
    from rlsp.cli.progress import console

    with console.capture() as captured:
        print_tokens(recipe, found, ["a", "b\n", "c", "<EOS>"])
    text = captured.get()
    assert "     0  ab↵\n     2  c<EOS>\n" in text
    assert "tokens 1–2: -0.1 each" in text and "underlined" in text


def test_stretches_of_equal_rewards() -> None:
    assert spans([]) == [] and spans([0.0, 0.0]) == []
    assert spans([-1.0, -1.0, 0.0, -1.0]) == [(0, 1, -1.0), (3, 3, -1.0)]

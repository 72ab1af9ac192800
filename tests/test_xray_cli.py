"""`rlsp reward`, as a user calls it."""

from __future__ import annotations

import shlex
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from rlsp import files, runs
from rlsp.cli import app
from rlsp.cli.reward_tables import print_tokens
from rlsp.config import Recipe, load
from rlsp.errors import InputError
from rlsp.exploration import BUILDERS
from rlsp.exploration.part import Part
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
        files.write_records(run.path("rl", "rollouts", f"{step:06d}.jsonl.zst"), rollouts)
        files.write_records(run.path("rl", "scores", f"{step:06d}.jsonl.zst"), scores)
    files.write_records(run.path("problems", "train.jsonl"), [problem])
    assert "+0.4000" in call("explain", str(run.directory)).output, "the last step"
    assert "+0.6000" in call("explain", str(run.directory), "--step", "1", "--sample", "1").output
    assert "no sample 7" in refused("explain", str(run.directory), "--sample", "7")
    assert "step 3" in refused("explain", str(run.directory), "--step", "3")
    assert "a run" in refused("explain", str(run.directory), "--response", "x")
    assert "a run" in refused("explain", str(run.directory), "--answer", "33")


def test_plan_takes_length_from_a_run_and_its_kl_unless_one_is_given(tmp_path: Path) -> None:
    run = runs.create(tmp_path / "run", load(Recipe, "nano"))
    files.write_text(run.path("rl", "metrics.jsonl"), '{"step": 1, "length": 40, "kl": 0}\n')
    arguments = ("plan", "nano", "--run", str(run.directory))
    assert "taxes nothing" in refused(*arguments)
    assert "mean length 40 tokens" in call(*arguments, "--kl", "0.13").output
    assert "both --length and --kl" in refused(*arguments, "--length", "40")
    assert "both --length and --kl" in refused("plan", "nano", "--length", "40")


def test_explain_shows_a_stored_rollout_without_its_model(tmp_path: Path) -> None:
    """Ids of a tokenizer that is not there, lengths as they were counted, hostile text."""
    model = tmp_path / "model"
    model.mkdir()
    for name in ("config.json", "model.safetensors"):
        (model / name).write_text("{}")
    recipe = load(Recipe, "nano", [f"model.path={model}", "exploration.repetition.weight=2"])
    run = runs.create(tmp_path / "run", recipe)
    shutil.rmtree(model)
    problem = Problem("p", "math", "What is 1 + 1?", "2")
    text = "one\x1b[31m\n\\boxed{2}"
    rollout = Rollout("p", 0, (40000,), (49000, 49001, 0), (0.0,) * 3, text, Finish.EOS, 1.0, 0)
    tokens = (0.0, -0.05, -0.05)
    exploration = Exploration(-0.2, {"length": -1.0, "repetition": -0.1}, {"repetition": tokens})
    score = Score("p", 0, Verdict(True, "2", Reason.MATCH), exploration, 0.8, 0.76)
    files.write_records(run.path("rl", "rollouts", "000001.jsonl.zst"), [rollout])
    files.write_records(run.path("rl", "scores", "000001.jsonl.zst"), [score])
    files.write_records(run.path("problems", "train.jsonl"), [problem])
    done = call("explain", str(run.directory))
    assert done.exit_code == 0, done.output
    assert "length:  3 tokens, EOS included" in done.output and "estimated" not in done.output
    assert "  one�[31m\n  \\boxed{2}\n" in done.output
    assert "tokens 1–2: -0.1 each" in done.output


def test_explain_adds_up_what_the_authors_code_pays() -> None:
    """No box: −0.5 and −1000 over (390 + 10 characters)/4, clamped to −10; none of Eq. 1's factors."""
    arguments = ("explain", "paper-code", "--set", "model.path=nowhere", "--problem", "What?", "--answer", "9")
    done = call(*arguments, "--response", "x" * 390)
    assert done.exit_code == 0, done.output
    rows = dict(line.split() for line in done.output.splitlines() if line.startswith((" paper_code", " reward ")))
    assert rows == {"paper_code_answer": "-0.5000", "paper_code_length": "-10.0000", "reward": "-10.0000"}
    assert "-10.5000 is clamped to ±10" in done.output
    assert "1 − α" not in done.output and "correctness" not in done.output


@pytest.mark.parametrize("weight", [0, 2])
def test_explain_says_how_the_authors_code_mixes_a_paid_judge_in(monkeypatch: pytest.MonkeyPatch, weight: int) -> None:
    class Generous:
        floor = 0.0

        def explore(self, questions: Sequence[str], rollouts: Sequence[Rollout]) -> list[Part]:
            return [Part(0.75) for _ in rollouts]

    monkeypatch.setitem(BUILDERS, "judge", lambda part, setting: Generous())
    settings = ("--set", "model.path=nowhere", "--set", f"exploration={{judge={{weight={weight}}}}}")
    response = "." * 4000 + "\\boxed{9}"
    done = call("explain", "paper-code", *settings, "--problem", "What?", "--answer", "8", "--response", response)
    assert done.exit_code == 0, done.output
    cut = 512 * 4
    rule = -0.5 - 1000 / (cut / 4)
    reward = rule if weight == 0 else 0.8 * rule + 0.2 * 2 * 0.75
    assert f"{reward:+.4f}" in done.output and "+0.7500" in done.output
    assert ("+ (1 − α) × 2 × judge" in done.output) is (weight == 2)


def test_rank_explains_each_character_once() -> None:
    lines = call("rank", "nano", "--set", "reward.alpha=0").output.splitlines()
    told = [line.split(":")[0].strip() for line in lines[lines.index("what these are:") + 1 :]]
    assert len(told) == len(set(told)) == 6 and told[0] == "right-short"


def test_rank_names_what_is_missing_instead_of_unknown_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone:
        floor = 0.0

        def explore(self, questions: Sequence[str], rollouts: Sequence[Rollout]) -> list[Part]:
            return [Part(None, missing="connection failed") for _ in rollouts]

    monkeypatch.setitem(BUILDERS, "judge", lambda part, setting: Gone())
    done = call("rank", "nano", "--set", "exploration.judge.weight=0.1")
    assert done.exit_code == 1
    assert "missing: exploration 'judge': connection failed" in done.output
    assert "UNKNOWN" in done.output and "FAIL" not in done.output and "?" not in done.output


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("explain", "nano"), "--problem"),
        (("explain", "nano", "--problem", QUESTION), "--response"),
        (("explain", "nano", "--problem", "What?", "--response", "x"), "not a countdown question"),
        (("explain", "smollm2-math", "--problem", "What?", "--response", "x"), "--answer"),
        (("explain", "nano", "--problem", QUESTION, "--file", "nowhere.txt"), "nowhere.txt"),
        (("explain", "nano", "--problem", QUESTION, "--response", "x", "--step", "1"), "--step"),
        (("explain", "nano", "--problem", QUESTION, "--response", "x", "--sample", "0"), "--sample"),
        (("explain", "nano", "--problem", QUESTION, "--response", "x", "--id", "p"), "--id"),
        (("explain", "nano", "--problem", QUESTION, "--response", "x", "--answer", "33"), "--answer"),
        (("explain", "nano", "--problems", "nowhere.jsonl", "--response", "x", "--answer", "33"), "--answer"),
        (("plan", "nano", "--length", "30", "--kl", "nan"), "a KL of nan"),
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
    settings = [shlex.split(line)[1] for line in done.output.splitlines() if "--set" in line]
    recipe = load(Recipe, "nano", settings)
    assert recipe.reward.alpha > 0.8
    assert "both meet at" in done.output and "accuracy's own pull" in done.output


def test_plan_takes_the_documented_shorthand() -> None:
    shorthand = ["--set", "exploration=length"]
    done = call("plan", "nano", *shorthand, "--length", "40", "--kl", "0.1")
    assert done.exit_code == 0, done.output
    [line] = [line for line in done.output.splitlines() if "--set" in line]
    again = shlex.split(line)
    assert call("rank", "nano", *shorthand, *again).exit_code == 0
    assert load(Recipe, "nano", [shorthand[1], again[1]]).exploration.parts.keys() == {"length"}


def test_dense_rewards_are_marked_listed_and_located(capsys: pytest.CaptureFixture[str]) -> None:
    recipe = load(Recipe, "nano", ["exploration.repetition.weight=2"])
    rollout = Rollout("p", 0, (1,), (5, 6, 7, 8), (0.0,) * 4, "ab", Finish.EOS, 1.0, 0)
    exploration = Exploration(-0.1, {"repetition": -0.1}, {"repetition": (0.0, -0.05, -0.05, 0.0)})
    score = Score("p", 0, Verdict(False, "", Reason.MISMATCH), exploration, 0.8, -0.02)
    found = Explained(Problem("p", "countdown", QUESTION, "33"), rollout, score, ("a", "b\n", "c", "<EOS>"))
    from rlsp.cli.progress import console

    with console.capture() as captured:
        print_tokens(recipe, found)
    text = captured.get()
    assert "     0  ab↵\n     2  c<EOS>\n" in text
    assert "tokens 1–2: -0.1 each" in text and "underlined" in text


def test_stretches_of_equal_rewards() -> None:
    assert spans([]) == [] and spans([0.0, 0.0]) == []
    assert spans([-1.0, -1.0, 0.0, -1.0]) == [(0, 1, -1.0), (3, 3, -1.0)]

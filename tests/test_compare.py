"""Verdicts of anyone's responses, their figures, and two models in pairs: as functions and as commands."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rlsp.cli import app
from rlsp.config import Recipe, load
from rlsp.errors import InputError
from rlsp.evaluation import grading
from rlsp.evaluation.benchmark import Benchmark, summarise
from rlsp.evaluation.grading import Graded
from rlsp.evaluation.paired import Comparison, compare, conclusion, pair, rounded, survival
from rlsp.evaluation.statistics import clustered, pass_at_k, wilson
from rlsp.files import read_json, read_records, write_records
from rlsp.types import Exploration, Reason, Score, Verdict, from_json

SHARED = Path(__file__).parents[2] / "shared" / "data" / "math500_rollouts"


def graded(problem: str, sample: int = 0, correct: bool = True, answer: str = "r", level: int = 1) -> Graded:
    reason = Reason.MATCH if correct else Reason.MISMATCH
    return Graded(problem, sample, level, correct, answer, "r", reason, "", 40, 10, False)


def outcomes(pattern: str, level: int = 1) -> list[Graded]:
    """One sample a problem: `1` is right, `0` is wrong."""
    return [graded(f"p{index}", correct=sign == "1", level=level) for index, sign in enumerate(pattern)]


def compared(first: str, second: str) -> Comparison:
    return compare(*pair(outcomes(first), outcomes(second)))


def rlsp(*arguments: str | Path) -> str:
    """The screen of a command; errors come as exceptions."""
    done = CliRunner().invoke(app, [str(each) for each in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture
def responses(tmp_path: Path) -> Path:
    """Three problems, two responses each, with the publisher's verdicts; he is wrong about the last one."""
    rows = [
        {"id": "a", "question": "2 + 2?", "answer": "4", "level": 1, "responses": [r"\boxed{4}", r"so \boxed{5}"],
         "tokens": [4, 8], "finish": ["stop", "stop"], "published_correct": [True, False]},
        {"id": "b", "question": "3 + 3?", "answer": "6", "level": 2, "responses": [r"\boxed{6}", "hm"],
         "tokens": [6, 20], "finish": ["stop", "length"], "published_correct": [True, False]},
        {"id": "c", "question": "4 + 4?", "answer": "8", "level": 2, "responses": [r"\boxed{9}", r"\boxed{7}"],
         "tokens": [7, 9], "finish": ["stop", "stop"], "published_correct": [False, True],
         "published_pred": ["9", "[bold]\x1b[2J"]},
    ]  # fmt: skip
    path = tmp_path / "responses.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def test_figures_by_hand(responses: Path) -> None:
    benchmark = summarise(grading.read(responses))
    overall = benchmark.overall
    assert (benchmark.samples, overall.problems, overall.responses, benchmark.length_unit) == (2, 3, 6, "tokens")
    assert overall.accuracy.value == pytest.approx(1 / 3)
    assert overall.accuracy.interval == clustered([0.5, 0.5, 0.0], 6)
    assert benchmark.pass_at.keys() == benchmark.majority_at.keys() == {2}
    assert benchmark.pass_at[2].value == pytest.approx(sum(pass_at_k(2, right, 2) for right in (1, 1, 0)) / 3)
    assert benchmark.majority_at[2].value == pytest.approx((0.5 + 1 + 0) / 3), "a tie counts half, silence no vote"
    assert overall.length is not None and overall.length.value == 9
    assert overall.length_right is not None and overall.length_right.value == 5
    assert overall.length_wrong is not None and overall.length_wrong.value == 11
    assert overall.truncated is not None and overall.truncated.value == pytest.approx(1 / 6)
    assert benchmark.reasons == {"mismatch": 3, "match": 2, "no answer": 1}
    assert {level: row.problems for level, row in benchmark.by_level.items()} == {1: 1, 2: 2}
    assert benchmark.by_level[1].length_right is not None
    assert benchmark.by_level[1].length_right.interval is None, "one problem tells nothing of others"


def test_unknown_lengths_fall_back_on_characters_and_stay_unknown() -> None:
    benchmark = summarise([replace(graded("a"), tokens=None), graded("b")])
    assert benchmark.length_unit == "characters"
    assert benchmark.overall.length is not None and benchmark.overall.length.value == 40
    blind = summarise([replace(graded("a"), tokens=None, characters=None, truncated=None), graded("b")])
    assert blind.overall.length is None and blind.overall.truncated is None
    assert blind.by_level == {}


def test_k_stops_at_the_fewest_samples_of_a_problem() -> None:
    rows = [graded("a", sample) for sample in range(9)] + [graded("b", sample) for sample in range(5)]
    benchmark = summarise(rows)
    assert (benchmark.samples, list(benchmark.pass_at)) == (5, [2, 4])


def test_what_could_not_be_judged_is_named() -> None:
    late = replace(graded("a", 3, correct=False), reason=Reason.TIMEOUT, detail="no result within 5 s")
    benchmark = summarise([late, graded("b")])
    assert benchmark.unjudged == ["a sample 3: timeout (no result within 5 s)"]
    assert benchmark.overall.accuracy.value == 0.5


def test_verdicts_are_read_back_as_written(responses: Path, tmp_path: Path) -> None:
    fresh = grading.read(responses)
    write_records(tmp_path / "verdicts.jsonl.zst", fresh)
    assert grading.read(tmp_path / "verdicts.jsonl.zst") == fresh
    with pytest.raises(InputError, match="holds verdicts already"):
        grading.read(tmp_path / "verdicts.jsonl.zst", verifier="math")
    write_records(tmp_path / "twice.jsonl", [fresh[0], fresh[0]])
    with pytest.raises(InputError, match="sample 0 of problem 'a' is judged twice"):
        grading.read(tmp_path / "twice.jsonl")


def test_scores_of_a_run_are_verdicts_too(tmp_path: Path) -> None:
    verdict = Verdict(True, "4", Reason.MATCH, "4")
    write_records(tmp_path / "base.scores.jsonl.zst", [Score("a", 0, verdict, Exploration(0.0, {}), 0.8, 0.8)])
    (read,) = grading.read(tmp_path / "base.scores.jsonl.zst")
    assert (read.problem_id, read.correct, read.answer, read.tokens, read.truncated) == ("a", True, "4", None, None)


def test_published_verdicts_stand_in_for_ours(responses: Path, tmp_path: Path) -> None:
    theirs = grading.read(responses, published=True)
    assert [each.correct for each in theirs] == [True, False, True, False, False, True]
    stored = tmp_path / "verdicts.jsonl"
    write_records(stored, grading.read(responses))
    assert grading.read(stored, published=True) == theirs_with_references(theirs, grading.read(stored))
    write_records(stored, outcomes("1"))
    with pytest.raises(InputError, match="'p0' has no verdict of a publisher: leave out --published"):
        grading.read(stored, published=True)


def theirs_with_references(theirs: list[Graded], ours: list[Graded]) -> list[Graded]:
    """A verifier may write the reference in its own form."""
    return [replace(each, reference=mine.reference) for each, mine in zip(theirs, ours, strict=True)]


def test_paired_difference_by_hand() -> None:
    """Ten problems: two lost, five gained."""
    comparison = compared("1110000000", "1001111100")
    assert (comparison.first.value, comparison.second.value) == (0.3, 0.6)
    assert comparison.second.interval == wilson(6, 10)
    assert comparison.difference.value == pytest.approx(0.3)
    assert (comparison.first_better, comparison.second_better, comparison.right) == (2, 5, (3, 6))
    assert comparison.p == pytest.approx(2 * (1 + 7 + 21) / 128)
    mirrored = compared("1001111100", "1110000000")
    assert (mirrored.first_better, mirrored.second_better, mirrored.p) == (5, 2, comparison.p)


def test_samples_of_a_problem_are_averaged_before_pairing() -> None:
    first = [graded("a", 0), graded("a", 1, correct=False), graded("b", 0, correct=False)]
    second = [graded("b", 0), graded("a", 0), graded("a", 1), graded("a", 2)]
    comparison = compare(*pair(first, second))
    assert comparison.difference.value == pytest.approx((0.5 + 1) / 2)
    assert comparison.right is None


def test_problems_must_be_the_same_unless_told_otherwise() -> None:
    first, second = outcomes("101"), outcomes("1100")[1:]
    with pytest.raises(InputError, match=r"1 only in the first file, 1 only in the second, e.g. 'p0'.* by --common"):
        pair(first, second)
    before, after = pair(first, second, common=True)
    assert list(before) == list(after) == ["p1", "p2"]
    with pytest.raises(InputError, match="no problem is in both files"):
        pair(outcomes("1"), [graded("q")], common=True)


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        ("0" * 30, "1" * 8 + "0" * 22, r"B is better than A: 8 of 30 right against 0 of 30 \(p = 0.0078\)\."),
        ("1" * 8 + "0" * 22, "0" * 30, r"A is better than B: 8 of 30 right against 0 of 30 \(p = 0.0078\)\."),
        (
            "1110" + "0" * 26 + "1",
            "0001" + "1" * 5 + "0" * 21 + "1",
            r"not enough data: 7 of 31 against 4 of 31 \(p = 0.51\); about 250 problems would be needed to see a "
            r"difference of this size with 80 % power\.",
        ),
        ("10", "01", r"no difference: 1 of 2 right against 1 of 2; a true difference of up to 100.0 points"),
        ("11", "11", r"no difference: 2 of 2 right against 2 of 2; a true difference of up to 65.8 points"),
    ],
)
def test_conclusions_in_plain_words(first: str, second: str, words: str) -> None:
    assert re.match(words, conclusion(compared(first, second), "A", "B"))


def test_numbers_in_words_keep_two_digits() -> None:
    assert [rounded(count) for count in (6, 42, 233, 290, 1301, 98_765)] == [6, 42, 240, 290, 1400, 99_000]


def test_a_published_gain_survives_only_when_both_graders_show_it() -> None:
    gain, none, loss = compared("0" * 30, "1" * 8 + "0" * 22), compared("10", "01"), compared("1" * 30, "0" * 30)
    assert survival(gain, gain).startswith("the published difference survives")
    assert survival(gain, none).startswith("the published difference does not survive")
    assert survival(gain, loss).startswith("the published difference does not survive")
    assert survival(none, gain).startswith("the published difference is not clear to begin with")


def test_score_writes_a_verdict_for_each_response_and_says_where_graders_differ(
    responses: Path, tmp_path: Path
) -> None:
    out = tmp_path / "verdicts.jsonl"
    screen = rlsp("score", responses, "--out", out)
    assert [each.correct for each in read_records(out, Graded)] == [True, False, True, False, False, False]
    assert "6 responses to 3 problems" in screen and "right: 33.3 %" in screen
    assert re.search(r"right here +2 +0", screen) and re.search(r"wrong here +1 +3", screen)
    assert "1 of 6 verdicts differ" in screen and "unjudged: none of 6" in screen
    assert "[bold]" in screen and "\x1b" not in screen, "what a model wrote is neither markup nor control"


def test_eval_shows_the_same_figures_of_responses_and_of_their_verdicts(responses: Path, tmp_path: Path) -> None:
    rlsp("score", responses, "--out", tmp_path / "verdicts.jsonl")
    fresh = rlsp("eval", "--rollouts", responses, "--out", tmp_path / "summary.json")
    stored = rlsp("eval", "--verdicts", tmp_path / "verdicts.jsonl")
    assert fresh.split("\n")[1:] == stored.split("\n")[1:], "all but the title"
    for name in ("pass@1 (avg@2)", "pass@2", "maj@2", "tokens a response", "cut off"):
        assert name in fresh
    summary = from_json(Benchmark, read_json(tmp_path / "summary.json"))
    assert summary == summarise(grading.read(responses))


def test_eval_asks_a_benchmark_and_stores_everything(tmp_path: Path) -> None:
    rows = [{"question": f"Use 3, 7, {n} to make {n + 21}.", "answer": str(n + 21), "level": n % 2} for n in range(8)]
    (tmp_path / "questions.jsonl").write_text("\n".join(map(json.dumps, rows)))
    questions = str(tmp_path / "questions.jsonl")
    ask = ["eval", "--model", "nano", "--data", questions, "--limit", "4", "--samples", "2"]
    out = tmp_path / "benchmark"
    screen = rlsp(*ask, "--max-response-tokens", "24", "--out", out)
    names = {"recipe.toml", "problems.jsonl", "rollouts.jsonl.zst", "verdicts.jsonl", "summary.json"}
    assert {path.name for path in out.iterdir()} == names
    verdicts = list(read_records(out / "verdicts.jsonl", Graded))
    assert len(verdicts) == 8 and all(each.tokens is not None and each.tokens <= 24 for each in verdicts)
    assert "4 problems" in screen and "pass@2" in screen
    again = grading.read(out / "rollouts.jsonl.zst", out / "problems.jsonl")
    assert again == verdicts
    with pytest.raises(InputError, match="exists"):
        rlsp(*ask, "--out", out)


def test_a_recipe_that_searches_asks_a_benchmark_as_long_as_it_takes(tmp_path: Path) -> None:
    """Its demonstrations, SFT and micro-batches are for training."""
    (tmp_path / "q.jsonl").write_text('{"question": "2 + 2?", "answer": "4"}')
    ask = ["eval", "nano", "--data", str(tmp_path / "q.jsonl"), "--limit", "1", "--samples", "1"]
    sizes = ["--set", "rl.microbatch_tokens=30", "--set", "sampling.cache_tokens=30"]
    rlsp(*ask, "--max-response-tokens", "16", *sizes, "--out", tmp_path / "out")
    stored = load(Recipe, str(tmp_path / "out" / "recipe.toml"))
    assert (stored.demonstrations, stored.sft, stored.task.name) == (None, None, "data")
    assert (stored.sampling.cache_tokens, stored.rl.microbatch_tokens) == (24 + 16, 24 + 16)


def test_what_cannot_be_judged_is_found_before_the_model_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load_nothing(path: str) -> None:
        raise AssertionError(f"{path} was loaded")

    monkeypatch.setattr("rlsp.engines.stages.open_policy", load_nothing)
    (tmp_path / "q.jsonl").write_text("\n".join(f'{{"question": "{n} + 2?", "answer": "{n}"}}' for n in range(40)))
    questions = str(tmp_path / "q.jsonl")
    with pytest.raises(InputError, match="no verifier for task 'nothing'"):
        rlsp("eval", "--model", "nano", "--data", questions, "--verifier", "nothing", "--out", tmp_path / "out")
    held_out = ["task.name=data", f"task.data={questions}", "task.verifier=nothing"]
    with pytest.raises(InputError, match="no verifier for task 'nothing'"):
        rlsp("eval", "nano", *(part for each in held_out for part in ("--set", each)))


def test_options_that_would_change_nothing_are_refused(responses: Path, tmp_path: Path) -> None:
    stored = tmp_path / "verdicts.jsonl"
    write_records(stored, outcomes("10"))
    options = ["--lenient", "--deadline", "9", "--i-trust-this-code", "--verifier", "math"]
    words = "leave out --verifier, --lenient, --deadline, --i-trust-this-code, or grade the responses"
    file = str(stored)
    for verb in (["eval", "--verdicts", file], ["eval", "--rollouts", file], ["compare", file, file]):
        with pytest.raises(InputError, match=words):
            rlsp(*verb, *options)
        assert "50.0 %" in rlsp(*verb)
    with pytest.raises(InputError, match="--published runs no verifier: leave out --lenient"):
        rlsp("compare", responses, responses, "--published", "--lenient")
    with pytest.raises(InputError, match="needs no model: leave out --split"):
        rlsp("eval", "--verdicts", stored, "--split", "test")


def test_regrading_says_when_it_was_strict(responses: Path, tmp_path: Path) -> None:
    remark = "regraded (strict: only marked answers count; see --lenient)."
    assert remark in rlsp("compare", responses, responses)
    assert "regraded." in rlsp("compare", responses, responses, "--lenient")
    rlsp("score", responses, "--lenient", "--out", tmp_path / "verdicts.jsonl")
    stored = rlsp("compare", tmp_path / "verdicts.jsonl", tmp_path / "verdicts.jsonl")
    assert "regraded." in stored, "how stored verdicts came about is not known"


def test_compare_shows_both_graders_and_what_survives(responses: Path, tmp_path: Path) -> None:
    screen = rlsp("compare", responses, responses)
    assert "Under rlsp's verdicts, 3 problems" in screen and "Under the published verdicts, 3 problems" in screen
    assert "paired randomisation" in screen and "By level" in screen
    assert "the published difference is not clear" in screen
    alone = rlsp("compare", responses, responses, "--published")
    assert "Under rlsp's verdicts" not in alone
    write_records(tmp_path / "a.jsonl", outcomes("1" * 10))
    write_records(tmp_path / "b.jsonl", outcomes("0" * 11))
    screen = rlsp("compare", tmp_path / "a.jsonl", tmp_path / "b.jsonl", "--common")
    assert "McNemar" in screen and "A is better than B: 10 of 10 right against 0 of 10 (p = 0.002)." in screen


def test_nothing_is_cut_off_at_80_columns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Long responses, many problems, the widest percentages."""
    monkeypatch.setattr("rlsp.cli.progress.console.width", 80)
    rows = [
        replace(graded(f"p{index}", correct=index % 3 > 0, level=index % 2 + 1), tokens=10_000 + 77 * (index % 101))
        for index in range(1200)
    ]
    write_records(tmp_path / "a.jsonl", rows)
    write_records(tmp_path / "b.jsonl", [replace(each, correct=not each.correct) for each in rows])
    screens = [
        rlsp("eval", "--verdicts", tmp_path / "a.jsonl"),
        rlsp("compare", tmp_path / "a.jsonl", tmp_path / "b.jsonl"),
    ]
    for screen in screens:
        assert "By level" in screen
        assert not re.search(r"\S…", screen), "a cell was cut"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["eval"], "nothing to evaluate"),
        (["eval", "--model", "nano", "--data", "q.jsonl"], "give a directory by --out DIR"),
        (["eval", "nano", "--limit", "3"], "--limit: only with --data REF"),
        (["eval", "--data", "q", "--split", "train", "--out", "o"], "--data REF asks all of its own"),
        (["eval", "nano", "--problems", "p"], "--problems goes with --rollouts"),
        (["eval", "--rollouts", "r", "--verdicts", "v"], "give one of them"),
        (["eval", "nano", "--rollouts", "r", "--samples", "2"], "leave out RECIPE, --samples"),
        (["eval", "--verdicts", "nowhere"], "nowhere: can't be read"),
        (["eval", "--data", "q", "--samples", "2", "--temperature", "0", "--out", "o"], "raise --temperature"),
        (["score", "r", "--out", "o", "--set", "seed=1"], "give the recipe by --recipe"),
        (["score", "r", "--out", "o", "--recipe", "nano"], "give them by --problems FILE"),
        (["score", "r", "--out", "o", "--recipe", "nano", "--lenient"], "leave out --verifier and --lenient"),
        (["score", "nowhere", "--out", "o"], "nowhere: can't be read"),
        (["compare", "nowhere", "nowhere"], "nowhere: can't be read"),
    ],
)
def test_wrong_calls_are_explained(
    arguments: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=re.escape(words)):
        rlsp(*arguments)
    assert list(tmp_path.iterdir()) == []


def test_the_published_gain_on_math_500_is_recovered() -> None:
    """Against the publisher's own counts: 200 and 218 of 500."""
    paths = [SHARED / f"qwen2.5-1.5b-instruct.{name}.jsonl" for name in ("base", "rlsp-length")]
    if not all(path.is_file() for path in paths):
        pytest.skip(f"{paths[0]} is absent")
    before, after = (grading.read(path, published=True) for path in paths)
    comparison = compare(*pair(before, after))
    assert comparison.right == (200, 218)
    assert (comparison.first_better, comparison.second_better) == (19, 37)
    assert comparison.p == pytest.approx(0.02224, abs=1e-5)

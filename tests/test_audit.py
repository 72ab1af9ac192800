"""Two graders over the same responses: what they agree on, what each gets wrong, what hangs."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from rlsp.cli import app
from rlsp.errors import InputError
from rlsp.evaluation import agreement, audit, labels
from rlsp.evaluation.agreement import Errors, Rate
from rlsp.evaluation.audit import Audit, Disagreement, Item, check_labelled
from rlsp.evaluation.statistics import pooled, wilson
from rlsp.files import read_records
from rlsp.rollouts.foreign import Response
from rlsp.types import Problem, Reason, Verdict
from rlsp.verifiers import verify, verify_timed
from rlsp.verifiers.outcomes import Timed
from rlsp.verifiers.settings import Settings

IMPATIENT = Settings(deadline_seconds=0.5)


def timed(correct: bool) -> Timed:
    return Timed(Verdict(correct, "4", Reason.MATCH if correct else Reason.MISMATCH, "4"), None)


def item(name: str, first: bool, second: bool, label: bool | None = None, sample: int = 0) -> Item:
    return Item(Problem(name, "math", "2 + 2?", "4"), sample, "4", timed(first), timed(second), label)


def items(both: int, first: int, second: int, neither: int) -> list[Item]:
    """One response each to as many problems as the cells of the 2 × 2 table say."""
    cells = [(True, True)] * both + [(True, False)] * first + [(False, True)] * second + [(False, False)] * neither
    return [item(f"p{index}", *cell) for index, cell in enumerate(cells)]


def labelled(*rows: tuple[bool, bool, bool | None]) -> list[Item]:
    return [item(f"p{index}", *row) for index, row in enumerate(rows)]


def rlsp(*arguments: str | Path) -> str:
    """The screen of a command; errors come as exceptions."""
    done = CliRunner().invoke(app, [str(each) for each in arguments], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def write(path: Path, rows: Sequence[Any]) -> Path:
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


@pytest.fixture
def responses(tmp_path: Path) -> Path:
    """Strict and plain math-verify agree on a, b and the first of c; on d and the second of c they don't."""
    rows = [
        {"id": "a", "question": "2 + 2?", "answer": "4", "responses": [r"\boxed{4}"], "published_correct": [True]},
        {"id": "b", "question": "3 + 3?", "answer": "6", "responses": [r"\boxed{7}"], "published_correct": [False]},
        {"id": "c", "question": "4 + 4?", "answer": "8", "responses": [r"\boxed{8}", "[red]\x1b[2J first 8"],
         "published_correct": [True, False]},
        {"id": "d", "question": "1 : 3?", "answer": "1/3", "responses": ["x" * 400 + r"\boxed{0.333333}"],
         "published_correct": [True], "published_pred": ["0.3"]},
    ]  # fmt: skip
    return write(tmp_path / "responses.jsonl", rows)


# Agreement and error rates, by hand


def test_kappa_by_hand() -> None:
    """Cohen's textbook case: d = 15/50, e = 0.5 · 0.4 + 0.6 · 0.5 = 0.5."""
    table = agreement.table(items(20, 5, 10, 15))
    assert (table.both_right, table.first_only, table.second_only, table.both_wrong) == (20, 5, 10, 15)
    assert table.kappa == pytest.approx(0.4)
    low, high = wilson(15, 50)
    assert table.kappa_interval == pytest.approx((1 - high / 0.5, 1 - low / 0.5))


def test_graders_that_never_differ_are_not_certain_to_agree() -> None:
    table = agreement.table(items(20, 0, 0, 20))
    assert table.kappa == 1
    assert table.kappa_interval == pytest.approx((1 - wilson(0, 40)[1] / 0.5, 1))


def test_the_interval_of_kappa_ends_at_minus_one() -> None:
    """d = 0.4, at most 0.69, and e = 0.7 · 0.1 + 0.9 · 0.3 = 0.34."""
    table = agreement.table(items(6, 1, 3, 0))
    assert table.kappa == pytest.approx(1 - 0.4 / 0.34)
    assert table.kappa_interval == (-1, pytest.approx(1 - wilson(4, 10)[0] / 0.34))


def test_kappa_is_undefined_where_chance_explains_everything() -> None:
    table = agreement.table(items(9, 0, 0, 0))
    assert table.kappa is None and table.kappa_interval is None
    with pytest.raises(ValueError, match="nothing was judged"):
        agreement.table([])


@pytest.mark.parametrize("cells", [(0.45, 0.05, 0.05, 0.45), (0.9, 0.03, 0.03, 0.04), (0.48, 0.004, 0.001, 0.515)])
def test_the_interval_of_kappa_holds_the_truth(cells: tuple[float, ...]) -> None:
    """In 300 draws of 200 items; fewer than 91 % would be three standard errors below 95 %."""
    both, first, second, _ = cells
    chance = (both + first) * (1 - both - second) + (both + second) * (1 - both - first)
    truth = 1 - (first + second) / chance
    held = 0
    for counts in np.random.default_rng(0).multinomial(200, cells, size=300):
        table = agreement.table(items(*map(int, counts)))
        assert table.kappa_interval is not None
        held += table.kappa_interval[0] <= truth <= table.kappa_interval[1]
    assert held >= 0.91 * 300


def test_bounds_take_the_other_grader_for_right() -> None:
    first, second = agreement.bounds(items(20, 5, 10, 15))
    assert first == Errors(Rate(5, 20, wilson_of(5, 20)), Rate(10, 30, wilson_of(10, 30)))
    assert second == Errors(Rate(10, 25, wilson_of(10, 25)), Rate(5, 25, wilson_of(5, 25)))


def wilson_of(successes: int, trials: int) -> Any:
    return pytest.approx(wilson(successes, trials))


def test_no_labels_of_the_disagreements_exceed_the_bounds() -> None:
    plain = items(6, 3, 2, 4)
    bounds = agreement.bounds(plain)
    for code in range(2**5):
        truth = iter(bool(code >> bit & 1) for bit in range(5))
        graders = agreement.measured([item_with(each, next(truth)) if each.disagreement else each for each in plain])
        for most, real in zip(bounds, graders, strict=True):
            for name in ("false_positives", "false_negatives"):
                limit, rate = getattr(most, name), getattr(real, name)
                assert rate.count * limit.among <= limit.count * rate.among


def item_with(each: Item, label: bool) -> Item:
    return item(each.problem.id, each.first.verdict.correct, each.second.verdict.correct, label)


def test_labels_measure_errors_that_both_graders_make() -> None:
    """Wrong: the second and the last two rows; right: the other four."""
    rows = labelled(
        (True, True, True),
        (True, True, False),
        (True, False, True),
        (False, True, True),
        (False, False, True),
        (True, False, False),
        (False, False, False),
    )
    first, second = agreement.measured(rows)
    assert first == Errors(Rate(2, 3, wilson_of(2, 3)), Rate(2, 4, wilson_of(2, 4)))
    assert second == Errors(Rate(1, 3, wilson_of(1, 3)), Rate(2, 4, wilson_of(2, 4)))


def test_agreements_without_a_label_are_taken_as_right() -> None:
    rows = labelled((True, True, None), (False, False, None), (True, False, False), (False, False, True))
    first, second = agreement.measured(rows)
    assert (first.false_positives.count, first.false_positives.among) == (1, 2)
    assert (second.false_negatives.count, second.false_negatives.among) == (1, 2)
    with pytest.raises(ValueError, match="a disagreement without a label"):
        agreement.measured(items(1, 1, 0, 0))


def test_a_class_without_members_has_no_rate() -> None:
    first, _ = agreement.bounds(items(5, 0, 0, 0))
    assert first.false_positives == Rate(0, 0, None)
    assert first.false_negatives == Rate(0, 5, wilson_of(0, 5))


def test_pooled_is_wilsons_interval_for_one_trial_a_problem() -> None:
    assert pooled([1, 0, 0, 1, 0], [1] * 5) == pytest.approx(wilson(2, 5))
    with pytest.raises(ValueError, match="no trials"):
        pooled([0], [0])


def test_samples_of_one_problem_count_less_than_as_many_problems() -> None:
    alike = pooled([8] * 10 + [0] * 40, [8] * 50)
    apart = wilson(80, 400)
    once = wilson(10, 50)
    assert alike[1] - alike[0] > 2 * (apart[1] - apart[0])
    assert alike == pytest.approx(once, abs=0.03), "eight equal samples are worth about one"
    uneven = agreement.bounds([item("a", True, False, sample=n) for n in range(9)] + items(5, 0, 0, 10))[0]
    assert uneven.false_positives.interval is not None
    assert uneven.false_positives.interval[1] > wilson(9, 19)[1]


# Labels


ANSWERED = [Response("a", 0, ""), Response("b", 0, ""), Response("b", 1, "")]


def test_labels_name_responses_in_two_ways(tmp_path: Path) -> None:
    rows = [
        {"idx": 0, "correct": True, "note": "by its number"},
        {"problem_id": "b", "sample": 0, "correct": None},
        {"problem_id": "b", "sample": 1, "correct": False},
    ]
    assert labels.read(write(tmp_path / "l.jsonl", rows), ANSWERED) == {("a", 0): True, ("b", 1): False}


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"idx": 0}, "l.jsonl:2: a label has correct: true, false or null, got {'idx': 0}"),
        ({"idx": 0, "correct": 1}, "a label has correct"),
        (["a", True], "a label has correct"),
        ({"correct": True}, "names its problem by problem_id, a text, or by idx, a number from 0 to 1, got None"),
        ({"idx": 2, "correct": True}, "a number from 0 to 1, got None and 2"),
        ({"idx": True, "correct": True}, "got None and True"),
        ({"problem_id": 3, "correct": True}, "got 3 and None"),
        ({"problem_id": "z", "correct": True}, "problem 'z' is none of the 2 that were graded, the first of which is"),
        ({"problem_id": "b", "correct": True}, "sample None is none of the 2 of problem 'b'"),
        ({"problem_id": "b", "sample": 2, "correct": True}, "sample 2 is none of the 2"),
        ({"problem_id": "a", "correct": True}, "sample 0 of problem 'a' is labelled twice: keep one line"),
    ],
)
def test_a_label_that_says_nothing_is_refused(row: Any, words: str, tmp_path: Path) -> None:
    path = write(tmp_path / "l.jsonl", [{"problem_id": "a", "correct": None}, row])
    with pytest.raises(InputError, match=re.escape(words)):
        labels.read(path, ANSWERED)


def test_every_disagreement_needs_a_label() -> None:
    check_labelled(Audit("math", "exact", labelled((True, True, None), (True, False, False))))
    with pytest.raises(InputError, match="2 of 3 disagreements have no label, the first is sample 0 of problem 'p1'"):
        check_labelled(Audit("math", "exact", labelled((True, False, True), (False, True, None), (True, False, None))))


# Two graders


def verdicts(found: Audit) -> tuple[list[bool], list[bool]]:
    return [each.first.verdict.correct for each in found.items], [each.second.verdict.correct for each in found.items]


@pytest.mark.parametrize(
    ("against", "expected"),
    [
        ("math-verify", [True, False, True, True, True]),
        ("published", [True, False, True, False, True]),
        ("exact", [True, False, True, False, False]),
        ("tests.custom_verifiers:equal", [False, False, False, True, False]),
    ],
)
def test_any_second_grader(against: str, expected: list[bool], responses: Path) -> None:
    found = audit.run(responses, against=against)
    assert verdicts(found) == ([True, False, True, False, False], expected)
    assert (found.first, found.second) == ("math", against)


def test_stored_verdicts_are_a_grader(responses: Path, tmp_path: Path) -> None:
    rlsp("score", responses, "--verifier", "math-verify", "--out", tmp_path / "v.jsonl")
    found = audit.run(responses, against=str(tmp_path / "v.jsonl"))
    assert verdicts(found)[1] == [True, False, True, True, True]
    assert found.items[4].second.verdict.answer == "0.333333"
    (tmp_path / "v.jsonl").write_text((tmp_path / "v.jsonl").read_text().split("\n")[0])
    with pytest.raises(InputError, match="has no verdict on sample 0 of problem 'b'"):
        audit.run(responses, against=str(tmp_path / "v.jsonl"))
    with pytest.raises(InputError, match="holds no verdicts"):
        audit.run(responses, against=str(responses))


def test_the_same_grader_twice_is_no_audit(responses: Path) -> None:
    with pytest.raises(InputError, match="--against 'exact' is what judges already"):
        audit.run(responses, verifier="exact", against="exact")


def test_published_verdicts_must_be_there(tmp_path: Path) -> None:
    path = write(tmp_path / "r.jsonl", [{"id": "a", "question": "q", "answer": "4", "response": "4"}])
    with pytest.raises(InputError, match="problem 'a' has no verdict of a publisher: audit against another grader"):
        audit.run(path, against="published")


@pytest.mark.parametrize(
    ("response", "reference", "verdict"),
    [
        ("3, then 4", "4", Verdict(True, "4", Reason.MATCH, "4")),
        (r"\boxed{\frac{2}{4}}", r"\frac12", Verdict(True, r"\frac{2}{4}", Reason.MATCH, r"\frac12")),
        (r"\boxed{0.333333}", "1/3", Verdict(True, "0.333333", Reason.MATCH, "1/3")),
        (r"\boxed{5}", "4", Verdict(False, "5", Reason.MISMATCH, "4")),
        ("hm", "4", Verdict(False, "", Reason.NO_ANSWER, "4")),
        ("4", "", Verdict(False, "4", Reason.UNPARSABLE, "", "math-verify reads nothing in the reference")),
    ],
)
def test_plain_math_verify(response: str, reference: str, verdict: Verdict) -> None:
    assert verify(Problem("a", "math-verify", "?", reference), response) == verdict


def test_what_hangs_plain_math_verify_is_a_timeout_by_name() -> None:
    problem = Problem("a", "math-verify", "?", "4")
    hung, fine = verify_timed([problem] * 2, [r"\boxed{5^{5^{5^5}}}", "4"], Settings(deadline_seconds=1))
    assert hung.verdict == Verdict(False, "", Reason.TIMEOUT, "4", "no result within 1 s")
    assert hung.seconds is not None and 1 <= hung.seconds < 3
    assert fine.verdict.correct


def test_only_single_judgements_in_workers_are_timed() -> None:
    tasks = ("math", "math-verify", "tests.custom_verifiers:equal", "exact")
    judged = verify_timed([Problem("a", task, "?", "4") for task in tasks], [r"\boxed{4}"] * 4, Settings())
    assert [each.seconds is not None for each in judged] == [True, True, True, False]
    assert [each.verdict.correct for each in judged] == [True, True, False, True]


# The command


def test_the_screen_without_labels(responses: Path) -> None:
    screen = rlsp("verify", "audit", responses)
    assert "5 responses to 4 problems" in screen
    assert re.search(r"A right +2 +0 *\n", screen) and re.search(r"A wrong +2 +1 *\n", screen)
    assert "the same verdict on 3 of 5, 60.0 %" in screen
    assert "Cohen's κ 0.286 (" in screen
    assert "at most, if the other grader is right in every case" in screen
    assert re.search(r"A false negatives +50\.0 % +[\d.]+ % +2 +4 +right", screen)
    assert re.search(r"B false positives +66\.7 % +[\d.]+ % +2 +3 +wrong", screen)
    assert (
        "  d sample 0\n    reference: 1/3\n    A wrong (mismatch): 333333/1000000\n    B right (match): 0.333333"
        in screen
    )
    assert "--out FILE keeps them all" in screen
    assert "unjudged by A, counted as wrong: none" in screen
    assert re.search(r"c sample 1 +\d\.\d{3} +\d\.\d{3}", screen), "both graders run in workers"


def test_disagreements_are_written_whole_and_come_back_as_labels(responses: Path, tmp_path: Path) -> None:
    out = tmp_path / "disagreements.jsonl"
    rlsp("verify", "audit", responses, "--out", out)
    first, second = read_records(out, Disagreement)
    assert (first.problem_id, first.sample, first.question) == ("c", 1, "4 + 4?")
    assert (first.response, first.correct) == ("[red]\x1b[2J first 8", None)
    assert first.first.reason is Reason.NO_ANSWER and first.second.answer == "8"
    assert second.response == "x" * 284 + r"\boxed{0.333333}" and second.reference == "1/3"
    with pytest.raises(InputError, match="2 of 2 disagreements have no label"):
        rlsp("verify", "audit", responses, "--labels", out)
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    write(out, [row | {"correct": row["problem_id"] == "c"} for row in rows])
    screen = rlsp("verify", "audit", responses, "--labels", out, "--out", out, "--overwrite")
    assert "Error rates by 2 labels" in screen and "The other 3 are agreements, taken as right" in screen
    for name, figures in (
        ("A false positives", r"0\.0 % +0\.0–[\d.]+ +0 +2 +wrong"),
        ("A false negatives", r"33\.3 % +[\d.]+–[\d.]+ +1 +3 +right"),
        ("B false positives", r"50\.0 % +[\d.]+–[\d.]+ +1 +2 +wrong"),
        ("B false negatives", r"0\.0 % +0\.0–[\d.]+ +0 +3 +right"),
    ):
        assert re.search(f"{name} +{figures}", screen)
    assert "c sample 1, labelled right" in screen
    assert [each.correct for each in read_records(out, Disagreement)] == [True, False], "labels are kept"


def test_a_grader_that_hangs_is_named(tmp_path: Path) -> None:
    rows = [{"id": f"p{n}", "question": str(n), "answer": "4", "response": "fine"} for n in range(3)]
    rows[1]["response"] = "sleep"
    screen = rlsp(
        "verify", "audit", write(tmp_path / "r.jsonl", rows),
        "--verifier", "exact", "--against", "tests.custom_verifiers:moody", "--deadline", "0.5",
    )  # fmt: skip
    assert "unjudged by A, counted as wrong: none" in screen
    assert "unjudged by B, counted as wrong: 1\n  p1 sample 0: timeout (no result within 0.5 s)" in screen
    slowest = screen[screen.index("The slowest") :]
    assert re.search(r"A +B *\n.*─+ *\n p1 sample 0 +– +timeout 0\.\d{3}", slowest)


def test_untimed_graders_have_no_slowest_items(responses: Path) -> None:
    assert "slowest" not in rlsp("verify", "audit", responses, "--verifier", "exact", "--against", "published")


def test_graders_that_agree_have_nothing_to_list(tmp_path: Path) -> None:
    rows = [{"id": "a", "question": "q", "answer": "4", "response": r"\boxed{4}"}]
    out = tmp_path / "none.jsonl"
    screen = rlsp("verify", "audit", write(tmp_path / "r.jsonl", rows), "--out", out)
    assert "no disagreements" in screen and "κ is undefined" in screen
    assert re.search("A false positives +– +– +0 +0 +wrong", screen)
    assert out.read_text() == ""


def test_the_screen_is_80_columns_wide_and_shows_no_control_characters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rlsp.cli.progress.console.width", 80)
    rows = [
        {"id": "x" * 90 + str(n), "question": str(n), "answer": "9" * 60, "published_correct": n % 2 == 0,
         "response": rf"[bold]\x1b[2J \boxed{{{'8' * 90}}}", "published_pred": "\x1b]0;x\x07" * 30}
        for n in range(1000)
    ]  # fmt: skip
    screen = rlsp("verify", "audit", write(tmp_path / "r.jsonl", rows), "--verifier", "exact", "--against", "published")
    assert "500 disagreements:" in screen and "… and 490 more" in screen
    assert max(map(len, screen.splitlines())) <= 80
    assert "\x1b" not in screen and "\x07" not in screen


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nowhere"], "nowhere: can't be read"),
        (["RESPONSES", "--against", "nothing"], "no verifier for task 'nothing'; known: countdown"),
        (["RESPONSES", "--against", "math"], "is what judges already"),
        (["RESPONSES", "--against", "nowhere.jsonl"], "nowhere.jsonl: can't be read"),
        (["RESPONSES", "--labels", "nowhere.jsonl"], "nowhere.jsonl: can't be read"),
        (["RESPONSES", "--out", "RESPONSES"], "exists: replace it by --overwrite"),
    ],
)
def test_wrong_calls_are_explained(arguments: list[str], words: str, responses: Path) -> None:
    with pytest.raises(InputError, match=re.escape(words)):
        rlsp("verify", "audit", *(str(responses) if each == "RESPONSES" else each for each in arguments))


@pytest.mark.parametrize(
    ("name", "published"),
    [("base", ((4, 259), (45, 241))), ("rlsp-length", ((5, 257), (30, 243)))],
)
def test_the_publishers_errors_on_math_500(name: str, published: Any, shared_data: Path) -> None:
    """Against the labels that were made by reading; ours accepts nothing that they call wrong."""
    found = audit.run(
        shared_data / "math500_rollouts" / f"qwen2.5-1.5b-instruct.{name}.jsonl",
        against="published",
        settings=Settings("lenient"),
        labels=Path(__file__).parent / "corpora" / "math500" / f"{name}.jsonl",
    )
    ours, theirs = agreement.measured(found.items)
    assert tuple((rate.count, rate.among) for rate in (theirs.false_positives, theirs.false_negatives)) == published
    assert ours.false_positives.count == 0
    assert ours.false_negatives.count <= 10

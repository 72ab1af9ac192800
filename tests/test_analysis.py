"""Rates, thinking-time ledger and novelty against numbers worked by hand; `rlsp analyze` on files."""

from __future__ import annotations

import base64
import gzip
import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rlsp import runs
from rlsp.analysis import stored
from rlsp.analysis.attempts import compare
from rlsp.analysis.ledger import account, difficulty
from rlsp.analysis.novelty import WORDS, Patterns, against, nearest, patterns, word_patterns
from rlsp.analysis.rates import rates, shown
from rlsp.cli import app
from rlsp.config import Recipe, load
from rlsp.engines import native
from rlsp.engines.progress import Silent
from rlsp.errors import InputError
from rlsp.evaluation.grading import Graded
from rlsp.types import Reason
from tests.shrunk import SHRUNK

DATA = Path(__file__).parents[2] / "shared/data/math500_rollouts"


def graded(problem: str, sample: int, tokens: int | None, correct: bool, level: int = 0) -> Graded:
    reason = Reason.MATCH if correct else Reason.MISMATCH
    return Graded(problem, sample, level, correct, "1", "1", reason, "", 10 * (tokens or 1), tokens, False)


def test_rates_are_means_over_problems() -> None:
    found = rates({"a": [{"check": 2}, {"check": 0}], "b": [{"check": 1}, {"check": 1}]})["check"]
    assert found.share.value == 0.75
    assert found.count == 1.0
    assert found.share.interval is not None and found.share.interval[0] < 0.75 < found.share.interval[1]


def test_changes_are_paired_by_problem() -> None:
    before = {str(each): [{"check": each % 2}] for each in range(40)}
    after = {str(each): [{"check": 1}] for each in range(40)}
    found = shown([before, after, after])["check"]
    assert [rate.share.value for rate in found.rates] == [0.5, 1.0, 1.0]
    assert [change.value for change in found.changes] == [0.5, 0.0]
    assert [change.clear for change in found.changes] == [True, False]
    assert not shown([before, before])["check"].changes[0].clear
    assert shown([before])["check"].changes == []
    with pytest.raises(ValueError, match="the problems differ"):
        shown([before, {"other": [{"check": 1}]}])


def test_the_ledger_of_a_hand_worked_example() -> None:
    """Problem a: right at 10 and 30 tokens, wrong at 5 and 40. Problem b: all wrong."""
    first = [
        graded("a", 0, 10, True, 1),
        graded("a", 1, 30, True, 1),
        graded("a", 2, 5, False, 1),
        graded("a", 3, 40, False, 1),
        graded("b", 0, 35, False, 2),
    ]
    ledger = account(first)
    assert ledger.unit == "tokens"
    assert ledger.per_solved is not None and ledger.per_solved.value == pytest.approx(120 / 2)
    assert ledger.beyond_shortest is not None and ledger.beyond_shortest.value == pytest.approx(20 / 40)
    assert ledger.stopped_short is not None and ledger.stopped_short.value == pytest.approx(1 / 2)
    hard = difficulty(first)
    assert hard is not None and (hard.name, hard.of) == ("level", {"a": 1.0, "b": 2.0})
    assert account(first, hard=hard).with_difficulty is None  # two problems


def test_what_solved_nothing_has_no_price_for_a_solution() -> None:
    ledger = account([graded("a", 0, 10, False), graded("b", 0, 10, False)])
    assert (ledger.per_solved, ledger.beyond_shortest, ledger.stopped_short) == (None, None, None)


def test_the_shortest_right_response_may_be_the_other_models() -> None:
    ledger = account([graded("a", 0, 10, False)], [graded("a", 0, 20, True)])
    assert ledger.stopped_short is not None and ledger.stopped_short.value == 1.0


def test_without_levels_the_bases_samples_say_what_is_hard() -> None:
    problems = [f"p{each}" for each in range(8)]
    mine = [graded(name, 0, 10 * (place + 1), True) for place, name in enumerate(problems)]
    base = [graded(name, each, 5, each >= place) for place, name in enumerate(problems) for each in range(8)]
    hard = difficulty(base)
    assert hard is not None and hard.name == "how often the base is wrong"
    found = account(mine, base, hard).with_difficulty
    assert found is not None and found.value == pytest.approx(1.0)
    assert account(base, mine, hard).with_difficulty is None  # its lengths are all the same
    assert difficulty(base[:-1]) is None


def test_lengths_in_characters_where_tokens_are_unknown() -> None:
    ledger = account([graded("a", 0, None, True)])
    assert ledger.unit == "characters"
    assert ledger.per_solved is not None and ledger.per_solved.value == 10


def test_patterns_are_runs_and_short_texts_one_run() -> None:
    assert patterns("abcd", 3) == {("a", "b", "c"), ("b", "c", "d")}
    assert patterns("ab", 3) == {("a", "b")}
    assert patterns("", 3) == frozenset()


def test_novelty_passes_over_references_of_the_same_problem() -> None:
    a, b, c = ({(name,)} for name in "abc")
    responses = {"p": [frozenset(a | b)], "q": [frozenset(c)]}
    references: Patterns = {"p": [frozenset(a)], "q": [frozenset(b)], "r": [frozenset()]}
    found = against(responses, references)
    assert found is not None
    assert found.share.value == pytest.approx((1 / 2 + 1) / 2)  # p: b is q's, a only its own; q: c is nowhere
    assert against({"p": [frozenset()]}, references) is None


def test_minhash_is_near_the_true_similarity() -> None:
    text = " ".join(f"word{each}" for each in range(200))
    half = " ".join(f"word{each}" for each in range(100, 300))
    held, other = word_patterns(text), word_patterns(half)
    true = len(held & other) / len(held | other)
    assert nearest([held], [frozenset(), other]) == [pytest.approx(true, abs=0.13)]
    assert nearest([held], [other, held]) == [1.0]
    assert nearest([frozenset()], [held]) == [0.0]
    assert nearest([held], []) == [0.0]
    assert all(len(each) == WORDS for each in held)


def write(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def rows(*texts: str) -> list[dict[str, object]]:
    return [
        {"question": f"What is {place} + {place}?", "answer": str(2 * place), "response": text, "id": f"p{place}"}
        for place, text in enumerate(texts, 1)
    ]


def test_analyze_on_files(tmp_path: Path) -> None:
    base = write(tmp_path / "base.jsonl", rows("The sum is \\boxed{2}.", "It is \\boxed{5}."))
    trained = write(
        tmp_path / "trained.jsonl",
        rows("The sum is 2.\nLet's verify it: \\boxed{2}.", "It is 5.\nThis does not work.\nSo \\boxed{4}."),
    )
    places = tmp_path / "places.jsonl"
    done = CliRunner().invoke(app, ["analyze", str(trained), "--against", str(base), "--spans", str(places)])
    assert done.exit_code == 0, done.output
    assert "found by words" in done.output
    assert "+100.0" in done.output
    assert "100.0 %" in done.output and "50.0 %" in done.output
    found = [json.loads(line) for line in places.read_text().splitlines()]
    assert {each["behaviour"] for each in found} == {"verification"}
    assert found[0]["text"] == "Let's verify it: \\boxed{2}."
    again = CliRunner().invoke(app, ["analyze", str(trained), "--spans", str(places)])
    assert "another --spans" in str(again.exception)


def test_analyze_writes_a_page_of_anyones_responses(tmp_path: Path) -> None:
    base = write(tmp_path / "base.jsonl", rows("\\boxed{2}", "<script>alert(1)</script> \\boxed{3}"))
    trained = write(tmp_path / "trained.jsonl", rows("Let's verify it: \\boxed{2}.", "\\boxed{9}"))
    page = tmp_path / "page.html"
    done = CliRunner().invoke(app, ["analyze", str(trained), "--against", str(base), "--page", str(page)])
    assert done.exit_code == 0, done.output
    html = page.read_text()
    assert "How it reasons" in html and "All responses" in html and "<script>alert" not in html
    packed = re.search(r'id="responses">([^<]*)<', html)
    assert packed is not None
    held = json.loads(gzip.decompress(base64.b64decode(packed[1])))
    assert held["groups"] == ["base.jsonl", "trained.jsonl"] and len(held["responses"]["text"]) == 4
    assert held["responses"]["correct"] == [1, 0, 1, 0] and held["unit"] == "characters"


def test_files_of_one_name_are_told_apart(tmp_path: Path) -> None:
    for folder, answer in (("base", "5"), ("trained", "2")):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder / "out.jsonl", rows(f"\\boxed{{{answer}}}"))
    base, trained = (tmp_path / folder / "out.jsonl" for folder in ("base", "trained"))
    done = CliRunner().invoke(app, ["analyze", str(trained), "--against", str(base)])
    assert done.exit_code == 0 and f"{trained}: 1 responses" in done.output and f"{base} (1)" in done.output
    both = ["--spans", str(tmp_path / "x"), "--page", str(tmp_path / "." / "x")]
    refused = CliRunner().invoke(app, ["analyze", str(trained), *both])
    assert isinstance(refused.exception, InputError) and "would replace the other" in str(refused.exception)


def test_analyze_refuses_other_problems(tmp_path: Path) -> None:
    base = write(tmp_path / "base.jsonl", rows("\\boxed{2}"))
    trained = write(tmp_path / "trained.jsonl", rows("\\boxed{2}", "\\boxed{4}"))
    done = CliRunner().invoke(app, ["analyze", str(trained), "--against", str(base)])
    assert done.exit_code != 0
    assert "--common" in str(done.exception) and "1 only in trained.jsonl" in str(done.exception)
    assert CliRunner().invoke(app, ["analyze", str(trained), "--against", str(base), "--common"]).exit_code == 0


@pytest.mark.skipif(not DATA.is_dir(), reason=f"the published responses are not in {DATA}")
def test_analyze_on_the_published_responses() -> None:
    trained, base = (DATA / f"qwen2.5-1.5b-instruct.{name}.jsonl" for name in ("rlsp-length", "base"))
    done = CliRunner().invoke(app, ["analyze", str(trained), "--against", str(base), "--lenient"])
    assert done.exit_code == 0, done.output
    for row in ("verification", "backtracking", "self-correction", "alternative", "subgoal", "backward chaining"):
        assert row in done.output
    assert "ρ of length and level" in done.output


def test_analyze_a_run(tmp_path: Path) -> None:
    """Two steps of the shrunk nano recipe: base and trained model side by side, kept in the run and on its page."""
    recipe = load(Recipe, "nano", [*SHRUNK, "demonstrations.count=8"])
    run = runs.create(tmp_path / "run", recipe)
    native.run(recipe, run, Silent())
    done = CliRunner().invoke(app, ["analyze", str(run.directory), "--samples", "2", "--attempts", "4"])
    assert done.exit_code == 0, done.output
    assert "found by executing the steps" in done.output
    found = stored.read(run)
    assert found is not None and found.trained == "rlsp"
    assert [each.name for each in found.analysis.accounts] == ["Base", "SFT", "RLSP"]
    assert found.analysis.accounts[-1].figures.overall.responses == 6
    assert [(each.name, each.samples, list(each.pass_at)) for each in found.attempts] == [
        (name, 4, [1, 2, 4]) for name in ("base", "sft", "rlsp")
    ]
    assert "How it reasons" in run.path("report.html").read_text()
    again = CliRunner().invoke(app, ["analyze", str(run.directory), "--samples", "0"])
    assert isinstance(again.exception, InputError) and "--overwrite" in str(again.exception)
    run.path(stored.FILE).write_text("{}")
    with pytest.raises(InputError, match="rlsp analyze"):
        stored.read(run)
    for options in (["--against", str(run.directory)], ["--lenient"]):
        refused = CliRunner().invoke(app, ["analyze", str(run.directory), *options])
        assert isinstance(refused.exception, InputError)


def test_a_run_without_a_trained_model_is_not_analysed(tmp_path: Path) -> None:
    run = runs.create(tmp_path / "run", load(Recipe, "nano", SHRUNK))
    refused = CliRunner().invoke(app, ["analyze", str(run.directory)])
    assert isinstance(refused.exception, InputError) and "rlsp resume" in str(refused.exception)


def test_pass_at_k_beside_the_base() -> None:
    """Of two problems the base solves a once in two; the trained model always; b stays unsolved."""
    base = [graded("a", 0, 1, True), graded("a", 1, 1, False), graded("b", 0, 1, False), graded("b", 1, 1, False)]
    trained = [graded("a", 0, 1, True), graded("a", 1, 1, True), graded("b", 0, 1, False), graded("b", 1, 1, False)]
    first, last = compare([("base", "Base", base), ("rlsp", "RLSP", trained)])
    assert {k: each.value for k, each in first.pass_at.items()} == {1: 0.25, 2: 0.5} and first.over_base == {}
    assert {k: each.value for k, each in last.over_base.items()} == {1: 0.25, 2: 0.0}
    with pytest.raises(ValueError, match="the problems differ"):
        compare([("base", "Base", base), ("rlsp", "RLSP", trained[:2])])


def test_nothing_is_new_where_there_is_nothing_to_compare_with() -> None:
    alone = {"a": [word_patterns("one two three")]}
    assert against(alone, alone) is None
    assert against(alone, {}) is None
    both = alone | {"b": [word_patterns("four five six")]}
    found = against(alone, both)
    assert found is not None and found.share.value == 1.0

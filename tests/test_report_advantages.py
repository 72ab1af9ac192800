"""The advantages that the page shows are those of the loss, on the text of their own tokens."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from rlsp import runs
from rlsp.config import Recipe, load
from rlsp.engines import native
from rlsp.engines.progress import Silent
from rlsp.files import read_records, write_records
from rlsp.report import explorer
from rlsp.report.advantages import passages, token_ends, tokenizer_of
from rlsp.report.evaluations import read_evaluations
from rlsp.tasks import countdown
from rlsp.types import Advantages, Finish, Reason, Rollout, Verdict


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> runs.Run:
    """Two steps of the nano recipe."""
    small = ["rl.steps=2", "demonstrations.count=60", "sft.epochs=1", "evaluation.problems=4"]
    recipe = load(Recipe, "nano", [*small, "rl.prompts_per_step=16", "rl.critic_warmup_steps=0"])
    out = runs.create(tmp_path_factory.mktemp("runs") / "run", recipe)
    native.run(recipe, out, Silent())
    return out


def rollout(ids: tuple[int, ...], text: str) -> Rollout:
    return Rollout("p", 0, (1,), ids, (0.0,) * len(ids), text, Finish.EOS, 1.0, 0)


def bytewise() -> Tokenizer:
    """A tokenizer whose tokens are bytes, so that most characters take several."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: number for number, letter in enumerate(letters)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def test_each_sampled_token_has_one_finite_advantage(run: runs.Run) -> None:
    for step in (1, 2):
        sampled = list(read_records(run.step_file("rollouts", step), Rollout))
        stored = list(read_records(run.step_file("advantages", step), Advantages))
        assert [(each.problem_id, each.sample) for each in stored] == [
            (each.problem_id, each.sample) for each in sampled
        ]
        assert [len(each.values) for each in stored] == [each.length for each in sampled]
        every = [value for each in stored for value in each.values]
        assert sum(every) / len(every) == pytest.approx(0, abs=1e-3), "PPO whitens them over the step"
        assert sum(value**2 for value in every) / len(every) == pytest.approx(1, abs=1e-2)


def test_tokens_end_where_their_text_ends(run: runs.Run) -> None:
    tokenizer = tokenizer_of(run)
    assert tokenizer is not None
    for each in read_records(run.step_file("rollouts", 1), Rollout):
        ends = token_ends(tokenizer, each)
        assert ends is not None and len(ends) == each.length and ends[-1] == len(each.text)
        starts = [0, *ends[:-1]]
        pieces = [each.text[start:end] for start, end in zip(starts, ends, strict=True)]
        assert all(piece in tokenizer.decode([token]) for piece, token in zip(pieces, each.response_ids, strict=True))


def test_tokens_of_part_of_a_character() -> None:
    tokenizer = bytewise()
    text = "aé🙂b"
    ends = token_ends(tokenizer, rollout(tuple(tokenizer.encode(text).ids), text))
    assert ends == [1, 1, 2, 2, 2, 2, 3, 4]
    cut = rollout(tuple(tokenizer.encode(text).ids)[:4], "aé\ufffd")
    assert token_ends(tokenizer, cut) is None, "half a character decodes to a sign of its own"


def test_text_that_is_not_of_the_tokens_has_no_places() -> None:
    tokenizer = bytewise()
    assert token_ends(tokenizer, rollout(tuple(tokenizer.encode("other").ids), "text")) is None


def test_equal_neighbours_are_one_passage() -> None:
    assert passages([2, 3, 5, 5, 9], [0.5, 0.5, -1.0, 7.0, 0.5]) == [(3, 0.5), (5, -1.0), (9, 0.5)]
    assert passages([], []) == []


def test_the_page_carries_them_for_training_alone(run: runs.Run) -> None:
    problems = {each.id: each for each in explorer._problems(run, "train", "reserve")}
    tokenizer = tokenizer_of(run)
    shown = list(explorer._of_step(run, 1, problems, tokenizer))
    assert shown and all(each.advantages for each in shown)
    tests = list(explorer.of_evaluation(run, read_evaluations(run)[0], "Base"))
    assert tests and not any(each.advantages for each in tests)
    page = explorer.of_run(run, [])
    assert page is not None and page.advantages


def test_a_step_without_them_is_shown_without(run: runs.Run, tmp_path: Path) -> None:
    problems = {each.id: each for each in explorer._problems(run, "train", "reserve")}
    path = run.step_file("advantages", 2)
    stored = list(read_records(path, Advantages))
    write_records(path, [Advantages(each.problem_id, each.sample, ()) for each in stored])
    assert not any(each.advantages for each in explorer._of_step(run, 2, problems, tokenizer_of(run)))
    path.unlink()
    assert not any(each.advantages for each in explorer._of_step(run, 2, problems, tokenizer_of(run)))


def response(text: str, advantages: list[tuple[int, float]]) -> explorer.Response:
    problem, verdict = countdown.problem([3, 7, 12], 33, 1), Verdict(False, "", Reason.NO_ANSWER)
    return explorer.Response(problem, "RL step 5", 0, verdict, 9, False, text, advantages)


def test_a_passage_that_the_page_cuts_ends_there() -> None:
    """As of group-relative advantages, which are one passage a response."""
    assert explorer._passages(response("x" * 13_000, [(13_000, 0.5)])) == [12_000, 50]
    assert explorer._passages(response("x" * 13_000, [(100, 0.5), (12_500, -1.0), (13_000, 2.0)])) == [
        *(100, 50),
        *(12_000, -100),
    ]


def test_places_are_those_of_the_text_as_it_is_shown() -> None:
    """Characters that show nothing become one unit each, whatever they were; an emoji is two units for a browser."""
    assert list(explorer._units("a🙂b")) == [0, 1, 3, 4]
    assert list(explorer._units("a\U000e0067b")) == [0, 1, 2, 3]
    assert explorer._passages(response("\U000e0067🙂b", [(1, 0.5), (2, 0.25), (3, 1.0)])) == [1, 50, 3, 25, 4, 100]

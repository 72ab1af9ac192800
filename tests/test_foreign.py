"""Responses that other programs wrote: every documented schema, and what each one refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rlsp.errors import InputError
from rlsp.files import write_records
from rlsp.rollouts import foreign
from rlsp.rollouts.foreign import Answers
from rlsp.tasks.data import identity, read_problems
from rlsp.types import Finish, Problem, Rollout

SHARED = Path(__file__).parents[2] / "shared" / "data" / "math500_rollouts"
QUESTION = {"question": "What is 6 × 7?", "answer": "42"}
HARNESS = {
    "doc_id": 0,
    "doc": {"question": "What is 6 × 7?", "answer": "6 × 7 = 42 #### 42"},
    "target": "6 × 7 = 42 #### 42",
    "arguments": {"gen_args_0": {"arg_0": "Q: What is 6 × 7?", "arg_1": {"until": ["Q:"]}}},
    "resps": [["It is 42."]],
    "filtered_resps": ["42"],
    "filter": "strict-match",
    "metrics": ["exact_match"],
    "exact_match": 1.0,
}


def batch(identity: str, *texts: str | None, finish: str = "stop", **message: Any) -> dict[str, Any]:
    choices = [
        {"index": index, "message": {"role": "assistant", "content": text, **message}, "finish_reason": finish}
        for index, text in enumerate(texts)
    ]
    body = {"id": "c", "choices": choices, "usage": {"prompt_tokens": 5, "completion_tokens": 9}}
    return {"id": "b", "custom_id": identity, "response": {"status_code": 200, "body": body}, "error": None}


def chat(*turns: tuple[str, Any], **rest: Any) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": content} for role, content in turns], "answer": "42", **rest}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Holds problems.jsonl of two questions."""
    lines = [QUESTION | {"level": "Level 2"}, {"problem": "What is 1 + 1?", "answer": 2, "id": "sum"}]
    (tmp_path / "problems.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return tmp_path


def read(folder: Path, *objects: Any, problems: bool = False, verifier: str | None = None) -> Answers:
    path = folder / "responses.jsonl"
    path.write_text("\n".join(json.dumps(each) for each in objects))
    return foreign.read(path, folder / "problems.jsonl" if problems else None, verifier)


def test_one_response_a_line(folder: Path) -> None:
    rows = [QUESTION | {"response": "42", "level": "Level 3"}, QUESTION | {"response": "41", "level": "Level 3"}]
    answers = read(folder, *rows)
    (problem,) = answers.problems
    assert problem == Problem(identity("math", QUESTION["question"]), "math", "What is 6 × 7?", "42", 3, "responses")
    assert [(each.problem_id, each.sample, each.text) for each in answers.responses] == [
        (problem.id, 0, "42"),
        (problem.id, 1, "41"),
    ]
    first = answers.responses[0]
    assert (first.finish, first.tokens, first.published_correct, first.published_pred) == (None, None, None, None)


def test_several_responses_a_line_with_what_is_known_of_each(folder: Path) -> None:
    row = {
        "prompt": "What is 6 × 7?", "answer": 42.0, "id": 7, "responses": ["a", "b", ""], "tokens": [5, 6, 1],
        "finish": ["stop", "length", None], "published_correct": [True, False, None], "published_pred": ["42", "b", 3],
    }  # fmt: skip
    answers = read(folder, row, verifier="exact")
    assert (answers.problems[0].id, answers.problems[0].task, answers.problems[0].answer) == ("7", "exact", "42")
    assert [each.finish for each in answers.responses] == [Finish.EOS, Finish.LENGTH, None]
    assert [each.tokens for each in answers.responses] == [5, 6, 1]
    assert [each.published_correct for each in answers.responses] == [True, False, None]
    assert [each.published_pred for each in answers.responses] == ["42", "b", "3"]


def test_own_rollouts_are_joined_to_their_problems(tmp_path: Path) -> None:
    problem = Problem("countdown/1", "countdown", "Use 1 to make 1.", "1", 2)
    rollouts = [
        Rollout(problem.id, sample, (1,), (5, 6), (-0.1, -0.2), "1", finish, 1.0, 0)
        for sample, finish in ((1, Finish.LENGTH), (0, Finish.EOS))
    ]
    write_records(tmp_path / "problems.jsonl", [problem])
    write_records(tmp_path / "rollouts.jsonl.zst", rollouts)
    answers = foreign.read(tmp_path / "rollouts.jsonl.zst", tmp_path / "problems.jsonl")
    assert answers == foreign.from_rollouts([problem], rollouts)
    assert [(each.sample, each.tokens, each.finish) for each in answers.responses] == [
        (1, 2, Finish.LENGTH),
        (0, 2, Finish.EOS),
    ]
    again = foreign.read(tmp_path / "rollouts.jsonl.zst", tmp_path / "problems.jsonl", "exact")
    assert again.problems[0].task == "exact", "an explicit verifier is taken over the problem's own"
    write_records(tmp_path / "rollouts.jsonl.zst", [rollouts[0], rollouts[0]])
    with pytest.raises(InputError, match=r"zst:2: sample 1 of problem 'countdown/1' is there twice"):
        foreign.read(tmp_path / "rollouts.jsonl.zst", tmp_path / "problems.jsonl")


def test_lm_evaluation_harness(folder: Path) -> None:
    """Each filter repeats the responses: those of the first are read."""
    other = HARNESS | {"filter": "flexible-extract", "filtered_resps": ["6"], "exact_match": 0.0}
    answers = read(folder, HARNESS, other)
    assert answers.schema == "lm-evaluation-harness samples"
    assert [problem.answer for problem in answers.problems] == ["42"]
    (response,) = answers.responses
    assert (response.text, response.published_correct, response.published_pred) == ("It is 42.", True, "42")


def test_lm_evaluation_harness_with_repeats(folder: Path) -> None:
    answers = read(folder, HARNESS | {"resps": [["a", "b"]], "filtered_resps": [["1", "2"]]})
    assert [each.text for each in answers.responses] == ["a", "b"]
    assert [each.published_pred for each in answers.responses] == ["1", "2"]
    assert [each.published_correct for each in answers.responses] == [None, None], "one figure for both says of neither"


def test_openai_batch_output_is_joined_by_id(folder: Path) -> None:
    product = identity("math", QUESTION["question"])
    answers = read(folder, batch("sum", "2", "3", finish="length"), batch(product, "42"), problems=True)
    assert [problem.answer for problem in answers.problems] == ["2", "42"]
    assert answers.problems[1].level == 2
    assert [(each.problem_id, each.sample) for each in answers.responses[:2]] == [("sum", 0), ("sum", 1)]
    assert [each.finish for each in answers.responses] == [Finish.LENGTH, Finish.LENGTH, Finish.EOS]
    assert [each.tokens for each in answers.responses] == [None, None, 9], "usage counts all choices together"


def test_openai_batch_output_is_joined_by_row_number(folder: Path) -> None:
    answers = read(folder, batch("1", "2"), batch("0", "42"), problems=True)
    assert [problem.answer for problem in answers.problems] == ["2", "42"]
    assert [each.problem_id for each in answers.responses] == ["sum", identity("math", QUESTION["question"])]


@pytest.mark.parametrize("names", [("1", "2", "3"), ("3", "1")])
def test_ids_that_look_like_row_numbers_are_ids(names: tuple[str, ...], tmp_path: Path) -> None:
    lines = [{"id": number, "question": f"{number} + 0?", "answer": number} for number in (1, 2, 3)]
    (tmp_path / "problems.jsonl").write_text("\n".join(map(json.dumps, lines)))
    answers = read(tmp_path, *(batch(name, name) for name in names), problems=True)
    assert [problem.answer for problem in answers.problems] == list(names)


def test_ids_and_row_numbers_are_not_mixed(tmp_path: Path) -> None:
    """Problems counted from 1, responses from 0: all but the first one would meet the problem before theirs."""
    lines = [{"id": number, "question": f"{number} + 0?", "answer": number} for number in (1, 2, 3)]
    (tmp_path / "problems.jsonl").write_text("\n".join(map(json.dumps, lines)))
    numbered = read(tmp_path, batch("0", "1"), batch("1", "2"), batch("2", "3"), problems=True)
    assert [problem.answer for problem in numbered.problems] == ["1", "2", "3"]
    with pytest.raises(InputError, match=r"jsonl:1: .*no problem '0': .* all by id.* '1', or all by row number from 0"):
        read(tmp_path, batch("0", "1"), batch("3", "3"), problems=True)


def test_split_off_reasoning_goes_back_before_the_answer(folder: Path) -> None:
    answers = read(
        folder,
        batch("1", "2", reasoning_content="one and one"),
        batch("0", None, reasoning_content="cut", finish="length"),
        problems=True,
    )
    assert [each.text for each in answers.responses] == ["<think>one and one</think>2", "<think>cut</think>"]


def test_an_ending_that_is_neither_is_unknown(folder: Path) -> None:
    answers = read(folder, batch("sum", "2", finish="content_filter"), problems=True)
    assert answers.responses[0].finish is None


def test_chat_records(folder: Path) -> None:
    parts = [{"type": "text", "text": "What is "}, {"type": "text", "text": "6 × 7?"}]
    answers = read(folder, chat(("system", "Be brief."), ("user", parts), ("assistant", "42"), finish="stop"))
    assert answers.problems[0].id == identity("math", QUESTION["question"])
    assert (answers.responses[0].text, answers.responses[0].finish) == ("42", Finish.EOS)


def test_half_a_surrogate_pair_does_not_stop_the_grading(folder: Path) -> None:
    path = folder / "responses.jsonl"
    path.write_text('{"question": "q", "answer": "1", "response": "\\ud83d\\ude00 \\ud83d 1"}')
    assert foreign.read(path).responses[0].text == "😀 � 1"


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ([1, 2], ["a JSON array; write its objects one a line"]),
        (1, ["a JSON object is needed", "the schemas known"]),
        ({"text": "42"}, ["no known schema has the keys 'text'", "custom_id", "messages", "resps"]),
        ({"answer": "42", "response": "x"}, ["none of question, problem, prompt", "'answer', 'response'"]),
        ({"question": "q", "response": "x"}, ["none of answer, solution"]),
        (QUESTION | {"responses": []}, ["the list of responses is empty"]),
        (QUESTION | {"responses": "42"}, ["'responses' is a list of texts"]),
        (QUESTION | {"response": 42}, ["response 0 is no text: 42"]),
        (QUESTION | {"responses": ["a", None]}, ["response 1 is no text: None"]),
        (QUESTION | {"response": "a", "responses": ["a"]}, ["both 'response' and 'responses'"]),
        (QUESTION | {"responses": ["a", "b"], "tokens": [1]}, ["'tokens'", "each of 2 responses, got 1 values"]),
        (QUESTION | {"response": "a", "tokens": -1}, ["-1"]),
        (QUESTION | {"response": "a", "tokens": True}, ["True"]),
        (QUESTION | {"response": "a", "finish": "tired"}, ["'tired'", "eos, stop, length"]),
        (QUESTION | {"response": "a", "finish": ["eos"]}, ["['eos']"]),
        (QUESTION | {"response": "a", "published_correct": "yes"}, ["published_correct", "'yes'"]),
        (QUESTION | {"response": "a", "id": ["x"]}, ["an id is text or a whole number"]),
        ({"question": " ", "answer": "1", "response": "a"}, ["the question is empty"]),
        ({"question": "q", "answer": "####", "response": "a"}, ["the reference answer is empty"]),
        ({"question": "q", "answer": True, "response": "a"}, ["neither text nor a number: True"]),
        ({"question": ["q"], "answer": "1", "response": "a"}, ["the question is no text"]),
        (HARNESS | {"resps": [[[-1.5, False]], [[-2.0, True]]]}, ["only tasks that generate"]),
        (HARNESS | {"resps": [[]]}, ["'resps' is empty"]),
        (HARNESS | {"resps": [[["-1.5", "False"]]]}, ["response 0 is no text"]),
        (HARNESS | {"doc": "What?"}, ["'doc' is an object"]),
        (HARNESS | {"doc": {"query": "What?"}}, ["none of question, problem, prompt", "'query'"]),
        (chat(("user", "q")), ["must end with a user's and an assistant's turn", "['user']"]),
        (chat(("assistant", "q"), ("user", "q")), ["['assistant', 'user']"]),
        (chat(("user", [{"type": "image_url"}]), ("assistant", "a")), ["a part of its content is no text"]),
        ({"messages": "hello", "answer": "1"}, ["must end with"]),
    ],
)
def test_what_cannot_be_graded_is_refused_with_its_place(row: Any, words: list[str], folder: Path) -> None:
    good = QUESTION | {"response": "42"}
    with pytest.raises(InputError) as refused:
        read(folder, row)
    assert "responses.jsonl:1" in str(refused.value)
    assert all(word in str(refused.value) for word in words), refused.value
    with pytest.raises(InputError, match=r"responses\.jsonl:2"):
        read(folder, good, row)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (batch("2", "x"), ["no problem '2'", "from 0 to 1"]),
        (batch("request-1", "x"), ["no problem 'request-1'"]),
        (batch("sum"), ["empty list of choices"]),
        ({"custom_id": "sum", "response": None, "error": {"code": "expired"}}, ["no completion", "expired"]),
        ({"custom_id": "sum", "response": {"status_code": 500, "body": {"error": "oops"}}}, ["no completion", "oops"]),
        (batch("sum", 5), ["is no text: 5"]),  # type: ignore[arg-type]
    ],
)
def test_batches_that_failed_or_fit_no_problem_are_refused(row: Any, words: list[str], folder: Path) -> None:
    with pytest.raises(InputError) as refused:
        read(folder, row, problems=True)
    assert all(word in str(refused.value) for word in ["responses.jsonl:1", *words]), refused.value


def test_questions_come_from_one_place(folder: Path) -> None:
    with pytest.raises(InputError, match="lack their questions: give them by --problems"):
        read(folder, batch("sum", "2"))
    with pytest.raises(InputError, match="carry their questions: leave out --problems"):
        read(folder, QUESTION | {"response": "42"}, problems=True)


def test_mixed_schemas_are_refused(folder: Path) -> None:
    with pytest.raises(
        InputError, match=r"jsonl:2: mixed schemas: chat records here, questions with a response in line"
    ):
        read(folder, QUESTION | {"response": "42"}, chat(("user", "q"), ("assistant", "a")))


@pytest.mark.parametrize("other", [{"answer": "41"}, {"question": "What is 6 + 7?", "answer": "42"}])
def test_one_id_has_one_question_and_one_answer(other: dict[str, str], folder: Path) -> None:
    row = QUESTION | {"id": "a", "response": "42"}
    with pytest.raises(InputError, match=r"jsonl:2: problem 'a' has another (question|reference answer) before"):
        read(folder, row, row | other)


@pytest.mark.parametrize("content", ["", "\n\n"])
def test_an_empty_file_has_no_responses(content: str, tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").write_text(content)
    with pytest.raises(InputError, match="no responses in it"):
        foreign.read(tmp_path / "r.jsonl")


@pytest.mark.parametrize(("name", "right"), [("base", 200), ("rlsp-length", 218)])
def test_published_rollouts_of_math_500(name: str, right: int) -> None:
    path = SHARED / f"qwen2.5-1.5b-instruct.{name}.jsonl"
    if not path.is_file():
        pytest.skip(f"{path} is absent")
    answers = foreign.read(path)
    assert len(answers.problems) == len(answers.responses) == 500
    assert sum(bool(each.published_correct) for each in answers.responses) == right
    assert all(each.published_pred is not None for each in answers.responses)
    levels = [problem.level for problem in answers.problems]
    assert [levels.count(level) for level in range(1, 6)] == [43, 90, 105, 128, 134]


def test_tests_and_options_go_to_their_verifiers(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    rows = [{"problem": "Add.", "tests": [{"arguments": [1, 2], "returns": 3}], "function": "add", "responses": ["x"]}]
    path.write_text("\n".join(map(json.dumps, rows)))
    (problem,) = foreign.read(path, verifier="code").problems
    assert problem.grading == {"tests": [{"arguments": [1, 2], "returns": 3}], "function": "add"}
    with pytest.raises(InputError, match=r":1: no reference answer, and nothing else that"):
        foreign.read(path)
    path.write_text(json.dumps({"problem": "Capital?", "options": ["Rome", "Paris"], "answer": "B", "response": "x"}))
    (problem,) = foreign.read(path, verifier="choice").problems
    assert (problem.answer, problem.grading) == ("B", {"options": ["Rome", "Paris"]})


def test_a_file_does_not_choose_the_code_that_judges_it(tmp_path: Path) -> None:
    problems = tmp_path / "problems.jsonl"
    row = {"id": "a", "task": "some.module:judge", "question": "q", "answer": "1", "grading": {}}
    problems.write_text(json.dumps(row))
    for read in (foreign.read_problems, lambda path: read_problems(str(path))):
        with pytest.raises(InputError, match=r"judged by the function 'some.module:judge': agree by --verifier"):
            read(problems)
    assert foreign.read_problems(problems, "some.module:judge")[0].task == "some.module:judge"

"""reasoning-gym: every task by name, judged by its own scorer, with nothing executed that the model wrote."""

from __future__ import annotations

import ast
import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from rlsp.errors import InputError
from rlsp.tasks import gym
from rlsp.tasks.gym import decode, encode, read_problems
from rlsp.types import Problem, Reason, from_json, to_json
from rlsp.verifiers import verify, verify_all
from rlsp.verifiers.leash import leash
from rlsp.verifiers.settings import Settings

pytest.importorskip("reasoning_gym")

NO_REFERENCE = {
    "boxnet": "",
    "graph_color": "possible_answer",
    "propositional_logic": "example_answer",
    "rubiks_cube": "example_correct_answer",
    "rush_hour": "",
}
"""Tasks that give no answer: where their metadata holds a right one, if anywhere."""


def one(name: str, seed: int = 0) -> Problem:
    (problem,) = read_problems(name, 1, seed)
    return problem


def tagged(answer: str) -> str:
    return f"Well.\n<answer>\n{answer}\n</answer>"


def metadata(problem: Problem) -> dict[str, Any]:
    return decode(problem.grading["entry"])["metadata"]


def right_answer(problem: Problem) -> str:
    known = problem.answer or metadata(problem).get(NO_REFERENCE[problem.grading["name"]], "")
    return known if isinstance(known, str) else json.dumps(known)


def test_every_task_survives_json_and_takes_its_own_answer() -> None:
    names = gym.names()
    problems = [from_json(Problem, json.loads(json.dumps(to_json(one(name))))) for name in names]
    assert len(names) > 100
    assert {name for name, problem in zip(names, problems, strict=True) if not problem.answer} == NO_REFERENCE.keys()
    answers = [right_answer(problem) for problem in problems]
    verdicts = verify_all(problems, [tagged(answer) for answer in answers], Settings(deadline_seconds=30))
    refused = {
        name: verdict
        for name, answer, verdict in zip(names, answers, verdicts, strict=True)
        if answer and not verdict.correct
    }
    assert not refused


def test_nonsense_is_right_in_no_task() -> None:
    problems = [one(name) for name in gym.names() if name not in ("knight_swap", "futoshiki")]
    verdicts = verify_all(problems, [tagged("banana")] * len(problems), Settings(deadline_seconds=30))
    assert not [verdict for verdict in verdicts if verdict.correct or verdict.reason.unjudged]


def test_problems_are_different_and_the_same_again() -> None:
    problems = read_problems("string_synthesis", 12, 0)
    assert len({problem.question for problem in problems}) == len({problem.id for problem in problems}) == 12
    assert read_problems("string_synthesis", 12, 0) == problems
    assert problems[0].id.startswith("gym/string_synthesis/")
    assert problems[0].source.startswith("reasoning-gym ")


def test_a_problem_of_two_seeds_is_one_problem() -> None:
    assert read_problems("gcd", 2, 0)[1].id == read_problems("gcd", 1, 1)[0].id


def test_settings_reach_the_generator_and_its_scorer() -> None:
    problem = one_with({"min_terms": 2, "max_terms": 2, "min_digits": 1, "max_digits": 1})
    assert problem.question.count("+") + problem.question.count("-") == 1
    assert verify(problem, tagged(problem.answer)).correct


def one_with(settings: dict[str, Any]) -> Problem:
    return read_problems("chain_sum", 1, 0, settings)[0]


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("chain_sums", {}, "no gym task 'chain_sums'; there are 1.., for instance chain_sum"),
        ("composite", {}, "'composite' mixes others"),
        ("chain_sum", {"terms": 2}, "unexpected keyword argument 'terms'"),
        ("chain_sum", {"min_terms": 5, "max_terms": 2}, "max_terms must be >= min_terms"),
        ("chain_sum", {"size": 2}, "size is no setting of its own"),
    ],
)
def test_a_request_that_cannot_be_met_is_an_error(name: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_problems(name, 1, 0, settings)


def test_too_few_different_problems_are_an_error() -> None:
    few = {"min_terms": 2, "max_terms": 2, "min_digits": 1, "max_digits": 1}
    with pytest.raises(InputError, match=r"has only \d+ different problems among 1600, 400 were asked for"):
        read_problems("chain_sum", 400, 0, few)


def test_without_reasoning_gym_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = one("gcd")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'rlsp\[gym\]'"):
        read_problems("gcd", 1, 0)
    with pytest.raises(InputError, match=r"pip install 'rlsp\[gym\]'"):
        verify(problem, tagged("1"))


@pytest.mark.parametrize(
    "value",
    [
        {"a": [1, 2.5, True, None, "x"]},
        {"board": ((1, 2), (3,)), "empty": ()},
        {1: "one", (2, 3): "pair"},
        {"$tuple": [1]},
        {"$items": {"$fraction": "x"}},
        Fraction(2, 3),
    ],
)
def test_what_json_cannot_hold_comes_back_equal(value: Any) -> None:
    back = decode(json.loads(json.dumps(encode(value))))
    assert back == value
    assert repr(back) == repr(value)


def test_what_cannot_be_kept_is_an_error() -> None:
    with pytest.raises(TypeError, match="a set can't be kept"):
        encode({"a": {1, 2}})


@pytest.mark.parametrize(
    ("response", "correct"),
    [
        ("<answer>{}</answer>", True),
        ("<answer>\n{}\n</answer> Done.", True),
        ("<answer>1</answer> no: <answer>{}</answer>", True),
        ("<answer>{}</answer> no: <answer>1</answer>", False),
        ("<answer>{}</answer> no: <answer>", True),
        (r"<answer>\boxed{{{}}}</answer>", True),
        (r"It is \boxed{{{}}}", True),
        ("The answer is {}.", True),
        ("Perhaps {}", False),
        ("{}</answer>", False),
        ("", False),
    ],
)
def test_the_answer_is_what_is_tagged_or_marked(response: str, correct: bool) -> None:
    problem = one("products")
    verdict = verify(problem, response.format(problem.answer))
    assert verdict.correct is correct
    assert verdict.reference == problem.answer


def test_part_of_a_score_is_not_correct() -> None:
    problem = one("countdown")
    verdict = verify(problem, tagged("1 + 1"))
    assert (verdict.correct, verdict.reason, verdict.detail) == (False, Reason.MISMATCH, "score 0.05")


def test_a_board_of_several_lines_may_stand_in_a_box() -> None:
    problem = one("mini_sudoku")
    assert "\n" in problem.answer
    verdict = verify(problem, rf"\boxed{{{problem.answer}}}")
    assert (verdict.correct, verdict.detail) == (True, "score 1")


def test_an_antiderivative_in_another_form_is_right() -> None:
    problem = one("simple_integration")
    assert verify(problem, tagged(f"7 + ({problem.answer}) + sin({metadata(problem)['variable']})*0")).correct
    assert not verify(problem, tagged(f"({problem.answer}) + {metadata(problem)['variable']}")).correct


def test_answers_that_a_scorer_would_accept_wrongly_are_refused() -> None:
    life = next(problem for problem in read_problems("game_of_life_halting", 20, 0) if problem.answer == "False")
    assert [verify(life, tagged(answer)).correct for answer in ("True", "banana", "false")] == [False, False, True]
    puzzle = one("puzzle24")
    assert verify(puzzle, tagged(puzzle.answer)).correct
    assert sorted(metadata(puzzle)["numbers"]) != [1, 2, 3, 4]
    assert not verify(puzzle, tagged("1*2*3*4")).correct


HOSTILE = (
    "__import__('os').mkdir({path!r})",
    "[__import__('os').mkdir({path!r})]",
    "5! + __import__('os').mkdir({path!r})",
    "eval(\"__import__('os').mkdir({path!r})\")",
    "S(\"__import__('os').mkdir({path!r})\")",
    "(lambda: __import__('os').mkdir({path!r}))()",
    "[x for x in [__import__('os').mkdir({path!r})]]",
)
EVALUATING = (
    "binary_matrix",
    "countdown",
    "intermediate_integration",
    "n_queens",
    "polynomial_multiplication",
    "puzzle24",
    "simple_integration",
    "spiral_matrix",
    "string_insertion",
)
"""The tasks whose scorers evaluate the answer."""


def test_nothing_that_an_answer_says_is_executed(tmp_path: Path) -> None:
    path = str(tmp_path / "canary")
    pairs = [(one(name), tagged(text.format(path=path))) for name in EVALUATING for text in HOSTILE]
    verdicts = verify_all(*map(list, zip(*pairs, strict=True)))  # type: ignore[arg-type]
    assert not Path(path).exists()
    assert not any(verdict.correct for verdict in verdicts)
    after = one("simple_integration")
    assert verify(after, tagged(after.answer)).correct


def test_an_endless_computation_is_late() -> None:
    verdict = verify(one("countdown"), tagged("9**9**9**9"), Settings(deadline_seconds=1))
    assert verdict.reason in (Reason.TIMEOUT, Reason.OUT_OF_MEMORY)
    assert verdict.reason.unjudged


@pytest.mark.parametrize("code", ["1 + 2", "[1, 'a']", "x + sin(x)", "factorial(3)"])
def test_the_leash_lets_arithmetic_through(code: str) -> None:
    import sympy

    with leash():
        ast.literal_eval("[1]")
        sympy.parse_expr("2*x + exp(y)/3 - 4!")
        eval(code, {"x": sympy.Symbol("x"), "sin": sympy.sin, "factorial": sympy.factorial})


@pytest.mark.parametrize(
    "code", [*HOSTILE[:3], "open('x')", "().__class__", "[i for i in (1,)]", "lambda: 1", "print(1)"]
)
def test_the_leash_stops_anything_else(code: str, tmp_path: Path) -> None:
    import sympy

    path = str(tmp_path / "canary")
    with leash(), pytest.raises(PermissionError, match="more than arithmetic"):
        sympy.parse_expr(code.format(path=path)) if "5!" in code else eval(code.format(path=path))
    assert not Path(path).exists()


def test_the_leash_comes_off(tmp_path: Path) -> None:
    path = tmp_path / "canary"
    with leash():
        pass
    eval(HOSTILE[0].format(path=str(path)))
    assert path.exists()


@pytest.mark.parametrize("key", ["name", "settings", "entry"])
def test_a_problem_that_was_not_made_here_is_an_error(key: str) -> None:
    problem = one("gcd")
    broken = Problem(problem.id, "gym", "What?", "1", grading={**problem.grading, key: None})
    with pytest.raises(InputError, match=rf"grading\.{key} is None, not what a gym task needs"):
        verify(broken, tagged("1"))

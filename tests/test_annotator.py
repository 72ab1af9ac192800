"""A scripted endpoint labels sentences; agreement is counted by hand."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from rlsp.analysis.analyze import Read
from rlsp.analysis.annotator import annotate
from rlsp.behaviours.spans import Behaviour
from rlsp.cli import app
from rlsp.config.exploration import JudgeRecipe
from rlsp.errors import InputError
from rlsp.evaluation.grading import grade
from rlsp.exploration.judge.client import Client, client_for
from rlsp.rollouts import foreign
from rlsp.verifiers.settings import STRICT
from tests.scripted_endpoint import Answer, completion, endpoint, ticket_of

TEXT = "First I add the numbers.\nThe sum is 5.\nLet's verify it: 2 + 3 = 5.\nThe answer is \\boxed{5}."


@pytest.fixture
def path(tmp_path: Path) -> Path:
    rows = [{"problem": f"What is 2 + 3? ({n})", "answer": "5", "responses": [TEXT]} for n in range(6)]
    path = tmp_path / "responses.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def read(path: Path) -> Read:
    answers = foreign.read(path, None, None)
    return Read(path.name, answers, grade(answers, STRICT))


def labelled(body: dict[str, Any], labels: Any) -> Answer:
    return Answer(completion(json.dumps({"ticket": ticket_of(body), "labels": labels})))


def client(url: str) -> Client:
    return client_for(JudgeRecipe(model="reader", base_url=url, retries=0))


def test_agreement_is_counted_by_sentence(path: Path) -> None:
    """The annotator finds the verification of the even problems, which the words find in all, and a subgoal that
    the words do not see."""

    def script(_: int, body: dict[str, Any]) -> Answer:
        number = int(re.findall(r"\((\d)\)", body["messages"][-1]["content"])[0])
        return labelled(body, {"2": ["verification"]} if number % 2 == 0 else {"1": ["subgoal"]})

    with endpoint(script) as seen:
        found = annotate(read(path), client(seen.url), most=10)
    assert (found.responses, found.sentences, found.failed) == (6, 24, {})
    verification, subgoal = found.tables[Behaviour.VERIFICATION], found.tables[Behaviour.SUBGOAL]
    assert (verification.both_right, verification.first_only, verification.second_only) == (3, 0, 3)
    by_chance = 3 / 24 * 18 / 24 + 6 / 24 * 21 / 24
    assert verification.kappa == pytest.approx(1 - 3 / 24 / by_chance)
    assert (subgoal.both_right, subgoal.first_only) == (0, 3)
    assert found.tables[Behaviour.ALTERNATIVE].kappa is None, "nobody saw one"


def test_a_draw_is_the_same_again(path: Path) -> None:
    asked = []
    for _ in range(2):
        with endpoint(lambda _, body: labelled(body, {})) as seen:
            annotate(read(path), client(seen.url), most=3)
        asked.append(sorted(re.findall(r"\(\d\)", "".join(body["messages"][-1]["content"] for body in seen.asked))))
    assert len(asked[0]) == 3 and asked[0] == asked[1]


@pytest.mark.parametrize(
    ("labels", "why"),
    [
        ([], "no labels"),
        ({"9": ["subgoal"]}, "a sentence that is not there"),
        ({"-1": ["subgoal"]}, "a sentence that is not there"),
        ({"1": ["brilliance"]}, "a label that is none"),
        ({"1": "subgoal"}, "a label that is none"),
        ({"1": [["subgoal"]]}, "a label that is none"),
        ({"01": ["subgoal"]}, "a sentence that is not there"),
        ({"9" * 5000: ["subgoal"]}, "a sentence that is not there"),
    ],
)
def test_a_reply_of_another_form_is_counted_and_not_guessed(path: Path, labels: Any, why: str) -> None:
    with endpoint(lambda number, body: labelled(body, labels if number else {})) as seen:
        found = annotate(read(path), client(seen.url), most=6)
    assert found.responses == 1 and sum(found.failed.values()) == 5
    assert all(why in each for each in found.failed)


def test_an_endpoint_that_never_labels_is_an_error(path: Path) -> None:
    with endpoint(lambda *_: Answer(status=500)) as seen, pytest.raises(InputError, match=r"none of 6 .*status 500"):
        annotate(read(path), client(seen.url), most=6)


def test_on_the_command_line(path: Path) -> None:
    with endpoint(lambda _, body: labelled(body, {"2": ["verification"]})) as seen:
        options = ["--annotator", "reader", "--annotator-url", seen.url, "--annotated", "4"]
        done = CliRunner().invoke(app, ["analyze", str(path), *options])
    assert done.exit_code == 0, done.output
    assert "16 sentences of 4 responses" in done.output and "1.00 (" in done.output
    refused = CliRunner().invoke(
        app, ["analyze", str(path), "--annotator", "reader", "--annotator-url", "http://a.b/v1"]
    )
    assert isinstance(refused.exception, InputError) and "in clear" in str(refused.exception)

"""Records survive JSON unchanged, and what is not such a record is refused with its place."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from rlsp.errors import InputError
from rlsp.types import (
    Demonstration,
    Exploration,
    Finish,
    Problem,
    Reason,
    Rollout,
    Score,
    Verdict,
    from_json,
    to_json,
)

PROBLEM = Problem("countdown/3-7-12/33", "countdown", "Use 3, 7, 12 to make 33.", "33", 2, "generated")
VERDICT = Verdict(True, "(+(*3 *7) +12)", Reason.MATCH)
EXPLORATION = Exploration(-0.25, {"length": -0.25, "other": 0.1 + 0.2})
ROLLOUT = Rollout("countdown/3-7-12/33", 3, (1, 2), (5, 6, 7), (-0.5, -1e-9, -7.25), "3 × 7\n…", Finish.LENGTH, 0.7, 12)
RECORDS = [
    PROBLEM,
    VERDICT,
    EXPLORATION,
    ROLLOUT,
    Demonstration(PROBLEM, "3 * 7 = 21, 21 + 12 = 33; is it 33? yes", "search"),
    Score("countdown/3-7-12/33", 3, VERDICT, EXPLORATION, 0.8, 0.75),
]


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_record_survives_json(record: Any) -> None:
    assert from_json(type(record), json.loads(json.dumps(to_json(record)))) == record


def test_enumerations_come_back_as_themselves() -> None:
    rollout = from_json(Rollout, json.loads(json.dumps(to_json(ROLLOUT))))
    verdict = from_json(Verdict, json.loads(json.dumps(to_json(VERDICT))))
    assert rollout.finish is Finish.LENGTH
    assert verdict.reason is Reason.MATCH
    assert rollout.response_ids == (5, 6, 7), "a tuple, not the list that JSON holds"


@pytest.mark.parametrize(("finish", "truncated"), [(Finish.EOS, False), (Finish.LENGTH, True)])
def test_length_and_truncation_of_a_rollout(finish: Finish, truncated: bool) -> None:
    rollout = dataclasses.replace(ROLLOUT, finish=finish)
    assert rollout.length == 3, "response tokens only, EOS included"
    assert rollout.truncated is truncated


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: type(record).__name__)
def test_records_are_frozen(record: Any) -> None:
    first = dataclasses.fields(record)[0].name
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(record, first, getattr(record, first))


def changed(record: Any, **values: Any) -> dict[str, Any]:
    return to_json(record) | values


@pytest.mark.parametrize(
    ("cls", "values", "fragments"),
    [
        (Problem, {"id": "a", "task": "t", "question": "q"}, ["Problem", "answer", "required"]),
        (Problem, changed(PROBLEM, level="high"), ["Problem", "level", "'high'"]),
        (Problem, changed(PROBLEM, question=3), ["Problem", "question", "3"]),
        (Problem, ["not", "a", "record"], ["Problem", "dictionary"]),
        (Problem, None, ["Problem", "None"]),
        (Rollout, changed(ROLLOUT, finish="tired"), ["Rollout", "finish", "'tired'"]),
        (Rollout, changed(ROLLOUT, response_ids=[1, "x"]), ["Rollout", "response_ids.1", "'x'"]),
        (Score, changed(RECORDS[-1], verdict={"correct": True}), ["Score", "verdict.answer", "required"]),
        (Score, changed(RECORDS[-1], total="much"), ["Score", "total"]),
    ],
)
def test_refusal_names_place_type_and_field(cls: type[Any], values: Any, fragments: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        from_json(cls, values, where="rollouts.jsonl:17")
    message = str(caught.value)
    assert message.startswith("rollouts.jsonl:17: ")
    for fragment in fragments:
        assert fragment in message


@pytest.mark.parametrize(
    ("cls", "values"),
    [
        (Problem, changed(PROBLEM, anwser="33")),
        (Score, changed(RECORDS[-1], verdict=changed(VERDICT, confidence=1))),
    ],
)
def test_unknown_field_is_refused(cls: type[Any], values: Any) -> None:
    with pytest.raises(InputError):
        from_json(cls, values)

"""The shapes in which other programs write responses, one reader each: a JSON object in, a `Row` out.

A shape is recognised by the keys of its objects. Sources: EleutherAI's lm-evaluation-harness (`--log_samples`),
OpenAI's Batch API output and chat fine-tuning format, and rlsp's own rollouts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rlsp.errors import InputError
from rlsp.rollouts.fields import (
    FINISHES,
    answer_of,
    column,
    extras_of,
    finish_of,
    flag_of,
    identity_of,
    listed,
    message_text,
    prediction_of,
    question_of,
    reference_of,
    text_of,
    tokens_of,
)
from rlsp.tasks.data import level_of
from rlsp.types import Finish, Rollout, from_json

DOCUMENTED = """the schemas known, one JSON object a line:
  {"problem"|"question"|"prompt": …, "answer": …, "response": … or "responses": […]}, if you like with "id", "level",
      "tokens", "finish", "published_correct", "published_pred"; "tests" or "options" for --verifier code or choice
  {"problem_id", "sample", "response_ids", "text", …}     rollouts of rlsp, with --problems
  {"doc", "target", "resps", …}                           samples_*.jsonl of lm-evaluation-harness
  {"custom_id", "response": {"body": …}}                  output of OpenAI's Batch API, with --problems
  {"messages": [… user …, … assistant …], "answer": …}    chat records"""


@dataclass(frozen=True, slots=True)
class Reply:
    """One response; what the file does not say is None. `tokens` is its length in tokens of the model that wrote it."""

    text: str
    finish: Finish | None = None
    tokens: int | None = None
    published_correct: bool | None = None
    published_pred: str | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """Responses to one problem. `question` is None where the problem must be looked up by `identity`; `sample` is None
    where samples are numbered in the order of the file; `extras` is what the verifier may need beyond the answer."""

    identity: str | None
    question: str | None
    answer: str
    level: int
    replies: tuple[Reply, ...]
    sample: int | None = None
    extras: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Schema:
    """`keys` recognise an object, all of them are there. `problems_apart`: the file does not carry its questions."""

    name: str
    keys: frozenset[str]
    parse: Callable[[Mapping[str, Any], str], Row]
    problems_apart: bool = False


def detect(values: Any, where: str) -> Schema:
    """The schema of one object.

    Raises:
        InputError: it is no object, or of none of them.
    """
    if isinstance(values, list):
        raise InputError(f"{where}: a JSON array; write its objects one a line, without the array")
    if not isinstance(values, dict):
        raise InputError(f"{where}: a JSON object is needed, got {values!r:.60}; {DOCUMENTED}")
    for schema in _SCHEMAS:
        if schema.keys <= values.keys():
            return schema
    raise InputError(f"{where}: no known schema has the keys {listed(values)}; {DOCUMENTED}")


def _simple(values: Mapping[str, Any], where: str) -> Row:
    several = "responses" in values
    if several and "response" in values:
        raise InputError(f"{where}: has both 'response' and 'responses': leave out one of them")
    texts = values["responses"] if several else [values["response"]]
    if not isinstance(texts, list):
        raise InputError(f"{where}: 'responses' is a list of texts, got {texts!r:.60}; one text goes under 'response'")
    if not texts:
        raise InputError(f"{where}: the list of responses is empty: drop the row, or sample the problem again")
    columns = {
        key: column(values.get(key), key, len(texts), several, where)
        for key in ("finish", "tokens", "published_correct", "published_pred")
    }
    replies = tuple(
        Reply(
            text_of(text, f"{where}: response {index}"),
            finish_of(columns["finish"][index], where),
            tokens_of(columns["tokens"][index], where),
            flag_of(columns["published_correct"][index], where),
            prediction_of(columns["published_pred"][index], where),
        )
        for index, text in enumerate(texts)
    )
    identity = identity_of(values["id"], f"{where}: id") if "id" in values else None
    question, answer, level = question_of(values, where), answer_of(values, where), level_of(values.get("level"))
    return Row(identity, question, answer, level, replies, extras=extras_of(values))


def _rollout(values: Mapping[str, Any], where: str) -> Row:
    rollout = from_json(Rollout, values, where)
    reply = Reply(text_of(rollout.text, f"{where}: text"), rollout.finish, rollout.length)
    return Row(rollout.problem_id, None, "", 0, (reply,), rollout.sample)


def _harness(values: Mapping[str, Any], where: str) -> Row:
    """`resps` holds a list for each request that the task made of the document, one item for each repeat."""
    document, requests = values["doc"], values["resps"]
    if not isinstance(document, dict):
        raise InputError(f"{where}: 'doc' is an object with the question, got {document!r:.60}")
    if not isinstance(requests, list) or len(requests) != 1 or not isinstance(requests[0], list):
        raise InputError(
            f"{where}: 'resps' {requests!r:.60} is not one list of generated texts; only tasks that generate can be "
            "graded, not those that compare the likelihoods of choices"
        )
    texts = requests[0]
    if not texts:
        raise InputError(f"{where}: 'resps' is empty: drop the row, or sample the problem again")
    filtered = values.get("filtered_resps")
    if isinstance(filtered, list) and len(filtered) == 1 and isinstance(filtered[0], list):
        filtered = filtered[0]
    predictions = filtered if isinstance(filtered, list) and len(filtered) == len(texts) else [None] * len(texts)
    match = values.get("exact_match")
    verdict = bool(match) if len(texts) == 1 and isinstance(match, int | float) and match in (0, 1) else None
    replies = tuple(
        Reply(
            text_of(text, f"{where}: response {index}"),
            published_correct=verdict,
            published_pred=prediction_of(prediction, where),
        )
        for index, (text, prediction) in enumerate(zip(texts, predictions, strict=True))
    )
    answer = reference_of(values["target"], f"{where}: 'target'")
    return Row(None, question_of(document, f"{where}: 'doc'"), answer, level_of(document.get("level")), replies)


def _batch(values: Mapping[str, Any], where: str) -> Row:
    identity = identity_of(values["custom_id"], f"{where}: custom_id")
    response = values["response"]
    body = response.get("body") if isinstance(response, dict) else None
    choices = body.get("choices") if isinstance(body, dict) else None
    if not isinstance(body, dict) or not isinstance(choices, list):
        failure = values.get("error") or response
        raise InputError(
            f"{where}: request {identity!r} has no completion ({failure!r:.120}); repeat it, or drop the line and its "
            "problem"
        )
    if not choices:
        raise InputError(f"{where}: request {identity!r} has an empty list of choices: repeat it")
    usage = body.get("usage")
    tokens = usage.get("completion_tokens") if isinstance(usage, dict) and len(choices) == 1 else None
    replies = []
    for index, choice in enumerate(choices):
        if not isinstance(choice, dict):
            raise InputError(f"{where}: choice {index} is no object: {choice!r:.60}")
        text = message_text(choice.get("message"), f"{where}: the message of choice {index}")
        replies.append(Reply(text, FINISHES.get(str(choice.get("finish_reason"))), tokens_of(tokens, where)))
    return Row(identity, None, "", 0, tuple(replies))


def _chat(values: Mapping[str, Any], where: str) -> Row:
    """The last two messages are the question and the response; what stands before them is the prompt's business."""
    messages = values["messages"]
    roles = (
        [message.get("role") if isinstance(message, dict) else None for message in messages]
        if isinstance(messages, list)
        else []
    )
    if roles[-2:] != ["user", "assistant"]:
        raise InputError(f"{where}: 'messages' must end with a user's and an assistant's turn, its roles are {roles}")
    question = message_text(messages[-2], f"{where}: the user's message")
    if not question.strip():
        raise InputError(f"{where}: the question is empty")
    reply = Reply(
        message_text(messages[-1], f"{where}: the assistant's message"),
        finish_of(values.get("finish"), where),
        tokens_of(values.get("tokens"), where),
    )
    identity = identity_of(values["id"], f"{where}: id") if "id" in values else None
    answer, level = answer_of(values, where), level_of(values.get("level"))
    return Row(identity, question, answer, level, (reply,), extras=extras_of(values))


_SCHEMAS = (
    Schema("rlsp rollouts", frozenset({"problem_id", "response_ids", "text"}), _rollout, problems_apart=True),
    Schema("OpenAI batch output", frozenset({"custom_id", "response"}), _batch, problems_apart=True),
    Schema("lm-evaluation-harness samples", frozenset({"doc", "target", "resps"}), _harness),
    Schema("chat records", frozenset({"messages"}), _chat),
    Schema("questions with responses", frozenset({"responses"}), _simple),
    Schema("questions with a response", frozenset({"response"}), _simple),
)

"""The shapes in which other programs write responses, one reader each: a JSON object in, a `Row` out.

A shape is recognised by the keys of its objects. Sources: EleutherAI's lm-evaluation-harness (`--log_samples`),
OpenAI's Batch API output and chat fine-tuning format, and rlsp's own rollouts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rlsp.errors import InputError
from rlsp.tasks.boxes import last_box
from rlsp.types import Finish, Rollout, from_json

QUESTION_KEYS = ("problem", "question", "prompt")
ANSWER_KEYS = ("answer", "solution")

DOCUMENTED = """the schemas known, one JSON object a line:
  {"problem"|"question"|"prompt": …, "answer": …, "response": … or "responses": […]}, if you like with "id", "level",
      "tokens", "finish", "published_correct", "published_pred"
  {"problem_id", "sample", "response_ids", "text", …}     rollouts of rlsp, with --problems
  {"doc", "target", "resps", …}                           samples_*.jsonl of lm-evaluation-harness
  {"custom_id", "response": {"body": …}}                  output of OpenAI's Batch API, with --problems
  {"messages": [… user …, … assistant …], "answer": …}    chat records"""

_FINISHES = {
    "eos": Finish.EOS,
    "stop": Finish.EOS,
    "length": Finish.LENGTH,
    "max_tokens": Finish.LENGTH,
}
"""What other programs call the two ends of a response; any other end (a content filter, a tool call) is unknown."""


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
    where samples are numbered in the order of the file."""

    identity: str | None
    question: str | None
    answer: str
    level: int
    replies: tuple[Reply, ...]
    sample: int | None = None


@dataclass(frozen=True, slots=True)
class Schema:
    """`keys` recognise an object, all of them must be there. `problems_apart`: the file does not carry its questions."""

    name: str
    keys: frozenset[str]
    parse: Callable[[Mapping[str, Any], str], Row]
    problems_apart: bool = False


def detect(values: Any, where: str) -> Schema:
    """The schema of one object.

    Raises:
        InputError: it is no object, or of none of them.
    """
    if not isinstance(values, dict):
        raise InputError(f"{where}: a JSON object is needed, got {values!r:.60}; {DOCUMENTED}")
    for schema in _SCHEMAS:
        if schema.keys <= values.keys():
            return schema
    raise InputError(f"{where}: no known schema has the keys {_listed(values)}; {DOCUMENTED}")


def question_of(values: Mapping[str, Any], where: str) -> str:
    """The question under the first of `QUESTION_KEYS` that is there, whatever its case.

    Raises:
        InputError: there is none, or it is no text.
    """
    question = text_of(_named(values, QUESTION_KEYS, where), f"{where}: the question")
    if not question.strip():
        raise InputError(f"{where}: the question is empty")
    return question


def reference_of(value: Any, where: str) -> str:
    """The reference answer: of a whole solution what follows `####` (GSM8K) or stands in the last box (MATH).

    Raises:
        InputError: it is empty, or neither text nor a number.
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    text = text_of(value, f"{where}: the reference answer")
    boxed = last_box(text)
    answer = text.rsplit("####", 1)[1].strip() if "####" in text else text.strip() if boxed is None else boxed
    if not answer:
        raise InputError(f"{where}: the reference answer is empty: {text!r:.60}; drop the row or complete it")
    return answer


def answer_of(values: Mapping[str, Any], where: str) -> str:
    """The reference under the first of `ANSWER_KEYS` that is there."""
    return reference_of(_named(values, ANSWER_KEYS, where), where)


def level_of(values: Mapping[str, Any], where: str) -> int:
    """`3`, `"3"` and MATH's `"Level 3"` are 3; 0 where there is none, as for MATH's `"Level ?"`."""
    level = values.get("level")
    if level is None:
        return 0
    digits = level.removeprefix("Level").strip() if isinstance(level, str) else level
    if digits == "?":
        return 0
    if isinstance(digits, str) and digits.isascii() and digits.isdecimal() and len(digits) < 10:
        return int(digits)
    if isinstance(digits, int) and not isinstance(digits, bool) and 0 <= digits < 10**9:
        return digits
    raise InputError(f"{where}: level {level!r:.60} is no whole number and no 'Level N'; change it or leave it out")


def identity_of(value: Any, where: str) -> str:
    """An id as text: a string, or a number as it is written."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, str) and value.strip():
        return text_of(value, where)
    raise InputError(f"{where}: an id is text or a whole number, got {value!r:.60}")


def text_of(value: Any, what: str) -> str:
    """Text that every program can encode: half of a surrogate pair, which JSON can carry, becomes U+FFFD.

    Raises:
        InputError: it is no text.
    """
    if not isinstance(value, str):
        raise InputError(f"{what} is no text: {value!r:.60}")
    return value if value.isascii() else value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


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
        key: _column(values.get(key), key, len(texts), several, where)
        for key in ("finish", "tokens", "published_correct", "published_pred")
    }
    replies = tuple(
        Reply(
            text_of(text, f"{where}: response {index}"),
            _finish(columns["finish"][index], where),
            _tokens(columns["tokens"][index], where),
            _flag(columns["published_correct"][index], where),
            _prediction(columns["published_pred"][index], where),
        )
        for index, text in enumerate(texts)
    )
    identity = identity_of(values["id"], f"{where}: id") if "id" in values else None
    return Row(identity, question_of(values, where), answer_of(values, where), level_of(values, where), replies)


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
            published_pred=_prediction(prediction, where),
        )
        for index, (text, prediction) in enumerate(zip(texts, predictions, strict=True))
    )
    answer = reference_of(values["target"], f"{where}: 'target'")
    return Row(None, question_of(document, f"{where}: 'doc'"), answer, level_of(document, where), replies)


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
        text = _message_text(choice.get("message"), f"{where}: the message of choice {index}")
        replies.append(Reply(text, _FINISHES.get(str(choice.get("finish_reason"))), _tokens(tokens, where)))
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
    question = _message_text(messages[-2], f"{where}: the user's message")
    if not question.strip():
        raise InputError(f"{where}: the question is empty")
    reply = Reply(
        _message_text(messages[-1], f"{where}: the assistant's message"),
        _finish(values.get("finish"), where),
        _tokens(values.get("tokens"), where),
    )
    identity = identity_of(values["id"], f"{where}: id") if "id" in values else None
    return Row(identity, question, answer_of(values, where), level_of(values, where), (reply,))


def _message_text(message: Any, what: str) -> str:
    """A message's text; reasoning that the server split off goes back before it, inside `<think></think>`."""
    if not isinstance(message, dict) or "content" not in message:
        raise InputError(f"{what} has no 'content': {message!r:.60}")
    content = message["content"]
    if isinstance(content, list):
        parts = [part.get("text") if isinstance(part, dict) else None for part in content]
        content = "".join(text_of(part, f"{what}: a part of its content") for part in parts)
    text = "" if content is None else text_of(content, what)
    reasoning = message.get("reasoning_content")
    return f"<think>{text_of(reasoning, f'{what}: reasoning_content')}</think>{text}" if reasoning else text


def _named(values: Mapping[str, Any], keys: Sequence[str], where: str) -> Any:
    """The value under the first of `keys` that is there, whatever its case."""
    folded = {key.casefold(): value for key, value in values.items()}
    for key in keys:
        if folded.get(key) is not None:
            return folded[key]
    raise InputError(f"{where}: none of {', '.join(keys)} is there; its keys are {_listed(values)}; {DOCUMENTED}")


def _column(value: Any, key: str, count: int, several: bool, where: str) -> list[Any]:
    """One value for each response; None where the file has none."""
    if value is None:
        return [None] * count
    if not several:
        return [value]
    if not isinstance(value, list) or len(value) != count:
        found = f"{len(value)} values" if isinstance(value, list) else repr(value)[:60]
        raise InputError(f"{where}: {key!r} needs one value for each of {count} responses, got {found}")
    return value


def _finish(value: Any, where: str) -> Finish | None:
    if value is None:
        return None
    if value not in _FINISHES:
        raise InputError(f"{where}: finish {value!r:.60} is none of {', '.join(_FINISHES)}; leave it out if unknown")
    return _FINISHES[value]


def _tokens(value: Any, where: str) -> int | None:
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 0):
        return value
    raise InputError(f"{where}: a number of tokens is a whole number, got {value!r:.60}")


def _flag(value: Any, where: str) -> bool | None:
    if value is None or isinstance(value, bool):
        return value
    raise InputError(f"{where}: published_correct is true, false or null, got {value!r:.60}")


def _prediction(value: Any, where: str) -> str | None:
    if value is None:
        return None
    return text_of(value if isinstance(value, str) else str(value), f"{where}: published_pred")


def _listed(values: Mapping[str, Any]) -> str:
    keys = ", ".join(repr(key)[:40] for key in list(values)[:12]) or "(none)"
    return keys + (" …" if len(values) > 12 else "")


_SCHEMAS = (
    Schema("rlsp rollouts", frozenset({"problem_id", "response_ids", "text"}), _rollout, problems_apart=True),
    Schema("OpenAI batch output", frozenset({"custom_id", "response"}), _batch, problems_apart=True),
    Schema("lm-evaluation-harness samples", frozenset({"doc", "target", "resps"}), _harness),
    Schema("chat records", frozenset({"messages"}), _chat),
    Schema("questions with responses", frozenset({"responses"}), _simple),
    Schema("questions with a response", frozenset({"response"}), _simple),
)

"""One value out of a JSON object that another program wrote: checked, or refused with its place and what was found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rlsp.errors import InputError
from rlsp.tasks.data import COLUMNS, final_answer, plain
from rlsp.types import Finish, checked_identity

FINISHES = {
    "eos": Finish.EOS,
    "stop": Finish.EOS,
    "length": Finish.LENGTH,
    "max_tokens": Finish.LENGTH,
}
"""What other programs call the two ends of a response; any other end (a content filter, a tool call) is unknown."""


def question_of(values: Mapping[str, Any], where: str) -> str:
    """The question under the first of the names of questions that is there, whatever its case.

    Raises:
        InputError: there is none, or it is no text.
    """
    question = text_of(named(values, COLUMNS["question"], where), f"{where}: the question")
    if not question.strip():
        raise InputError(f"{where}: the question is empty")
    return question


def reference_of(value: Any, where: str) -> str:
    """The reference answer, found in text or a number as in a data set of questions.

    Raises:
        InputError: it is empty, or neither text nor a number.
    """
    text = None if isinstance(value, bool) else plain(value)
    if text is None:
        raise InputError(f"{where}: the reference answer is neither text nor a number: {value!r:.60}")
    answer = final_answer(text_of(text, f"{where}: the reference answer"))
    if not answer:
        raise InputError(f"{where}: the reference answer is empty: {text!r:.60}; drop the row or complete it")
    return answer


def answer_of(values: Mapping[str, Any], where: str) -> str:
    """The reference under the first of the names of references that is there; "" where there is something else to judge
    by."""
    if extras_of(values) and not any(values.get(key) for key in values if key.casefold() in COLUMNS["answer"]):
        return ""
    return reference_of(named(values, COLUMNS["answer"], where), where)


def extras_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """What a verifier may need beyond the answer: `grading` as rlsp writes it, `options`, tests and their function."""
    folded = {key.casefold(): value for key, value in values.items() if value not in (None, "", [])}
    names = {"grading": ("grading",), "options": ("options",), **{key: COLUMNS[key] for key in ("tests", "function")}}
    found = {key: next((folded[name] for name in every if name in folded), None) for key, every in names.items()}
    return {key: value for key, value in found.items() if value is not None}


def identity_of(value: Any, where: str) -> str:
    """An id as text: a string, or a number as it is written."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, str) and value.strip():
        try:
            return checked_identity(text_of(value, where))
        except ValueError as error:
            raise InputError(f"{where}: {error}") from None
    raise InputError(f"{where}: an id is text or a whole number, got {value!r:.60}")


def text_of(value: Any, what: str) -> str:
    """Text that every program can encode: half of a surrogate pair, which JSON can carry, becomes U+FFFD.

    Raises:
        InputError: it is no text.
    """
    if not isinstance(value, str):
        raise InputError(f"{what} is no text: {value!r:.60}")
    return value if value.isascii() else value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def message_text(message: Any, what: str) -> str:
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


def named(values: Mapping[str, Any], keys: Sequence[str], where: str) -> Any:
    """The value under the first of `keys` that is there, whatever its case."""
    folded = {key.casefold(): value for key, value in values.items()}
    for key in keys:
        if folded.get(key) is not None:
            return folded[key]
    raise InputError(f"{where}: none of {', '.join(keys)} is there; its keys are {listed(values)}")


def column(value: Any, key: str, count: int, several: bool, where: str) -> list[Any]:
    """One value for each response; None where the file has none."""
    if value is None:
        return [None] * count
    if not several:
        return [value]
    if not isinstance(value, list) or len(value) != count:
        found = f"{len(value)} values" if isinstance(value, list) else repr(value)[:60]
        raise InputError(f"{where}: {key!r} needs a list with one value for each of {count} responses, got {found}")
    return value


def finish_of(value: Any, where: str) -> Finish | None:
    if value is None:
        return None
    if not isinstance(value, str) or value not in FINISHES:
        raise InputError(f"{where}: finish {value!r:.60} is none of {', '.join(FINISHES)}; leave it out if unknown")
    return FINISHES[value]


def tokens_of(value: Any, where: str) -> int | None:
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 0):
        return value
    raise InputError(f"{where}: a number of tokens is a whole number, got {value!r:.60}")


def flag_of(value: Any, where: str) -> bool | None:
    if value is None or isinstance(value, bool):
        return value
    raise InputError(f"{where}: published_correct is true, false or null, got {value!r:.60}")


def prediction_of(value: Any, where: str) -> str | None:
    if value is None:
        return None
    return text_of(value if isinstance(value, str) else str(value), f"{where}: published_pred")


def listed(values: Mapping[str, Any]) -> str:
    keys = ", ".join(repr(key)[:40] for key in list(values)[:12]) or "(none)"
    return keys + (" …" if len(values) > 12 else "")

"""One judgement, as a worker runs it."""

from __future__ import annotations

from rlsp.types import Reason
from rlsp.verifiers.extraction import extract
from rlsp.verifiers.math import expressions
from rlsp.verifiers.math.answers import read
from rlsp.verifiers.math.compare import canonical, same
from rlsp.verifiers.math.shapes import Answer, Expression, Number, Relation, TooComplex, leaves
from rlsp.verifiers.units import asked_otherwise

SYMBOLS_OF_SETS = (r"\mathbb{R}", r"\emptyset")


def grade(response: str, reference: str, mode: str, question: str = "") -> dict[str, str]:
    """Extract the response's answer and compare it. {reason, answer, reference, detail}: both in normalised form."""
    extracted = extract(response, mode)
    if not extracted:
        return _verdict(Reason.NO_ANSWER, "", _normalised(reference))
    return compare(extracted, reference, question)


def compare(answer: str, reference: str, question: str = "") -> dict[str, str]:
    """Compare an extracted answer with the reference. One that matches takes the reference's form: in a vote all right
    answers are one class."""
    expected = _read(reference)
    given = _read(answer)
    if isinstance(given, TooComplex) or isinstance(expected, TooComplex):
        same_text = answer.strip() == reference.strip()
        problem = given if isinstance(given, TooComplex) else expected
        return _verdict(Reason.MATCH if same_text else Reason.TOO_COMPLEX, answer[:200], reference[:200], str(problem))
    try:
        reason, detail = Reason.MATCH if same(expected, given) else Reason.MISMATCH, ""
        if reason is Reason.MATCH and (unit := _other_unit(expected, given, question)):
            reason, detail = Reason.MISMATCH, f"the question asks for another unit than {unit}"
    except TooComplex as error:
        reason, detail = Reason.TOO_COMPLEX, str(error)
    reference_form = _form(expected)
    return _verdict(reason, reference_form if reason is Reason.MATCH else _form(given), reference_form, detail)


def obstacle(reference: str) -> str:
    """Why a reference can only be matched letter by letter; "" when it is understood."""
    answer = _read(reference)
    if isinstance(answer, TooComplex):
        return str(answer)
    for leaf in leaves(answer):
        if isinstance(leaf, Expression) and leaf.latex not in SYMBOLS_OF_SETS:
            try:
                expressions.parse(leaf.latex)
            except ValueError as error:
                return str(error)
    return ""


def _other_unit(expected: Answer, given: Answer, question: str) -> str:
    """The unit that the answer has, its reference lacks and the question does not ask for."""
    value = given.right if isinstance(given, Relation) else given
    if not isinstance(value, Number | Expression) or not value.unit:
        return ""
    named = isinstance(expected, Number | Expression) and expected.unit
    return value.unit if not named and asked_otherwise(question, value.unit) else ""


def _verdict(reason: Reason, answer: str, reference: str, detail: str = "") -> dict[str, str]:
    return {"reason": reason.value, "answer": answer, "reference": reference, "detail": detail}


def _read(text: str) -> Answer | TooComplex:
    try:
        return read(text)
    except TooComplex as error:
        return error


def _normalised(text: str) -> str:
    answer = _read(text)
    return text[:200] if isinstance(answer, TooComplex) else _form(answer)


def _form(answer: Answer) -> str:
    return canonical(answer)[:200]

"""Whether an answer is its reference: shape first, algebra only between expressions.

Both directions of error are guarded: nothing is rounded, brackets, order and bases count, a per cent sign must be the
reference's; a missing unit, a name before `=`, another notation or another order of a list do not count.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from rlsp.verifiers.math import expressions, sets
from rlsp.verifiers.math.relations import is_name
from rlsp.verifiers.math.shapes import (
    Answer,
    Difference,
    Digits,
    Expression,
    Matrix,
    Number,
    Ordered,
    Relation,
    TooComplex,
    Union,
    Unordered,
    Words,
)

_ARTICLES = re.compile(r"^(?:the|a|an)\s+")


def same(reference: Answer, answer: Answer) -> bool:
    """Whether `answer` says what `reference` says. Not symmetric: a reference decides what may be left out.

    Raises:
        TooComplex: an expression is beyond what is read.
    """
    match reference, answer:
        case Relation(), Relation():
            return _same_relation(reference, answer)
        case _, Relation(symbol="="):
            return _named(answer, lambda value: same(reference, value))
        case Relation(symbol="="), _:
            return is_name(reference.left) and same(reference.right, answer)
        case Unordered(), Unordered():
            return _same_items(reference, answer)
        case (Unordered(), _) | (_, Unordered()):
            return _one_item(reference, answer)
        case Ordered(), Ordered():
            brackets = (reference.opening, reference.closing) == (answer.opening, answer.closing)
            return brackets and _all_same(reference.items, answer.items)
        case Union(), Union() if _permuted(reference.pieces, answer.pieces):
            return True
        case (Union() | Difference(), _) | (_, Union() | Difference()):
            return sets.equal(reference, answer)
        case (Expression(latex=r"\mathbb{R}"), Ordered()) | (Ordered(), Expression(latex=r"\mathbb{R}")):
            return sets.equal(reference, answer)
        case Matrix(), Matrix():
            rows, others = reference.rows, answer.rows
            return reference.kind == answer.kind and len(rows) == len(others) and all(map(_all_same, rows, others))
        case Matrix(kind="matrix"), Ordered(opening="(", closing=")"):
            return all(len(row) == 1 for row in reference.rows) and _all_same(
                [row[0] for row in reference.rows], answer.items
            )
        case Digits(), Digits():
            return reference == answer
        case Number(percent=False, unit=""), Digits(base=10):
            return str(reference.value) == answer.digits
        case Digits(), Number(percent=False, unit=""):
            return str(answer.value) == reference.digits
        case (Words(), _) | (_, Words()):
            return _same_words(reference, answer)
        case ((Number() | Expression()), (Number() | Expression())):
            return _same_unit(reference, answer) and _same_value(reference, answer)
    return False


def _same_words(reference: Answer, answer: Answer) -> bool:
    spoken = [_spoken(each) for each in (reference, answer)]
    return bool(spoken[0]) and spoken[0] == spoken[1]


def _spoken(answer: Answer) -> str:
    match answer:
        case Words(text=text) if len(text) > 1:
            return _ARTICLES.sub("", re.sub(r"[\s\-]+", " ", text.casefold()).strip())
        case Words(text=text) | Expression(latex=text, unit=""):
            return re.sub(r"\s+", " ", text) if len(text) == 1 else text.casefold()
    return ""


def _same_unit(reference: Number | Expression, answer: Number | Expression) -> bool:
    """Units may be missing on either side, but not differ; an angle in degrees is not one in radians."""
    if reference.unit and answer.unit:
        return reference.unit == answer.unit
    if "degree" in (reference.unit, answer.unit):
        return not any(isinstance(each, Expression) and r"\pi" in each.latex for each in (reference, answer))
    return True


def _same_value(reference: Number | Expression, answer: Number | Expression) -> bool:
    if isinstance(reference, Number) and isinstance(answer, Number):
        if reference.percent:
            return answer.value in ((reference.value,) if answer.percent else (reference.value, reference.value / 100))
        return not answer.percent and reference.value == answer.value
    if any(isinstance(each, Number) and each.percent for each in (reference, answer)):
        return False
    try:
        return _equal_values(reference, answer) is True
    except ValueError as error:
        if isinstance(error, TooComplex):
            raise
        return False


def _equal_values(first: Number | Expression, second: Number | Expression) -> bool | None:
    """None when it can't be decided. Raises ValueError when one of them can't be read."""
    if isinstance(first, Number) and isinstance(second, Number):
        return first.value == second.value
    texts = _latex(first), _latex(second)
    return expressions.squeeze(texts[0]) == expressions.squeeze(texts[1]) or expressions.equal(*texts)


def _latex(answer: Number | Expression) -> str:
    if isinstance(answer, Expression):
        return answer.latex
    value = answer.value
    text = str(abs(value)) if value.denominator == 1 else rf"\frac{{{abs(value.numerator)}}}{{{value.denominator}}}"
    return f"-{text}" if value < 0 else text


def _named(relation: Relation, accept: Callable[[Answer], bool]) -> bool:
    """`x = 5`, `f(3) = 2 + 3 = 5`: the last value counts, and every value before it must agree with it."""
    sides = _sides(relation)
    *before, value = sides
    if not accept(value):
        return False
    return all(_is_label(side) or not _differs(value, side) for side in before)


def _differs(value: Answer, side: Answer) -> bool:
    """Whether two sides of an equation are values that can be read, and not the same one."""
    if isinstance(value, Number | Expression) and isinstance(side, Number | Expression):
        try:
            return _equal_values(value, side) is False
        except ValueError:
            return _has_letters(side)
    return not same(value, side)


def _is_label(side: Answer) -> bool:
    """A name, or names in a tuple: `(x, y) = …`, but not `(y, x) = …`."""
    if isinstance(side, Ordered):
        names = [item.latex for item in side.items if isinstance(item, Expression)]
        return all(map(is_name, side.items)) and (not set(names) <= set("xyz") or names == sorted(names))
    return is_name(side)


def _sides(relation: Relation) -> list[Answer]:
    left = relation.left
    return [*(left.items if isinstance(left, Ordered) and left.opening == "=" else (left,)), relation.right]


def _has_letters(answer: Answer) -> bool:
    return any(
        re.search(r"(?<![\\A-Za-z])[A-Za-z]", each.latex)
        for each in ([answer] if isinstance(answer, Expression) else [])
    )


def _same_relation(reference: Relation, answer: Relation) -> bool:
    if reference.symbol != answer.symbol:
        return False
    expected, given = _sides(reference), _sides(answer)
    if len(expected) == len(given) == 2:
        if _all_same(expected, given):
            return True
        if _define_functions(expected[0], given[0]):
            return same(expected[1], given[1])
        if reference.symbol == "=":
            return _proportional(expected, given) or _all_same(expected, given[::-1])
        return False
    return is_name(expected[0]) and same(expected[-1], given[-1]) and _named(answer, lambda _: True)


def _define_functions(first: Answer, second: Answer) -> bool:
    """`y = …` and `f(x) = …` say the same."""
    sides = [side.latex if isinstance(side, Expression) else "" for side in (first, second)]
    return "y" in sides and any(re.fullmatch(r"[a-zA-Z]\([a-z]\)", side) for side in sides)


def _proportional(expected: Sequence[Answer], given: Sequence[Answer]) -> bool:
    """The same equation, rearranged: left − right is a constant multiple of left − right."""
    scalars = (Number, Expression)
    if not all(isinstance(each, scalars) for each in (*expected, *given)):
        return False
    differences = []
    for left, right in (expected, given):
        assert isinstance(left, scalars) and isinstance(right, scalars)
        differences.append(f"{_latex(left)} - ({_latex(right)})")
    try:
        return expressions.proportional(*differences)
    except ValueError as error:
        if isinstance(error, TooComplex):
            raise
        return False


def _same_items(reference: Unordered, answer: Unordered) -> bool:
    if reference.braces or answer.braces:
        return _permuted(_distinct(reference.items), _distinct(answer.items))
    return _permuted(reference.items, answer.items)


def _one_item(reference: Answer, answer: Answer) -> bool:
    """A set or list of one against its element; braces of the reference may be left out, not added."""
    if isinstance(reference, Unordered):
        return len(reference.items) == 1 and same(reference.items[0], answer)
    return (
        isinstance(answer, Unordered)
        and not answer.braces
        and len(answer.items) == 1
        and same(reference, answer.items[0])
    )


def _distinct(items: Sequence[Answer]) -> list[Answer]:
    kept: list[Answer] = []
    for item in items:
        if not any(same(other, item) for other in kept):
            kept.append(item)
    return kept


def _all_same(expected: Sequence[Answer], given: Sequence[Answer]) -> bool:
    return len(expected) == len(given) and all(map(same, expected, given))


def _permuted(expected: Sequence[Answer], given: Sequence[Answer]) -> bool:
    """The same items in any order, each as often."""
    if len(expected) != len(given):
        return False
    rest = list(given)
    for item in expected:
        index = next((index for index, other in enumerate(rest) if same(item, other)), None)
        if index is None:
            return False
        del rest[index]
    return True


def canonical(answer: Answer) -> str:
    """One text for an answer and for most of its other spellings; equal texts are equal answers."""
    match answer:
        case Number(value=value, percent=percent):
            return f"{value}%" if percent else str(value)
        case Digits(digits=digits, base=base):
            return f"{digits}_{base}"
        case Words(text=text):
            return _spoken(answer) or text
        case Expression(latex=latex):
            return expressions.canonical(latex)
        case Ordered(opening=opening, closing=closing, items=items):
            return f"{opening}{','.join(map(canonical, items))}{closing}"
        case Unordered(items=items, braces=braces):
            texts = sorted(map(canonical, items))
            return "{" + ",".join(dict.fromkeys(texts)) + "}" if braces else ",".join(texts)
        case Union(pieces=pieces):
            return "∪".join(sorted(map(canonical, pieces)))
        case Difference(left=left, right=right):
            return f"{canonical(left)}∖{canonical(right)}"
        case Matrix(kind=kind, rows=rows):
            return kind + "[" + ";".join(",".join(map(canonical, row)) for row in rows) + "]"
        case Relation(left=left, symbol=symbol, right=right):
            if symbol == "=" and is_name(left):
                return canonical(right)
            return f"{canonical(left)}{symbol}{canonical(right)}"

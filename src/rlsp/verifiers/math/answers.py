"""The shape of an answer: number, interval, tuple, set, list, matrix, equation, words, or an expression.

Shapes decide what may be compared with what: an interval's brackets and a tuple's order count, a list's order does not,
digits with a base are no decimal number. Only expressions need algebra.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

from rlsp.verifiers.math.latex import clean, matching
from rlsp.verifiers.units import split_unit

MAX_CHARACTERS = 2_000
MAX_DEPTH = 30
MAX_ITEMS = 200


class TooComplex(ValueError):
    """The answer is beyond what is read; it can still equal its reference letter by letter."""


@dataclass(frozen=True, slots=True)
class Number:
    """An exact rational; decimals are exact too. `percent` keeps the sign that was written."""

    value: Fraction
    unit: str = ""
    percent: bool = False


@dataclass(frozen=True, slots=True)
class Digits:
    """Digits in a base: 40₉."""

    digits: str
    base: int


@dataclass(frozen=True, slots=True)
class Words:
    text: str


@dataclass(frozen=True, slots=True)
class Expression:
    """What needs algebra, as cleaned LaTeX without its unit."""

    latex: str
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Ordered:
    """A tuple, an interval or a vector: brackets and order count."""

    opening: str
    closing: str
    items: tuple[Answer, ...]


@dataclass(frozen=True, slots=True)
class Unordered:
    """A list of answers, or a set (`braces`), in which repeats don't count."""

    items: tuple[Answer, ...]
    braces: bool


@dataclass(frozen=True, slots=True)
class Union:
    """Intervals joined by ∪, in any order."""

    pieces: tuple[Answer, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """A set without another."""

    left: Answer
    right: Answer


@dataclass(frozen=True, slots=True)
class Matrix:
    kind: str
    rows: tuple[tuple[Answer, ...], ...]


@dataclass(frozen=True, slots=True)
class Relation:
    """`left symbol right`; symbols are =, ≠, <, ≤, >, ≥."""

    left: Answer
    symbol: str
    right: Answer


NUMERALS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen"
    " eighteen nineteen twenty"
).split()

Answer = Number | Digits | Words | Expression | Ordered | Unordered | Union | Difference | Matrix | Relation

_MEMBERSHIP = re.compile(r"\(?\s*(?:\\text\{[^{}]*\}\s*)?[A-Za-z](?:_\{?\w\}?)?(?:\([a-z]\))?\s*\\in(?![A-Za-z])")
_VALUE_INSIDE = re.compile(r"\\text\{(?:[^A-Za-z]*\d|.*\\)")
_SET_BUILDER = re.compile(r"\s*[A-Za-z]\s*(?:\\in\s*\\mathbb\{R\}\s*)?[:|]\s*(?=.*(?:\\[lg]e(?![A-Za-z])|[<>]))")
_INEQUALITY = re.compile(r"\\[lg]e(?![A-Za-z])|[<>]")
_RATIO_PARTS = re.compile(r"[\d.]+(?:\s*:\s*[\d.]+)+")
_CLOCK = re.compile(r"(\d{1,2}:\d{2})\s*(?:\\text\{)?\s*([ap])\.?\s*m\.?\s*\}?", re.IGNORECASE)
_REPEATING = re.compile(r"([-+]?)\s*(\d*)\.(\d*)\s*\\overline\{(\d{1,50})\}", re.ASCII)
_THOUSANDS = re.compile(r"(?<![\d.,])\d{1,3}(?:(?:,\d{3})+|(?: \d{3})+)(?![\d,])")
_MATRIX = re.compile(r"\\begin\{([pbBvV]?matrix|array)\}(?:\{[lcr| ]*\})?(.*)\\end\{\1\}", re.DOTALL)
_BASE = re.compile(r"[({]?\s*([0-9A-Fa-f]{1,60})\s*[)}]?\s*_\s*(?:\{\s*(?:\\text\{)?\s*(\w{1,10})\s*\}?\s*\}|(\d))")
_NUMBER = re.compile(r"([-+]?)\s*(\d{1,400}(?:\.\d{0,400})?|\.\d{1,400})", re.ASCII)
_RATIO = re.compile(
    r"([-+]?)\s*(?:\\frac\{\s*([-+]?\s*[\d.]{1,100})\s*\}\{\s*([-+]?\s*[\d.]{1,100})\s*\}"
    r"|([\d.]{1,100})\s*(?:/|\\div)\s*([\d.]{1,100}))",
    re.ASCII,
)
_MIXED = re.compile(
    r"([-+]?)\s*(\d{1,30})\s*(?:\\frac\{\s*(\d{1,30})\s*\}\{\s*(\d{1,30})\s*\}|\s(\d{1,30})/(\d{1,30}))", re.ASCII
)
_SCIENTIFIC = re.compile(
    r"([-+]?\s*[\d.]{1,50})\s*(?:(?:\\times|\\cdot|\*)\s*10\s*\^\s*(?:\{\s*([-+]?\d{1,3})\s*\}|(\d))|[eE]([-+]?\d{1,3}))",
    re.ASCII,
)
_TEXT = re.compile(r"\\text\{([^{}]*)\}")
_WORD = re.compile(r"[^\W\d_]+(?:['’.-][^\W\d_]+)*[.,]?")
_LONG_WORD = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{3,}")
_FUNCTIONS = frozenset(
    "sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh log ln exp sqrt max min gcd lcm mod pi frac infinity inf"
    " theta alpha beta gamma det deg lim floor ceil abs".split()
)
_CHOICE = re.compile(r"(?:\\text\{\s*)?[(\[]?\s*(?:\\text\{\s*)?\(?([A-Z])\)?\s*\}?\s*[)\]]?\s*\}?[.:]?")
_CHOICE_NAMED = re.compile(r"(?:\\text\{\s*)?(?:choice|option|answer)\s+\(?([A-Z])\)?\s*\}?", re.IGNORECASE)
_OPTION = re.compile(r"(?:\\text\{\s*)?\(([A-Z])\)\s*\}?[:.]?\s+(.{1,80}?)\}?")
_AND = re.compile(
    r"(?:\\text\{\s*,?\s*(?:and|or)\s*\}|(?<![A-Za-z\\])(?:and|or)(?![A-Za-z])|\\(?:lor|vee)(?![A-Za-z]))"
)
_OR = re.compile(r"(?<![A-Za-z\\])or(?![A-Za-z])|\\(?:lor|vee)(?![A-Za-z])")
_SYMBOLS = re.compile(
    r"\\le(?![A-Za-z])|\\ge(?![A-Za-z])|\\ne(?:q)?(?![A-Za-z])|\\(?:approx|equiv|Rightarrow|implies)(?![A-Za-z])|:=|=|<|>"
)
_SYMBOL_NAMES = {
    r"\le": "≤",
    r"\ge": "≥",
    r"\ne": "≠",
    r"\neq": "≠",
    ":=": "=",
    r"\approx": "=",
    "=": "=",
    "<": "<",
    ">": ">",
}
_OPEN, _CLOSE = "([{", ")]}"


def read(text: str) -> Answer:
    """The answer's shape.

    Raises:
        TooComplex: it is longer, deeper or wider than an answer is.
    """
    if len(text) > MAX_CHARACTERS:
        raise TooComplex(f"{len(text)} characters, at most {MAX_CHARACTERS} are read")
    return _read(clean(text), 0)


def _read(text: str, depth: int) -> Answer:
    if depth > MAX_DEPTH:
        raise TooComplex(f"nested deeper than {MAX_DEPTH}")
    text = _unwrapped(text)
    text = _MEMBERSHIP.sub("", text, count=1).strip() if _MEMBERSHIP.match(text) else text
    if len(sides := split(text, r"\setminus")) == 2:
        return Difference(_read(sides[0], depth + 1), _read(sides[1], depth + 1))
    pieces = split(text, r"\cup")
    if len(pieces) > 1:
        return Union(tuple(_read(piece, depth + 1) for piece in pieces))
    marked = _AND.sub(",", _joined_thousands(text))
    parts = [part for part in split(marked, ",", ";") if part]
    if len(parts) > 1 and not (choice_letter(text) or _is_words(text)):
        listed = _listed(parts, depth, braces=False)
        alternatives = bool(_OR.search(text)) and all(map(_INEQUALITY.search, parts))
        return Union(listed.items) if alternatives else listed
    return _single(_joined_thousands(text), depth)


def _joined_thousands(text: str) -> str:
    """`58,500` is a number, the inside of `(12,102)` a pair."""
    return _THOUSANDS.sub(
        lambda found: found[0] if _level(text, found.start(), "([") else re.sub("[ ,]", "", found[0]), text
    )


def _listed(parts: list[str], depth: int, braces: bool) -> Unordered:
    items: list[Answer] = []
    for part in parts:
        item = _read(part, depth + 1)
        items.extend(item.items if isinstance(item, Unordered) and not item.braces else [item])
    return Unordered(tuple(items), braces)


def _single(text: str, depth: int) -> Answer:
    """An answer without separators at its top."""
    if clock := _CLOCK.fullmatch(text):
        return Words(f"{clock[1]} {clock[2].lower()}m")
    if _RATIO_PARTS.fullmatch(text):
        return Ordered(":", ":", tuple(_read(part, depth + 1) for part in text.split(":")))
    if matrix := _MATRIX.fullmatch(text):
        return _matrix(matrix[1], matrix[2], depth)
    if letter := choice_letter(text):
        return Words(letter)
    if bracketed := _bracketed(text):
        opening, inner, closing = bracketed
        parts = split(inner, ",", ";")
        if opening == r"\{":
            if condition := _SET_BUILDER.match(inner):
                return _read(inner[condition.end() :], depth + 1)
            return _listed(parts, depth, braces=True) if inner.strip() else Expression(r"\emptyset")
        if len(parts) > 1:
            return Ordered(opening, closing, tuple(_read(part, depth + 1) for part in parts))
        if (opening, closing) == ("(", ")"):
            return _read(inner, depth + 1)
    if relation := _relation(text, depth):
        return relation
    if r"\pm" in text or r"\mp" in text:
        signs = ((r"\pm", "+", "-"), (r"\mp", "-", "+"))
        both = [text, text]
        for name, *values in signs:
            both = [_bare_sign(each.replace(name, sign)) for each, sign in zip(both, values, strict=True)]
        return Unordered(tuple(_read(each, depth + 1) for each in both), braces=False)
    if base := _BASE.fullmatch(text):
        return _digits(base[1], base[2] or base[3]) or Expression(text)
    return _quantity(text)


def _quantity(text: str) -> Answer:
    """A number or an expression with its unit, or words."""
    body, unit = split_unit(text)
    percent = body.endswith("%") and not body.endswith("%%")
    number = rational(body.removesuffix("%").strip() if percent else body)
    if number is not None:
        return Number(number, unit, percent)
    if unit and not body:
        return Words(unit)
    if _is_words(text):
        words = _plain(text)
        if words.lower() in ("infinity", "positive infinity"):
            return Expression(r"\infty")
        if words.lower() in ("all real numbers", "all reals", "real numbers"):
            return Expression(r"\mathbb{R}")
        return Number(Fraction(NUMERALS.index(words.lower()))) if words.lower() in NUMERALS else Words(words)
    return Expression(body if unit else text, unit)


def rational(text: str) -> Fraction | None:
    """The exact value of a plain number: `-3`, `.5`, `3/4`, `\\frac{3}{4}`, `1\\frac45`, `6.02 \\times 10^{23}`."""
    text = _unwrapped(text).removeprefix("+").strip()
    try:
        if found := _NUMBER.fullmatch(text):
            return _signed(found[1], Fraction(found[2].rstrip(".") or "0"))
        if found := _RATIO.fullmatch(text):
            numerator, denominator = found[2] or found[4], found[3] or found[5]
            return _signed(found[1], _decimal(numerator) / _decimal(denominator))
        if found := _MIXED.fullmatch(text):
            part = Fraction(int(found[3] or found[5]), int(found[4] or found[6]))
            return _signed(found[1], int(found[2]) + part) if part < 1 else None
        if found := _REPEATING.fullmatch(text):
            whole = Fraction(f"{found[2] or 0}.{found[3] or 0}")
            return _signed(found[1], whole + Fraction(int(found[4]), (10 ** len(found[4]) - 1) * 10 ** len(found[3])))
        if found := _SCIENTIFIC.fullmatch(text):
            return _decimal(found[1]) * Fraction(10) ** int(found[2] or found[3] or found[4])
    except (ValueError, ZeroDivisionError):
        return None
    return None


def _signed(sign: str, value: Fraction) -> Fraction:
    return -value if sign == "-" else value


def _decimal(text: str) -> Fraction:
    return Fraction(text.replace(" ", "").rstrip("."))


def _digits(digits: str, base: str) -> Answer | None:
    number = (
        NUMERALS.index(base.lower())
        if base.lower() in NUMERALS
        else (int(base) if base.isdecimal() and base.isascii() else 0)
    )
    if not 2 <= number <= 36 or any(int(each, 36) >= number for each in digits):
        return None
    return Digits(digits.lower().lstrip("0") or "0", number)


def _matrix(kind: str, body: str, depth: int) -> Answer:
    rows = [row for row in split(body, r"\\") if row.strip()]
    cells = tuple(tuple(_read(cell, depth + 1) for cell in split(row, "&")) for row in rows)
    if sum(map(len, cells)) > MAX_ITEMS:
        raise TooComplex(f"a matrix of more than {MAX_ITEMS} entries")
    return Matrix("determinant" if kind[0] in "vV" else "matrix", cells)


def _relation(text: str, depth: int) -> Answer | None:
    symbols = [found for found in _SYMBOLS.finditer(text) if _level(text, found.start()) == 0]
    if not symbols:
        return None
    ends = [0, *(found.end() for found in symbols)]
    starts = [*(found.start() for found in symbols), len(text)]
    parts = [text[end:start].strip() for end, start in zip(ends, starts, strict=True)]
    names = [_SYMBOL_NAMES.get(found[0]) for found in symbols]
    if not all(parts) or len(parts) > 8 or None in names:
        return None
    sides = [_read(part, depth + 1) for part in parts]
    if all(name == "=" for name in names):
        return Relation(_chain(sides[:-1]), "=", sides[-1])
    return _interval(sides, [str(name) for name in names])


def _chain(sides: list[Answer]) -> Answer:
    return sides[0] if len(sides) == 1 else Ordered("=", "=", tuple(sides))


def _interval(sides: list[Answer], symbols: list[str]) -> Answer | None:
    """An inequality of one variable against bounds, as the interval that it describes."""
    if len(sides) == 2:
        left, (symbol,), right = sides[0], symbols, sides[1]
        if symbol == "≠" or _is_variable(right) == _is_variable(left):
            return Relation(left, symbol, right)
        if _is_variable(right):
            left, right, symbol = right, left, {"<": ">", ">": "<", "≤": "≥", "≥": "≤"}[symbol]
        if symbol in "<≤":
            return Ordered("(", "]" if symbol == "≤" else ")", (Expression(r"-\infty"), right))
        return Ordered("[" if symbol == "≥" else "(", ")", (right, Expression(r"\infty")))
    if len(sides) == 3 and _is_variable(sides[1]):
        low, high = sides[0], sides[2]
        if set(symbols) <= {">", "≥"}:
            low, high, symbols = high, low, symbols[::-1]
        elif not set(symbols) <= {"<", "≤"}:
            return None
        closed = [symbol.replace("≥", "≤") == "≤" for symbol in symbols]
        return Ordered("[" if closed[0] else "(", "]" if closed[1] else ")", (low, high))
    return None


def is_name(answer: Answer) -> bool:
    """What may stand left of the `=` of "x = 5": a name, not a value."""
    return isinstance(answer, Words) or (isinstance(answer, Expression) and bool(_NAME.fullmatch(answer.latex)))


_NAME = re.compile(
    r"(?:\\(?:angle|triangle|text\{[^{}]*\}|overline|vec|hat|mathbf|mathcal)\s*|[A-Z]{1,4}|\{|\})*"
    r"(?:\\[A-Za-z]+|[A-Za-z]{1,4}|\\text\{[^{}]*\})?'?(?:_\{?\w{1,10}\}?)?\s*(?:\^\{-1\})?\s*(?:\([A-Za-z0-9, ]{1,12}\))?\}*"
)


def _is_variable(answer: Answer) -> bool:
    return (
        isinstance(answer, Expression)
        and bool(re.fullmatch(r"[A-Za-z](?:_\{?\w\}?)?|\\[a-z]+|f\([a-z]\)", answer.latex))
        and (answer.latex not in (r"\pi", r"\infty", "e", "i"))
    )


def choice_letter(text: str) -> str:
    """The letter of a multiple choice: `C`, `(C)`, `\\text{(C)}`, `(C) plane`; "" for anything else."""
    if found := _CHOICE.fullmatch(text):
        return found[1] if text.count("(") == text.count(")") else ""
    if named := _CHOICE_NAMED.fullmatch(text):
        return named[1].upper()
    option = _OPTION.fullmatch(text)
    return option[1] if option and not re.search(r"\([A-Z]\)|\b(?:or|and|not)\b|=", option[2]) else ""


def _is_words(text: str) -> bool:
    if any(name in _FUNCTIONS for name in re.findall(r"[A-Za-z]+", _TEXT.sub(" ", text).lower())):
        return False
    words = _plain(text).split()
    named = bool(words) and bool(_LONG_WORD.match(words[0]))
    return all(_WORD.fullmatch(word) or (named and word.isdecimal()) for word in words) and (
        r"\text" in text or bool(_LONG_WORD.search(text))
    )


def _plain(text: str) -> str:
    return re.sub(r"\s+", " ", _TEXT.sub(r" \1 ", text)).strip(" .!\"'")


def split(text: str, *separators: str) -> list[str]:
    """The parts between separators that no bracket encloses."""
    parts, start, index, level = [], 0, 0, 0
    while index < len(text):
        separator = next((each for each in separators if text.startswith(each, index)), None)
        if separator and level == 0 and not text[index + len(separator) :][:1].isalpha() * separator[-1:].isalpha():
            parts.append(text[start:index].strip())
            index = start = index + len(separator)
            if len(parts) > MAX_ITEMS:
                raise TooComplex(f"more than {MAX_ITEMS} items")
            continue
        index, level = _step(text, index, level)
    return [*parts, text[start:].strip()]


def _step(text: str, index: int, level: int, opening: str = _OPEN) -> tuple[int, int]:
    """Past one character or escaped brace: (next index, bracket level there)."""
    if text.startswith((r"\begin{", r"\langle"), index):
        return index + 6, level + 1
    if text.startswith((r"\end{", r"\rangle"), index):
        return index + 4, level - 1
    escaped = text[index] == "\\" and text[index + 1 : index + 2] in ("{", "}", "\\")
    character = text[index + escaped]
    return index + 1 + escaped, level + (character in opening) - (
        _OPEN[_CLOSE.find(character)] in opening and character in _CLOSE
    )


def _level(text: str, position: int, opening: str = _OPEN) -> int:
    index = level = 0
    while index < position:
        index, level = _step(text, index, level, opening)
    return level


def _bracketed(text: str) -> tuple[str, str, str] | None:
    """(opening, inside, closing) when one pair of brackets encloses the whole text."""
    for opening, closings in ((r"\{", (r"\}",)), (r"\langle", (r"\rangle",)), ("(", (")", "]")), ("[", ("]", ")"))):
        for closing in closings:
            if text.startswith(opening) and text.endswith(closing) and len(text) >= len(opening) + len(closing):
                inner = text[len(opening) : -len(closing)]
                if all(level >= 0 for level in _levels(inner)):
                    return ("(", inner, ")") if opening == r"\langle" else (opening, inner, closing)
    return None


def _levels(text: str) -> Iterator[int]:
    index = level = 0
    while index < len(text):
        index, level = _step(text, index, level)
        yield level


def _unwrapped(text: str) -> str:
    """Without braces or `\\text` around the whole."""
    while True:
        text = text.strip()
        if text.startswith("{") and matching(text, 0) == len(text) - 1:
            text = text[1:-1]
        elif text.startswith(r"\text{") and matching(text, 5) == len(text) - 1 and _VALUE_INSIDE.search(text):
            text = text[6:-1]
        elif (box := re.match(r"\\(?:boxed|fbox|underline)\s*\{", text)) and matching(text, box.end() - 1) == len(
            text
        ) - 1:
            text = text[box.end() : -1]
        else:
            return text


def _bare_sign(text: str) -> str:
    return re.sub(r"^\s*\+\s*", "", text)


def expressions(answer: Answer) -> Iterator[Expression]:
    """Every expression in the answer."""
    match answer:
        case Expression():
            yield answer
        case Difference():
            yield from expressions(answer.left)
            yield from expressions(answer.right)
        case Ordered(items=items) | Unordered(items=items) | Union(pieces=items):
            for item in items:
                yield from expressions(item)
        case Matrix(rows=rows):
            for row in rows:
                for cell in row:
                    yield from expressions(cell)
        case Relation():
            yield from expressions(answer.left)
            yield from expressions(answer.right)

"""Units behind (or a currency before) a value. They may be missing on one side; two different ones never agree."""

from __future__ import annotations

import re

_NAMES = {
    "length": "cm:centimeter,centimetre mm:millimeter,millimetre km:kilometer,kilometre m:meter,metre in:inch,inches"
    " ft:foot,feet yd:yard mi:mile",
    "mass": "kg:kilogram g:gram mg:milligram lb:pound oz:ounce ton:tonne",
    "volume": "l:liter,litre ml:milliliter,millilitre gal:gallon",
    "time": "s:second,sec min:minute h:hour,hr day week month year:yr",
    "angle": "degree:deg radian:rad",
    "money": "$:dollar,usd cent:¢ €:euro,eur £:gbp",
    "speed": "mph km/h:kph,kmh m/s",
    "": "unit person:people",
}
"""Canonical name and other spellings of each unit, by dimension; a plural `s` is understood."""
_CANONICAL: dict[str, str] = {}
_DIMENSIONS: dict[str, str] = {}
for _dimension, _units in _NAMES.items():
    for _name, _, _spellings in (each.partition(":") for each in _units.split()):
        _DIMENSIONS[_name] = _dimension
        for _word in (_name, *filter(None, _spellings.split(","))):
            _CANONICAL |= {_word: _name, _word + "s": _name}
UNIT_WORDS = tuple(word for word in _CANONICAL if len(word) > 2 and word.isalpha())
_MEANINGFUL = frozenset(
    "ten gross ones twice thrice double triple over under above below zero no wrong incorrect false never"
    " inverse opposite reciprocal hundred thousand million billion trillion dozen score pair half halves third"
    " thirds quarter quarters fourth fifth sixth seventh eighth ninth tenth hundredth thousandth squared cubed"
    " factorial plus minus times over divided by mod modulo base or and to not more less fewer greater than"
    " about approximately around roughly nearly almost least most x y z i e pi sqrt root log negative positive"
    " power exponent percent if when where is are was but maybe per possibly either both none all any between"
    " from infinity each respectively does no".split()
)
_POWERS = {"sq": 2, "square": 2, "squared": 2, "cubic": 3, "cu": 3, "cubed": 3}
_UPRIGHT = re.compile(r"\s*\\text\{\s*([^{}]*?)\s*\}\s*(?:\^\s*\{?\s*([23])\s*\}?)?")
_TAIL = re.compile(r"((?:\s*\\text\{[^{}]*\}\s*(?:\^\s*(?:[23]|\{\s*[23]\s*\}))?\s*[./]?)+)$")
_PLAIN_TAIL = re.compile(r"(?<=[\d)}])\s*([A-Za-z][A-Za-z./ -]*?)\s*(?:\^\s*\{?\s*([23])\s*\}?)?$")
_DEGREE = re.compile(r"\s*\\degree\s*$")
_TRIGONOMETRY = re.compile(r"\\?(?:sin|cos|tan|cot|sec|csc)(?![a-z])")
_PERCENT = re.compile(r"\s*(?:\\text\{\s*)?\bper\s?cent\s*\}?$", re.IGNORECASE)
_CURRENCY = re.compile(r"(-?)\s*(?:\\\$|[€£])\s*")
_NUMBER_HEAD = re.compile(r"[-+\d.,/\s]*\d\.?|.*\\frac\{[-\d]+\}\{[-\d]+\}", re.ASCII)


def split_unit(text: str) -> tuple[str, str]:
    """(value, canonical unit) of a cleaned answer; the unit is "" when there is none, the value "" when all is text."""
    if found := _PERCENT.search(text):
        return f"{text[: found.start()]}%", ""
    if found := _CURRENCY.match(text):
        body, _ = split_unit(found[1] + text[found.end() :])
        return body, {"$": "$", "€": "€", "£": "£"}[found[0].strip()[-1]]
    if text.endswith(r"\$"):
        return text[:-2].strip(), "$"
    if (found := _DEGREE.search(text)) and not _TRIGONOMETRY.search(text):
        return text[: found.start()], "degree"
    if (found := _TAIL.search(text)) and found.start() > 0:
        unit = _unit(found[1])
        if unit is not None:
            return text[: found.start()].strip(), unit
    elif found := _PLAIN_TAIL.search(text):
        body = text[: found.start()].strip()
        unit = _words_unit(found[1], found[2]) if _NUMBER_HEAD.fullmatch(body) and len(found[1].strip()) > 1 else None
        if unit and (" " in text[found.start() : found.start() + 1] or unit in _DIMENSIONS or found[1] in _CANONICAL):
            return body, unit
    return text, ""


def _unit(tail: str) -> str | None:
    parts = [_words_unit(words, power) for words, power in _UPRIGHT.findall(tail)]
    return None if None in parts else " ".join(part for part in parts if part) or None


def _words_unit(words: str, power: str) -> str | None:
    """The canonical unit, None when the words say something about the value itself."""
    total = int(power or 1)
    names = []
    for word in re.findall(r"[^\s./]+|/", words.replace("-", " ").casefold()):
        word = word.strip("(),;:")
        if word in _POWERS:
            total = _POWERS[word]
        elif word == "/" or word == "per":
            names.append("/")
        elif {word, word.removesuffix("s"), word.removesuffix("es")} & _MEANINGFUL or not re.fullmatch(
            r"[^\W\d_]+|¢|°[cf]|\$", word
        ):
            return None
        elif word:
            names.append(_CANONICAL.get(word) or (word if word.endswith("ss") else word.removesuffix("s")))
    if len(names) > 5:
        return None
    unit = " ".join(names)
    return f"{unit}^{total}" if total > 1 and unit else unit


_ASKED = re.compile(
    rf"\b(?:(?:how many|number of|to the nearest)\s+(?:\w+\s+)?|in\s+)({'|'.join(UNIT_WORDS)})\b", re.IGNORECASE
)


def asked_otherwise(question: str, unit: str) -> bool:
    """Whether the question asks for another unit of the same dimension: 36 minutes don't answer "how many seconds"."""
    dimension = _DIMENSIONS.get(unit)
    asked = {_CANONICAL[word.lower()] for word in _ASKED.findall(question[-2_000:])}
    asked = {each for each in asked if _DIMENSIONS[each] == dimension}
    return bool(dimension and asked) and unit not in asked

"""Other ways to write a reference answer: every variant is the same answer to the same question.

The rules are made for the references of MATH-500, AIME, AMC and GSM8K. Each rule rewrites an answer or returns it as
it is where it doesn't apply. Nothing here parses mathematics: the rules look at the text alone, so that no grader's
parser is its own judge.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

ARGUMENT = r"(?:\{([^{}]*)\}|(\d))"
FRACTION = re.compile(rf"(\\[dt]?frac)\s*{ARGUMENT}\s*{ARGUMENT}")
NUMERIC_FRACTION = re.compile(rf"(-?)\\[dt]?frac\s*{ARGUMENT}\s*{ARGUMENT}")
MIXED_NUMBER = re.compile(rf"(\d+)\s*\\[dt]?frac\s*{ARGUMENT}\s*{ARGUMENT}")
GROUPED = re.compile(r"(\\\$)?(\d{1,3}(?:,(?:\\!)?\s?\d{3})+)")
WORDS = re.compile(r"\\(?:text|mbox|mathrm|textbf)\{|[a-z]{4} ")
UNIT = re.compile(r"\s*\\(?:text|mbox)\{\s*(?:cents|cm|inches|degrees)\s*\}(?:\^2)?")

UNICODE = {r"\pi": "π", r"\infty": "∞", r"\cup": "∪", r"\pm": "±", r"\in ": "∈ ", "-": "−"}


def variants(answer: str) -> list[tuple[str, str]]:
    """The answer in other notations, as (name of the rule, text): distinct, none equal to `answer`.

    >>> dict(variants(r"\\frac{3}{2}"))["decimal"]
    '1.5'
    """
    found: dict[str, str] = {}
    for name, rule in RULES:
        text = rule(answer)
        if text != answer:
            found.setdefault(text, name)
    return [(name, text) for text, name in found.items()]


def benchmark_references(folder: Path) -> dict[str, list[str]]:
    """The distinct reference answers of each benchmark file in `folder`, in the file's order."""
    references = {}
    for name in ("math500", "aime_1983_2023", "aime24", "amc23", "gsm8k_train", "gsm8k_test"):
        lines = (folder / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
        answers = [str(json.loads(line)["answer"]).rpartition("####")[2].strip() for line in lines]
        references[name] = list(dict.fromkeys(answers))
    return references


def braced_arguments(answer: str) -> str:
    answer = FRACTION.sub(lambda m: f"{m[1]}{{{m[2] or m[3]}}}{{{m[4] or m[5]}}}", answer)
    return re.sub(r"\\sqrt\s*(\d)", r"\\sqrt{\1}", answer)


def bare_arguments(answer: str) -> str:
    answer = re.sub(r"(\\[dt]?frac)\{(\d)\}\{(\d)\}", r"\1\2\3", answer)
    return re.sub(r"\\sqrt\{(\d)\}", r"\\sqrt\1", answer)


def numeric_fraction(answer: str) -> tuple[int, int] | None:
    """Numerator and denominator, if the whole answer is a fraction of two integers."""
    match = NUMERIC_FRACTION.fullmatch(answer)
    if match is None:
        return None
    above, below = match[2] or match[3], match[4] or match[5]
    if not (above.isdecimal() and below.isdecimal()):
        return None
    return int(match[1] + above), int(below)


def slash(answer: str) -> str:
    parts = numeric_fraction(answer)
    return answer if parts is None else f"{parts[0]}/{parts[1]}"


def negative_numerator(answer: str) -> str:
    parts = numeric_fraction(answer)
    return answer if parts is None or parts[0] > 0 else rf"\frac{{{parts[0]}}}{{{parts[1]}}}"


def decimal(answer: str) -> str:
    """A fraction whose decimal expansion ends within six places."""
    parts = numeric_fraction(answer)
    if parts is None:
        return answer
    millionths = Fraction(*parts) * 10**6
    if millionths.denominator != 1:
        return answer
    text = f"{abs(millionths.numerator):07d}"
    return ("-" if parts[0] < 0 else "") + f"{text[:-6]}.{text[-6:]}".rstrip("0").rstrip(".")


def improper(answer: str) -> str:
    match = MIXED_NUMBER.fullmatch(answer)
    if match is None:
        return answer
    whole, above, below = int(match[1]), int(match[2] or match[3]), int(match[4] or match[5])
    return rf"\frac{{{whole * below + above}}}{{{below}}}"


def sized_delimiters(answer: str) -> str:
    if r"\left" in answer or r"\sqrt[" in answer or WORDS.search(answer):
        return answer
    return re.sub(r"[)\]]", r"\\right\g<0>", re.sub(r"[(\[]", r"\\left\g<0>", answer))


def plain_delimiters(answer: str) -> str:
    return re.sub(r"\\(?:left|right)(?=[(\[\])])", "", answer)


def word_alone(answer: str) -> str:
    return re.sub(r"^\\text\{([^{}]*)\}$", r"\1", answer)


def word_styled(style: str) -> Callable[[str], str]:
    return lambda answer: re.sub(r"^\\text\{([^{}]*)\}$", rf"\\{style}{{\1}}", answer)


def word_capitalised(answer: str) -> str:
    return re.sub(r"^\\text\{([a-z])(\w*)\}$", lambda m: rf"\text{{{m[1].upper()}{m[2]}}}", answer)


def choice_letter(answer: str) -> str:
    return re.sub(r"^\\text\{\(([A-E])\)\}$", r"\1", answer)


def grouped(separator: str) -> Callable[[str], str]:
    def rule(answer: str) -> str:
        if re.fullmatch(r"-?\d{4,}", answer) and not answer.startswith("0"):
            return f"{int(answer):,}".replace(",", separator)
        if GROUPED.fullmatch(answer):
            return re.sub(r",(?:\\!)?\s?", lambda _: separator, answer)
        return answer

    return rule


def decimal_point(answer: str) -> str:
    return f"{answer}.0" if re.fullmatch(r"-?(?:0|[1-9]\d*)", answer) else answer


def leading_zero(answer: str) -> str:
    return re.sub(r"^0?(\.\d+)$", lambda m: m[1] if answer.startswith("0") else f"0{m[1]}", answer)


def trailing_zero(answer: str) -> str:
    return f"{answer}0" if re.fullmatch(r"\d*\.\d+", answer) else answer


def unit_dropped(answer: str) -> str:
    return re.sub(r"\^\\circ$", "", UNIT.sub("", answer).removeprefix(r"\$"))


def degrees_as(text: str) -> Callable[[str], str]:
    return lambda answer: re.sub(r"\^\\circ$", lambda _: text, answer)


def name_dropped(answer: str) -> str:
    """`x = 5` becomes `5`, `x \\in [0,1]` the interval; an equation with the variable on both sides stays."""
    match = re.fullmatch(r"([a-z])\s*(?:=|\\in)\s*([^=]+)", answer)
    return answer if match is None or match[1] in match[2] else match[2]


def elements_reversed(answer: str) -> str:
    """Only what is unordered: a set, and integers separated by commas without brackets (all the roots, say)."""
    match = re.fullmatch(r"\\\{([^{}]*(?:\{\d+\}[^{}]*)*)\\\}", answer)
    if match:
        return rf"\{{{','.join(reversed(match[1].split(',')))}\}}"
    if re.fullmatch(r"-?\d+(?:,\s*-?\d+)+", answer) and not GROUPED.fullmatch(answer):
        return ", ".join(reversed(re.split(r",\s*", answer)))
    return answer


def plus_minus_expanded(answer: str) -> str:
    match = re.fullmatch(r"([^,()]+?)\s*\\pm\s*([^,()]+)", answer)
    return answer if match is None else f"{match[1]} + {match[2]}, {match[1]} - {match[2]}"


def terms_reversed(answer: str) -> str:
    """`6+9i` becomes `9i+6`; only a plain sum, without brackets, relations, subscripts or words."""
    if not re.fullmatch(r"(?:[-+\da-zA-Z^{} ]|\\(?:d|t)?frac|\\sqrt|\\pi|\\cot)+", answer) or WORDS.search(answer):
        return answer
    terms, depth = [""], 0
    for character in answer.replace(" ", "") if "\\cot" not in answer else answer:
        depth += (character == "{") - (character == "}")
        if character in "+-" and depth == 0 and terms[-1]:
            terms.append("")
        terms[-1] += character
    if len(terms) == 1:
        return answer
    signed = [term if term[0] in "+-" else f"+{term}" for term in reversed(terms)]
    return "".join(signed).removeprefix("+")


def times_dot(answer: str) -> str:
    return re.sub(r"(?<!frac)(\d)\s*(?=\\(?:sqrt|pi)(?![a-z]))", r"\1 \\cdot ", answer)


def braced_scripts(answer: str) -> str:
    return re.sub(r"([\^_])(\d)(?!\d)", r"\1{\2}", answer)


def bare_scripts(answer: str) -> str:
    return re.sub(r"([\^_])\{(\d)\}", r"\1\2", answer)


def square_matrix_brackets(answer: str) -> str:
    return answer.replace("{pmatrix}", "{bmatrix}")


def tight(answer: str) -> str:
    if WORDS.search(answer):
        return answer
    return re.sub(r"\s*(\\\\|[-+=,&()\[\]])\s*", r"\1", answer)


def spaced(answer: str) -> str:
    if WORDS.search(answer) or GROUPED.fullmatch(answer) or r"\begin" in answer:
        return answer
    answer = re.sub(r"(?<=[\w})])\s*([-+=])\s*(?=[\w\\(])", r" \1 ", answer)
    return re.sub(r",(?!\s|\\!|\})", ", ", answer)


def signed_infinity(answer: str) -> str:
    return re.sub(r"(?<![-+])\\infty", r"+\\infty", answer)


def unicode_symbols(answer: str) -> str:
    if WORDS.search(answer):
        return answer
    for latex, symbol in UNICODE.items():
        answer = re.sub(re.escape(latex) + (r"(?![a-z])" if latex[-1].isalpha() else ""), symbol, answer)
    return answer


RULES: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("frac", lambda answer: re.sub(r"\\[dt]frac", r"\\frac", answer)),
    ("dfrac", lambda answer: answer.replace(r"\frac", r"\dfrac")),
    ("tfrac", lambda answer: re.sub(r"\\d?frac", r"\\tfrac", answer)),
    ("braced arguments", braced_arguments),
    ("bare arguments", bare_arguments),
    ("slash", slash),
    ("negative numerator", negative_numerator),
    ("decimal", decimal),
    ("improper fraction", improper),
    ("sized delimiters", sized_delimiters),
    ("plain delimiters", plain_delimiters),
    ("word without text", word_alone),
    ("word in textbf", word_styled("textbf")),
    ("word in mathrm", word_styled("mathrm")),
    ("word capitalised", word_capitalised),
    ("choice letter", choice_letter),
    ("thousands joined", lambda answer: grouped("")(answer) if GROUPED.fullmatch(answer) else answer),
    ("thousands comma", grouped(",")),
    ("thousands braced comma", grouped("{,}")),
    ("thousands tight comma", grouped(r",\!")),
    ("decimal point", decimal_point),
    ("leading zero", leading_zero),
    ("leading zeros dropped", lambda answer: re.sub(r"^0+(?=\d+$)", "", answer)),
    ("trailing zero", trailing_zero),
    ("unit dropped", unit_dropped),
    ("degree braced", degrees_as(r"^{\circ}")),
    ("degree symbol", degrees_as("°")),
    ("degree word", degrees_as(r"\text{ degrees}")),
    ("mbox", lambda answer: answer.replace(r"\mbox", r"\text")),
    ("name dropped", name_dropped),
    ("elements reversed", elements_reversed),
    ("plus minus expanded", plus_minus_expanded),
    ("terms reversed", terms_reversed),
    ("times dot", times_dot),
    ("braced scripts", braced_scripts),
    ("bare scripts", bare_scripts),
    ("square matrix brackets", square_matrix_brackets),
    ("tight", tight),
    ("spaced", spaced),
    ("signed infinity", signed_infinity),
    ("unicode symbols", unicode_symbols),
    ("dollars", lambda answer: f"${answer}$"),
    ("round mathematics", lambda answer: rf"\({answer}\)"),
    ("square mathematics", lambda answer: rf"\[{answer}\]"),
    ("padded", lambda answer: f" {answer} "),
    ("thin spaces", lambda answer: rf"\,{answer}\,"),
    ("displaystyle", lambda answer: rf"\displaystyle {answer}"),
    ("period", lambda answer: f"{answer}."),
    ("braces", lambda answer: f"{{{answer}}}"),
    ("box", lambda answer: rf"\boxed{{{answer}}}"),
)

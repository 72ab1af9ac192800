"""What an algebra system is not asked: everything here is text, looked at before any of it is computed."""

from __future__ import annotations

import re

from rlsp.verifiers.math.brackets import matching
from rlsp.verifiers.math.shapes import TooComplex

MAX_EXPONENT = 10_000
MAX_FACTORIAL = 1_000
MAX_DIGITS = 1_000
MAX_TOKENS = 400

FUNCTIONS = "sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh log ln exp max min gcd lcm det".split()
_COMMANDS = frozenset(
    FUNCTIONS
    + "frac sqrt cdot times div pi infty binom degree lfloor rfloor lceil rceil sum prod int lim to alpha beta gamma"
    " delta epsilon varepsilon zeta eta theta vartheta kappa lambda mu nu xi rho sigma tau phi varphi chi psi omega"
    " Gamma Delta Theta Lambda Sigma Phi Psi Omega operatorname prime overline".split()
)
_COMMAND = re.compile(r"\\([A-Za-z]+|.)", re.DOTALL)
_TOKEN = re.compile(r"\\[A-Za-z]+|\d+(?:\.\d+)?|\.\d+|\S")
_PROSE = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{4,}")
_FACTORIAL = re.compile(r"(\d+|\)|\}|[A-Za-z])\s*(!+)")


def check(latex: str) -> None:
    """Refuse what would take an algebra system for ever, before it sees it.

    Raises:
        TooComplex: a size, exponent or factorial beyond its limit.
        ValueError: something that no expression holds.
    """
    for name in _COMMAND.findall(latex):
        if name not in _COMMANDS and name not in "{}":
            raise ValueError(f"\\{name} is no part of an expression")
    if re.search(r"[^\x20-\x7e]", latex):
        raise ValueError("a character that no expression holds")
    if re.search(r"[\d.]\s+[\d.]|\.\d*\.|[!?\"'#&;:=<>@`%,]\s*[\"#&;:=<>@`%?]", latex):
        raise ValueError("two numbers side by side")
    if _PROSE.search(latex):
        raise ValueError("words, not letters")
    if re.search(r"[^A-Za-z']'", latex) or re.search(r"\\prime", latex):
        raise ValueError("a prime that marks no letter")
    if re.search(r"\\(?:gcd|lcm)(?![A-Za-z])", latex) and re.search(r"(?<![\\A-Za-z])[A-Za-z](?![A-Za-z])", latex):
        raise ValueError("a common divisor or multiple of letters")
    tokens = _TOKEN.findall(latex)
    if len(tokens) > MAX_TOKENS:
        raise TooComplex(f"{len(tokens)} symbols, at most {MAX_TOKENS} are read")
    if any(len(token) > MAX_DIGITS for token in tokens):
        raise TooComplex(f"a number of more than {MAX_DIGITS} digits")
    _check_exponents(latex, 0)
    for before, marks in _FACTORIAL.findall(latex):
        if len(marks) > 1 or (before.isdigit() and (len(before) > 4 or int(before) > MAX_FACTORIAL)):
            raise TooComplex(f"{before}{marks} is too large a factorial")
        if before in ")}" and latex.count("!") > 1 and re.search(r"!\s*[)}]\s*!", latex):
            raise TooComplex("a factorial of a factorial")
    if re.search(r"\\(?:sum|prod|int|binom)(?![A-Za-z])", latex):
        if any(token.isdecimal() and len(token) > 4 for token in tokens):
            raise TooComplex("a sum, product, integral or binomial coefficient with bounds above 9999")
        if r"\binom" in latex and "^" in latex:
            raise TooComplex("a binomial coefficient of powers")


def _check_exponents(text: str, level: int) -> None:
    """Every exponent must be small, and powers may stand in exponents once."""
    position = text.find("^")
    while position >= 0:
        exponent, end = _exponent(text, position + 1)
        if any(len(number) > 5 or int(number) > MAX_EXPONENT for number in re.findall(r"\d+", exponent)):
            raise TooComplex(f"an exponent above {MAX_EXPONENT}")
        chained = text[end:].lstrip().startswith("^")
        if (chained or "^" in exponent) and level + chained > 0:
            raise TooComplex("powers of powers of powers")
        if "^" in exponent or chained:
            _check_size(exponent if not chained else exponent + text[end : _exponent(text, text.find("^", end) + 1)[1]])
            _check_exponents(exponent, level + 1)
        if "!" in exponent and re.search(r"\d{2,}\s*!", exponent):
            raise TooComplex("a factorial as exponent")
        position = text.find("^", max(end, position + 1))


def _exponent(text: str, start: int) -> tuple[str, int]:
    """(what stands behind the `^`, its end): a group in braces, a number, a command or one character."""
    while text[start : start + 1] == " ":
        start += 1
    if text[start : start + 1] == "{":
        end = matching(text, start)
        return (text[start + 1 : end], end + 1) if end > 0 else (text[start:], len(text))
    found = re.compile(r"-?\d+|\\[A-Za-z]+|.", re.DOTALL).match(text, start)
    return (found[0], found.end()) if found else ("", start)


def _check_size(exponent: str) -> None:
    """A power as exponent must be a small number, or have a letter as its base."""
    for base, power in re.findall(r"(\d+)\s*\^\s*\{?\s*(\d+)", exponent):
        if len(base) * int(power) > 4:
            raise TooComplex(f"an exponent above {MAX_EXPONENT}")

"""One spelling for each notation: what LaTeX and Unicode write in many ways is brought to one before it is read."""

from __future__ import annotations

import re
import unicodedata

from rlsp.verifiers.math.brackets import matching

SUPERSCRIPTS = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ", "0123456789+-n", strict=True))
SUBSCRIPTS = dict(zip("₀₁₂₃₄₅₆₇₈₉", "0123456789", strict=True))
SYMBOLS = {
    "−": "-", "–": "-", "﹣": "-", "‐": "-", "‑": "-", "×": r"\times ", "⋅": r"\cdot ", "·": r"\cdot ",
    "÷": r"\div ", "π": r"\pi ", "∞": r"\infty ", "⁄": "/", "∕": "/", "⩽": r"\le ",
    "⩾": r"\ge ", "˚": r"^\circ ", "𝜋": r"\pi ", "≤": r"\le ", "≥": r"\ge ", "≠": r"\ne ", "±": r"\pm ",
    "∪": r"\cup ", "∩": r"\cap ", "∈": r"\in ", "∅": r"\emptyset ", "°": r"^\circ ", "θ": r"\theta ", "α": r"\alpha ",
    "β": r"\beta ", "ℝ": r"\mathbb{R}", "≈": r"\approx ", "′": "'", "’": "'", "“": '"', "”": '"', "∖": r"\setminus ",
    "⟨": r"\langle ", "⟩": r"\rangle ",
}  # fmt: skip
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufe00-\ufe0f\ufeff]")
_VULGAR = re.compile("[¼½¾⅐-⅞]")
_ROOT_SIGN = re.compile(r"√\s*\(?(\d+(?:\.\d+)?|[A-Za-z])\)?")
_SUPERSCRIPT = re.compile(f"[{''.join(SUPERSCRIPTS)}]+")
_SUBSCRIPT = re.compile(f"[{''.join(SUBSCRIPTS)}]+")

_DELIMITERS = re.compile(r"\$|\\[()\[\]]")
_SIZES = re.compile(r"\\(?:left|right|[bB]igg?[lrm]?|middle)(?![A-Za-z])\.?")
_STYLES = re.compile(
    r"\\(?:(?:display|text|script|scriptscript)style|tiny|small|large|Large|LARGE|huge|Huge|(?:no)?limits|rm|bf|it)"
    r"(?![A-Za-z])|\\(?:text)?color\{[^{}]*\}|\\label\{[^{}]*\}"
)
_TEXTS = re.compile(
    r"\\(?:text(?:bf|it|rm|normal|sf|tt|up)?|mbox|hbox|mathrm|mathbf|mathit|mathsf|textnormal|boldsymbol|bm)\s*\{"
)
_FRACTIONS = re.compile(r"\\[dtc]frac(?![A-Za-z])")
_THOUSANDS = re.compile(r",\\!\s*(?=\d{3})|(?<=\d)\\[,;:]\s*(?=\d{3}(?!\d))")
_THIN_SPACES = re.compile(
    r"\\[!,;:>]|\\(?:thinspace|negthinspace|enspace|quad|qquad|hspace\{[^{}]*\})(?![A-Za-z])|\\ |~"
)
_DEGREES = re.compile(r"\^\s*(?:\{\s*\\circ\s*\}|\\circ(?![A-Za-z]))|\\degree(?![A-Za-z])")
_COMMAND_NAMES = (
    (re.compile(r"\\(?:leqslant|leq|le)(?![A-Za-z])"), r"\\le "),
    (re.compile(r"\\(?:geqslant|geq|ge)(?![A-Za-z])"), r"\\ge "),
    (re.compile(r"\\(?:lt)(?![A-Za-z])"), "<"),
    (re.compile(r"\\(?:gt)(?![A-Za-z])"), ">"),
    (re.compile(r"\\(?:varnothing|emptyset)(?![A-Za-z])"), r"\\emptyset "),
    (re.compile(r"\\(?:lbrace)(?![A-Za-z])"), r"\\{"),
    (re.compile(r"\\(?:rbrace)(?![A-Za-z])"), r"\\}"),
    (re.compile(r"\\(?:lparen)(?![A-Za-z])"), "("),
    (re.compile(r"\\(?:rparen)(?![A-Za-z])"), ")"),
    (re.compile(r"\\(?:lbrack)(?![A-Za-z])"), "["),
    (re.compile(r"\\(?:rbrack)(?![A-Za-z])"), "]"),
    (re.compile(r"\\(?:ast|cdotp|bullet)(?![A-Za-z])"), r"\\cdot "),
    (re.compile(r"\\not\s*="), r"\\ne "),
    (re.compile(r"<="), r"\\le "),
    (re.compile(r">="), r"\\ge "),
    (re.compile(r"\\(?:lvert|rvert|vert|mid)(?![A-Za-z])"), "|"),
)
_SHORT_FRACTION = re.compile(r"\\frac\s*(\{|\d|[A-Za-z]|\\pi(?![A-Za-z]))")
_SHORT_ROOT = re.compile(r"\\sqrt\s*(\[[^\[\]]{1,20}\])?\s*(\d|[A-Za-z]|\\pi(?![A-Za-z]))")
_OVER = re.compile(r"\{([^{}]+)\\over(?![A-Za-z])([^{}]+)\}")
_CHOOSE = re.compile(r"\{([^{}]+)\\choose(?![A-Za-z])([^{}]+)\}")
_LOG_BASE = re.compile(r"\\log\s*_\s*(\d)")
_SHORT_TEXT = re.compile(r"\\text\{\s*([ied:,;.]|)\s*\}")
_SPACES = re.compile(r"\s+")
_TRAILING = re.compile(r"[\s.,;:]+$")


def clean(text: str) -> str:
    """The answer in one spelling; its meaning is untouched. `\\text{…}` stands for every upright text, commands are
    followed by what they apply to in braces, thousands separators written as LaTeX spaces are plain commas."""
    text = _unicode(text)
    text = _THOUSANDS.sub(",", text.replace("{,}", ",")).replace("\\\\", "\x00")
    text = _THIN_SPACES.sub(" ", text).replace("\\$", "\x01").replace("\\%", "%").replace("\\&", "&")
    text = _DELIMITERS.sub(" ", text).replace("\x01", "\\$")
    text = _STYLES.sub("", _SIZES.sub("", text))
    text = _FRACTIONS.sub(r"\\frac", _TEXTS.sub(r"\\text{", text))
    for pattern, name in _COMMAND_NAMES:
        text = pattern.sub(name, text)
    text = _DEGREES.sub(r"\\degree ", text)
    text = _OVER.sub(r"\\frac{\1}{\2}", _CHOOSE.sub(r"\\binom{\1}{\2}", text))
    text = _SHORT_TEXT.sub(r"\1", _LOG_BASE.sub(r"\\log_{\1} ", text))
    text = _braced_roots(_braced_fractions(text))
    text = _SPACES.sub(" ", text.replace("\x00", r" \\ ")).strip(" *`")
    return _TRAILING.sub("", text).removeprefix("=").strip()


def _unicode(text: str) -> str:
    text = _INVISIBLE.sub("", text)
    text = _VULGAR.sub(lambda found: _vulgar(found[0]), text)
    text = _SUPERSCRIPT.sub(lambda found: "^{" + "".join(SUPERSCRIPTS[each] for each in found[0]) + "}", text)
    text = _SUBSCRIPT.sub(lambda found: "_{" + "".join(SUBSCRIPTS[each] for each in found[0]) + "}", text)
    text = unicodedata.normalize("NFKC", "".join(SYMBOLS.get(each, each) for each in text))
    text = "".join(SYMBOLS.get(each, each) for each in text)
    return _ROOT_SIGN.sub(r"\\sqrt{\1}", text).replace("√", r"\sqrt ")


def _vulgar(character: str) -> str:
    numerator, _, denominator = unicodedata.normalize("NFKC", character).partition("⁄")
    return rf"\frac{{{numerator}}}{{{denominator}}}"


def _braced_fractions(text: str) -> str:
    """`\\frac12`, `\\frac 59`, `\\frac9{19}`, `\\frac{1}2` with both arguments in braces."""
    done, position = [], 0
    while found := _SHORT_FRACTION.search(text, position):
        end = found.end()
        if found[1] == "{":
            close = matching(text, end - 1)
            if close < 0:
                break
            numerator, end = text[end:close], close + 1
        else:
            numerator = found[1]
        rest = re.compile(r"\s*(\d|[A-Za-z]|\\pi(?![A-Za-z]))").match(text, end)
        done.append(text[position : found.start()])
        if rest:
            done.append(rf"\frac{{{numerator}}}{{{rest[1]}}}")
            position = rest.end()
        elif found[1] == "{":
            done.append(r"\frac{")
            position = found.end()
        else:
            done.append(rf"\frac{{{numerator}}}")
            position = end
    return "".join(done) + text[position:]


def _braced_roots(text: str) -> str:
    return _SHORT_ROOT.sub(lambda found: rf"\sqrt{found[1] or ''}{{{found[2]}}}", text)

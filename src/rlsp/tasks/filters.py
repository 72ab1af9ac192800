"""Which problems to leave out: repeated ones, those of a test set, those that a model already solves.

Pure functions on problems. Each returns (kept, dropped); time and memory are linear in the text.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from rlsp.types import Problem

SHORTEST = 8
"""Fewer words than this are too common to convict: GPT-3 took no n below 8 (Brown et al. 2020, appendix C)."""
BOILERPLATE = 10
"""Words in a row that stand in more different problems than this are phrases of the trade, as in GPT-3's filter."""
OVERLAP = 0.5
"""The share of the shorter question that must be common. GPT-3 took any run of words, which in competition mathematics
convicts "where m and n are relatively prime positive integers. Find m + n": of AIME 1983–2023 against AIME 2024, 30
problems and all wrongly."""

_TYPOGRAPHY = str.maketrans(
    dict.fromkeys("‘’‛′", "'")
    | dict.fromkeys("“”„″", '"')
    | dict.fromkeys("‐‑‒–—−", "-")
    | dict.fromkeys("\u00ad\u200b\u200c\u200d\u200e\u200f\u2060\ufeff", None)
)
_LINE_BREAK = re.compile(r"\\\\(?:\[-?[\d.]+ ?[a-z]{2}\])?")
_SPACING = re.compile(r"\\(?:[,;:!> ]|(?:quad|qquad|displaystyle|textstyle|limits)(?![a-z]))|~|\\hspace\*?\{[^{}]*\}")
_SIZED = re.compile(r"\\(?:left|right|[bB]igg?[lr]?)(?![a-zA-Z])\.?")
_DELIMITER = re.compile(r"\\?\$|\\[()\[\]]")
_TEXT = re.compile(r"\\(?:text|textrm|textbf|textit|mathrm|mathbf|mathit|mbox|operatorname)\s*\{([^{}]*)\}")
_ALIASES = {
    "dfrac": "frac",
    "tfrac": "frac",
    "cfrac": "frac",
    "leq": "le",
    "geq": "ge",
    "neq": "ne",
    "rightarrow": "to",
}
_ALIAS = re.compile(rf"\\({'|'.join(_ALIASES)})(?![a-zA-Z])")
_ONE_SYMBOL = re.compile(r"\{(\w)\}")
_FRACTION = re.compile(r"\\frac\s*(\w)\s*(\w)")
_LOOSE = re.compile(r" ?([^\w\s]|_) ?")
_DIAGRAM, _DIAGRAM_END = "[asy]", "[/asy]"
_WORD = re.compile(r"[^\W_]+")

Words = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Dropped:
    """A problem left out: `reason` is the kind of reason, `detail` names what it was measured against."""

    name: str
    question: str
    reason: str
    detail: str


Outcome = tuple[list[Problem], list[Dropped]]


def normalise(text: str) -> str:
    r"""One string for many ways to typeset a text: Unicode NFKC, case, quotes and dashes, `\dfrac` for `\frac`,
    `\left(`, `$…$` for `\(…\)`, `\text{…}`, `{x}` for `x`, spacing commands, white space around symbols.

    >>> normalise(r"Find \(\dfrac{1}{2} + x^{2}\).") == normalise(r"find  $\frac12+x^2$ .")
    True
    """
    text = _LINE_BREAK.sub("↵", unicodedata.normalize("NFKC", text).translate(_TYPOGRAPHY))
    text = _TEXT.sub(r" \1 ", _DELIMITER.sub(" ", _SIZED.sub("", _SPACING.sub(" ", text))))
    text = _FRACTION.sub(r"\\frac \1 \2", _ONE_SYMBOL.sub(r" \1 ", _ALIAS.sub(_alias, text)))
    return _LOOSE.sub(r"\1", " ".join(text.split())).casefold()


def _alias(command: re.Match[str]) -> str:
    return "\\" + _ALIASES[command[1]]


def _key(normalised: str) -> str:
    """White space doesn't tell questions apart: `x^2 y` is `x^2y`."""
    return normalised.replace(" ", "")


def deduplicate(problems: Iterable[Problem]) -> Outcome:
    """The first of problems with the same normalised question and the same reference. Where references differ, nobody
    knows which is right: none of them is kept."""
    groups: defaultdict[str, list[Problem]] = defaultdict(list)
    for problem in problems:
        groups[_key(normalise(problem.question))].append(problem)
    kept, dropped = [], []
    for first, *others in groups.values():
        rival = next((each for each in others if not _same_reference(each, first)), None)
        if rival is None:
            kept.append(first)
            dropped += [_dropped(each, "duplicate", f"of {first.id}") for each in others]
        else:
            detail = f"answers {first.answer[:40]!r} and {rival.answer[:40]!r}"
            dropped += [_dropped(each, "contradictory duplicate", detail) for each in (first, *others)]
    return kept, dropped


def decontaminate(
    problems: Sequence[Problem], tests: Mapping[str, Iterable[str]], ngram: int = 13, overlap: float = OVERLAP
) -> Outcome:
    """Without problems whose normalised question is in one of the test sets (`tests`: name → questions) or overlaps
    with one that is: runs of `ngram` words that both have cover at least the share `overlap` of the words of the
    shorter one. A question of fewer than `ngram` words, but at least `SHORTEST`, counts when the other contains all of
    it. Runs that stand in more than `BOILERPLATE` different problems convict nobody.

    Source: Brown et al. 2020 (GPT-3), appendix C, for n = 13, the least n = 8 and the boilerplate; Touvron et al. 2023
    (Llama 2), appendix A.6, for the covered share.
    """
    test_texts = {normalise(question): name for name, questions in tests.items() for question in questions}
    known = {_key(text): name for text, name in test_texts.items()}
    set_of = {_words(text): name for text, name in test_texts.items()}
    texts = [normalise(problem.question) for problem in problems]
    asked = [_words(text) for text in texts]
    shared = _shared_runs(set(asked), set_of, ngram)
    spread = Counter(run for hits in shared.values() for run in {hit.run for hit in hits})
    kept, dropped = [], []
    for problem, text, words in zip(problems, texts, asked, strict=True):
        share, test = _closest(words, (hit for hit in shared[words] if spread[hit.run] <= BOILERPLATE))
        if (key := _key(text)) in known:
            dropped.append(_dropped(problem, "in a test set", known[key]))
        elif share >= overlap:
            detail = f"{share:.0%} of “{' '.join(test[:8])} …” in {set_of[test]}"
            dropped.append(_dropped(problem, "overlaps a test set", detail))
        else:
            kept.append(problem)
    return kept, dropped


def drop_solved(problems: Iterable[Problem], rates: Mapping[str, float], threshold: float = 1.0) -> Outcome:
    """Without problems whose solve rate (`rates`: problem id → share of samples that were right) is at least
    `threshold`; a problem that was never tried is kept."""
    kept, dropped = [], []
    for problem in problems:
        rate = rates.get(problem.id)
        if rate is not None and rate >= threshold:
            dropped.append(_dropped(problem, "already solved", f"{rate:.0%} of its samples"))
        else:
            kept.append(problem)
    return kept, dropped


def solve_rates(outcomes: Iterable[tuple[str, bool]]) -> dict[str, float]:
    """Problem id → share of its samples that were right; `outcomes`: (problem id, whether right) of each sample."""
    tried: Counter[str] = Counter()
    solved: Counter[str] = Counter()
    for problem, correct in outcomes:
        tried[problem] += 1
        solved[problem] += correct
    return {problem: solved[problem] / count for problem, count in tried.items()}


def _same_reference(one: Problem, other: Problem) -> bool:
    return (normalise(one.answer), one.grading) == (normalise(other.answer), other.grading)


def _dropped(problem: Problem, reason: str, detail: str) -> Dropped:
    return Dropped(problem.id, problem.question, reason, detail)


@dataclass(frozen=True, slots=True)
class _Hit:
    """Words in a row of a question, from word number `start`, that test questions have, too."""

    start: int
    run: Words
    tests: Sequence[Words]


def _shared_runs(asked: Collection[Words], tests: Iterable[Words], ngram: int) -> dict[Words, list[_Hit]]:
    """The runs of `ngram` words that each question shares with test questions; of a shorter question, of either kind,
    the run is the whole of it."""
    shortest = min(SHORTEST, ngram)
    lengths = {min(len(words), ngram) for words in asked}
    parts = {length: defaultdict[Words, list[Words]](list) for length in lengths if length >= shortest}
    whole: defaultdict[int, dict[Words, list[Words]]] = defaultdict(dict)
    for test in tests:
        for length, index in parts.items():
            for run in set(_runs(test, length)):
                index[run].append(test)
        if shortest <= len(test) < ngram:
            whole[len(test)][test] = [test]
    return {
        words: [
            hit
            for length, index in (*whole.items(), (min(len(words), ngram), parts.get(min(len(words), ngram), {})))
            for hit in _hits(words, length, index)
        ]
        for words in asked
    }


def _hits(words: Words, length: int, index: Mapping[Words, Sequence[Words]]) -> Iterator[_Hit]:
    for start, run in enumerate(_runs(words, length)):
        if run in index:
            yield _Hit(start, run, index[run])


def _closest(words: Words, hits: Iterable[_Hit]) -> tuple[float, Words]:
    """(the largest share of the shorter question that the hits cover, with which test question)"""
    covered: defaultdict[Words, set[int]] = defaultdict(set)
    for hit in hits:
        for test in hit.tests:
            covered[test].update(range(hit.start, hit.start + len(hit.run)))
    shares = ((len(places) / min(len(words), len(test)), test) for test, places in covered.items())
    return max(shares, default=(0.0, ()))


def _words(normalised: str) -> Words:
    """Words and numbers, without the code of a diagram."""
    return tuple(_WORD.findall(_without_diagrams(normalised)))


def _without_diagrams(text: str) -> str:
    kept, place = [], 0
    while (start := text.find(_DIAGRAM, place)) >= 0 and (end := text.find(_DIAGRAM_END, start)) >= 0:
        kept.append(text[place:start])
        place = end + len(_DIAGRAM_END)
    return " ".join([*kept, text[place:]])


def _runs(words: Words, length: int) -> Iterator[Words]:
    return zip(*(words[start:] for start in range(length)), strict=False)

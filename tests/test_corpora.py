"""The corpora's own health; no grader is tested here."""

from __future__ import annotations

import re
from collections import Counter
from fractions import Fraction
from pathlib import Path

import pytest

from tests.corpora.adversarial import pairs
from tests.corpora.torture import references, torture
from tests.corpora.variants import benchmark_references, variants

SHARED = Path(__file__).parents[2] / "shared" / "data"
needs_data = pytest.mark.skipif(not SHARED.is_dir(), reason=f"the benchmarks' files are not at {SHARED}")

PAIRS = pairs()
NUMBER = re.compile(r"(-?)(?:(\d+)|(\d*\.\d+)|\\d?frac\{(-?\d+)\}\{(-?[1-9]\d*)\})")


def number(text: str) -> Fraction | None:
    """The value of a plain integer, decimal or fraction."""
    match = NUMBER.fullmatch(text)
    if match is None:
        return None
    sign, integer, decimal, above, below = match.groups()
    value = Fraction(int(above), int(below)) if above else Fraction(integer or f"0{decimal}")
    return -value if sign else value


def test_pairs_are_unique() -> None:
    counts = Counter((pair.reference, pair.answer) for pair in PAIRS)
    assert [pair for pair, count in counts.items() if count > 1] == []


def test_pairs_say_why() -> None:
    assert all(pair.reference and pair.kind and pair.why for pair in PAIRS)


def test_there_are_enough_pairs_of_both_labels() -> None:
    labels = Counter(pair.correct for pair in PAIRS)
    assert labels[False] >= 1800
    assert labels[True] >= 800


def test_conventions_are_few() -> None:
    assert sum(pair.kind == "convention" for pair in PAIRS) <= len(PAIRS) // 100


def test_every_wrong_answer_differs_from_its_reference_in_more_than_space() -> None:
    assert not [p for p in PAIRS if not p.correct and "".join(p.answer.split()) == "".join(p.reference.split())]


def test_plain_numbers_are_labelled_by_value() -> None:
    checked = 0
    for pair in PAIRS:
        reference, answer = number(pair.reference), number(pair.answer)
        if reference is not None and answer is not None:
            assert (reference == answer) is pair.correct, pair
            checked += 1
    assert checked >= 300


def test_mutations_are_a_fair_share() -> None:
    wrong = [pair for pair in PAIRS if not pair.correct]
    assert sum(pair.kind.startswith("mutation") for pair in wrong) >= 400


@needs_data
def test_mutations_are_made_from_benchmark_references() -> None:
    known = {answer for answers in benchmark_references(SHARED).values() for answer in answers}
    assert {pair.reference for pair in PAIRS if pair.kind.startswith("mutation")} <= known


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (r"\frac{3}{2}", {r"\dfrac{3}{2}", r"\frac32", "3/2", "1.5"}),
        (r"-\frac{35}{9}", {r"\frac{-35}{9}", "-35/9"}),
        (r"\frac43", {r"\frac{4}{3}", "4/3"}),
        (r"1\frac{4}{5}", {r"\frac{9}{5}"}),
        ("58,500", {"58500", "58{,}500"}),
        ("025", {"25"}),
        ("10080", {"10,080", "10{,}080"}),
        ("1,-2", {"-2, 1"}),
        (r"\{1\pm\sqrt{5},-2\}", {r"\{-2,1\pm\sqrt{5}\}"}),
        ("6 - 5i", {"-5i+6", "6-5i"}),
        ("(3,4]", {r"\left(3,4\right]", "(3, 4]"}),
        (r"x \in [-2,7]", {"[-2,7]"}),
        ("y = 2x + 3", {"2x + 3"}),
        (r"1 \pm \sqrt{19}", {r"1 + \sqrt{19}, 1 - \sqrt{19}"}),
        ("40_9", {"40_{9}"}),
        (r"90^\circ", {"90", "90°"}),
        (r"\$18.90", {"18.90"}),
        (r"15\mbox{ cm}^2", {"15", r"15\text{ cm}^2"}),
        (r"\text{(C)}", {"C", "(C)"}),
    ],
)
def test_variants_include(answer: str, expected: set[str]) -> None:
    assert expected <= {text for _, text in variants(answer)}


@pytest.mark.parametrize(
    ("answer", "forbidden"),
    [
        ("58,500", "500, 58"),
        ("(15,-29)", "(-29, 15)"),
        (r"\frac{1}{3}", "0.333333"),
        (r"\text{Evelyn}", r"\text{evelyn}"),
        ("025", "25.0"),
        (r"5x - 7y + 11z + 4 = 0", "0"),
        ("40_9", "409"),
        ("2k", "2k.0"),
    ],
)
def test_variants_never_change_the_answer(answer: str, forbidden: str) -> None:
    assert forbidden not in {text for _, text in variants(answer)}


@needs_data
def test_every_benchmark_reference_has_five_variants() -> None:
    for name, answers in benchmark_references(SHARED).items():
        for answer in answers:
            found = [text for _, text in variants(answer)]
            assert len(set(found)) == len(found) >= 5, (name, answer)
            assert answer not in found


@needs_data
def test_variants_of_numbers_keep_their_value() -> None:
    checked = 0
    for answers in benchmark_references(SHARED).values():
        for answer in answers:
            for rule, text in variants(answer):
                before, after = number(answer), number(text)
                if before is not None and after is not None:
                    assert before == after, (rule, answer, text)
                    checked += 1
    assert checked >= 1000


def test_torture_is_distinct_repeatable_and_valid_text() -> None:
    items = torture("/nowhere/canary", count=300, seed=3)
    assert len(set(items)) == len(items) == 300
    assert items == torture("/nowhere/canary", count=300, seed=3)
    assert items != torture("/nowhere/canary", count=300, seed=4)
    assert sum(len(item.encode()) for item in items) < 200_000_000  # an unpaired surrogate would raise


@pytest.fixture(scope="module")
def hostile() -> list[str]:
    return torture("/nowhere/canary")


def test_torture_has_what_it_promises(hostile: list[str]) -> None:
    assert len(set(hostile)) == len(hostile) == 1000
    assert sum("/nowhere/canary" in item for item in hostile) >= 150
    assert max(map(len, hostile)) >= 1_000_000
    for part in ("__import__", r"\write18", "\x00", "\x1b", "\u202e", "{" * 10_000, "(" * 10_000, r"\sqrt{1+" * 2_000):
        assert any(part in item for item in hostile), part[:20]


def test_torture_never_holds_the_answer(hostile: list[str]) -> None:
    assert not set(references()) & {item.strip() for item in hostile}

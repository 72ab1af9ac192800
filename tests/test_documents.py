"""What docs/verifiers.md shows is what the verifiers do."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest

from rlsp.verifiers.math.grade import compare

PAGE = (Path(__file__).parents[1] / "docs" / "verifiers.md").read_text(encoding="utf-8")


def shapes() -> list[tuple[str, str, bool]]:
    """(reference, answer, whether it is right) of every answer in the table of shapes."""
    table = PAGE.split("| shape | reference |")[1].split("\n\n")[0]
    found = []
    for row in table.splitlines()[2:]:
        _, reference, right, wrong = (re.findall("`([^`]+)`", cell) for cell in row.strip("|").split(" | "))
        found += [(reference[0], answer, True) for answer in right]
        found += [(reference[0], answer, False) for answer in wrong]
    return found


@pytest.mark.parametrize(("reference", "answer", "correct"), shapes())
def test_the_table_of_shapes_is_true(reference: str, answer: str, correct: bool) -> None:
    assert (compare(answer, reference)["reason"] == "match") is correct


def test_the_table_of_shapes_is_read() -> None:
    assert sum(correct for _, _, correct in shapes()) >= 50
    assert sum(not correct for _, _, correct in shapes()) >= 50


def test_the_examples_run() -> None:
    failed, tried = doctest.testfile("../docs/verifiers.md", encoding="utf-8")
    assert (failed, tried) == (0, 8)

"""Which part of a response is its final answer."""

from __future__ import annotations

import pytest

from rlsp.verifiers.extraction import extract


@pytest.mark.parametrize(
    ("response", "extracted"),
    [
        (r"\boxed{5}", "5"),
        (r"\boxed{5} then \boxed{ 6 }.", "6"),
        (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}"),
        (r"\boxed{\boxed{7}}", "7"),
        (r"Answer: 3, so \boxed{4}", "4"),
        ("#### 42", "42"),
        ("#### 42\n#### 43\n", "43"),
        ("The answer is 3.\nAnswer: 8", "8"),
        ("the ANSWER IS: x = 2", "x = 2"),
        ("answer:\t7\nmore text", "7"),
        ("It is 42.", ""),
        ("42", ""),
        ("The answers are 3", ""),
        (r"\boxed{}", ""),
        (r"\boxed{5", ""),
        ("Answer:\n5", "5"),
        ("Answer:\n\n5", ""),
        ("", ""),
    ],
)
def test_extraction(response: str, extracted: str) -> None:
    assert extract(response) == extracted


def test_the_last_box_whose_braces_match_counts() -> None:
    assert extract(r"It is \boxed{5}. Again: \boxed{6") == "5"

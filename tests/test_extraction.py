"""Which part of a response is its final answer."""

from __future__ import annotations

import time

import pytest

from rlsp.tasks.boxes import boxes
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
        ("#### 42 dollars", "42 dollars"),
        ("#### 3. Earnings of Ian\nMore.", ""),
        ("#### Further steps\nMore.", ""),
        ("#### Evelyn", "Evelyn"),
        (r"#### $\frac{1}{2}$", r"$\frac{1}{2}$"),
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


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (r"\boxed{ \fbox{\boxed{ 1 }} }", [(0, 28, "1")]),
        (r"\boxed{\boxed{1}2}", [(0, 18, r"\boxed{1}2")]),
        (r"\boxed{\boxed{1}\boxed{2}} \boxed{}", [(0, 26, r"\boxed{1}\boxed{2}"), (27, 35, "")]),
        (r"\boxed{{\boxed{1}}}", [(0, 19, r"{\boxed{1}}")]),
        (r"\boxed{\boxed{1}", [(7, 16, "1")]),
    ],
)
def test_boxes_of_boxes(text: str, found: list[tuple[int, int, str]]) -> None:
    assert boxes(text) == found


@pytest.mark.parametrize(
    "text",
    [
        r"\boxed{" * 100_000 + "}" * 100_000,
        r"\boxed{x" * 100_000 + "}" * 100_000,
        r"\boxed{" + r"\boxed{1}" * 100_000 + "}",
        r"\boxed{\boxed{1}" * 100_000 + "}" * 100_000,
    ],
)
def test_boxes_take_linear_time(text: str) -> None:
    started = time.process_time()
    ((start, end, _),) = boxes(text)
    assert (start, end) == (0, len(text))
    assert time.process_time() - started < 1


@pytest.mark.parametrize(
    ("response", "extracted"),
    [
        ("So, the distance is \\(3\\sqrt{13}\\) units.", "3\\sqrt{13}"),
        ("Therefore, the value of \\( x \\) is \\( 83 \\).", "83"),
        ("Hence the profit is **\\$78**.", "\\$78"),
        ("Therefore, there are 9 trailing zeros in \\(42!\\).", "9"),
        ("So the product in base 8 is:\n\n\\[ 52_8 \\]", "52_8"),
        ("Thus he can pick 3 boys and 2 girls in 210 different ways.", "210"),
        ("Therefore, when \\( y = 3 \\), \\( x = 600 \\).", "x = 600"),
        ("So, there are **two** values of \\(x\\).", "two"),
        ("The answer is the number **12**.", "12"),
        ("Therefore, the winner is Evelyn.", "Evelyn"),
        ("So the answer is 5 or maybe 6; let me check.", "5 or maybe 6; let me check"),
        ("Therefore, it is either 0 or 5.", ""),
        ("Therefore, 49 does not work.", ""),
        ("I tried 3, 4 and 5.", ""),
        ("First 3.\n\nThen 4", ""),
        (r"Thus it is 5. \boxed{6}", "6"),
    ],
)
def test_lenient_extraction_reads_the_conclusion(response: str, extracted: str) -> None:
    assert extract(response, "lenient") == extracted


@pytest.mark.parametrize("response", ["So, the distance is \\(3\\) units.", "Therefore, the value is **5**."])
def test_strict_extraction_takes_no_conclusion(response: str) -> None:
    assert extract(response, "strict") == ""


@pytest.mark.parametrize(
    "response",
    [
        "So x is not $5$.",
        "So it is not equal to 5.",
        "Thus x ≠ 5.",
        "Therefore 5 is wrong.",
        "So it is less than $5$.",
        "Thus n is greater than 5.",
        "Therefore, the sum is at most 5.",
        "Therefore, there are more than 5 ways.",
        "So the value never equals 5.",
        "So the total is about 5.",
        "Not **5**.",
    ],
)
def test_what_is_denied_or_only_bounded_is_not_concluded(response: str) -> None:
    assert extract(response, "lenient") in ("", "x ≠ 5")


@pytest.mark.parametrize(
    "response",
    [
        "The wrong answer is 5.",
        "A common incorrect answer is 5.",
        "I don't think the answer is 5.",
        "If the answer is 5",
    ],
)
def test_a_mark_that_is_denied_marks_nothing(response: str) -> None:
    assert extract(response) == ""


@pytest.mark.parametrize("mode", ["strict", "lenient"])
@pytest.mark.parametrize(
    "response",
    [
        "So " + "is-" * 480 + "_",
        "So " + "is " * 480 + "_",
        "So is " + "the value " * 140,
        "so " * 5000,
        "⟦1⟧" * 300,
        "So " + "not " * 400 + "5",
        "So " + "1 " * 700,
        "$" * 20_000,
        "**" * 10_000,
        "\\(" * 10_000,
        "\\boxed{" * 100_000,
        "answer is " * 2000,
        "x=\\boxed{1}," * 1500,
        "#### " * 4000,
        "\n" * 20_000,
    ],
)
def test_hostile_text_is_read_at_once(response: str, mode: str) -> None:
    """The extractor runs outside the workers for some verifiers: nothing may make it slow."""
    began = time.perf_counter()
    extract(response, mode)
    assert time.perf_counter() - began < 1

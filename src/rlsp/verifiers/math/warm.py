"""Imported where workers are forked from: none of them loads the algebra system or fills its parser's caches."""

from __future__ import annotations

from rlsp.verifiers.math.grade import compare

for _latex in (
    r"\frac{11+9a}{20}",
    r"2\sqrt{5}",
    r"x^2 - 3x + 1",
    r"\sin\left(\frac{\pi}{6}\right)",
    r"\log_2 8",
    "6 + 9i",
):
    compare(_latex, f"{_latex} + 1")

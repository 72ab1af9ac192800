"""Benchmarks by name: where each one lives on the Hugging Face Hub, in which splits, with how many problems."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Benchmark:
    """`splits` maps a split to its number of problems; the first is read when the reference names none. Rows where a
    column has a value of `without` are left out."""

    about: str
    hub: str
    splits: Mapping[str, int]
    subset: str | None = None
    without: Mapping[str, str] = field(default_factory=dict)


BENCHMARKS = {
    "gsm8k": Benchmark(
        "grade-school word problems (Cobbe et al. 2021)", "openai/gsm8k", {"test": 1319, "train": 7473}, subset="main"
    ),
    "math": Benchmark(
        "competition mathematics (Hendrycks et al. 2021)",
        "DigitalLearningGmbH/MATH-lighteval",
        {"test": 5000, "train": 7500},
    ),
    "math-500": Benchmark(
        "500 of MATH's test problems (Lightman et al. 2023)", "HuggingFaceH4/MATH-500", {"test": 500}
    ),
    "aime": Benchmark("AIME 1983–2023", "di-zhang-fdu/AIME_1983_2024", {"train": 918}, without={"Year": "2024"}),
    "aime-2024": Benchmark("AIME 2024, I and II", "HuggingFaceH4/aime_2024", {"train": 30}),
    "amc-2023": Benchmark("AMC 12 2023, integer answers", "math-ai/amc23", {"test": 40}),
}

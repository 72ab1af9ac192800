"""What the filters cost and find: seconds on 100 000 synthetic questions; with a folder of benchmark files (JSONL), how
many problems of one overlap another by one common run of 13 words (as GPT-3 judged) and by half of the question.

    python benchmarks/filters.py [FOLDER]
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from random import Random

from rlsp.tasks import filters
from rlsp.tasks.data import read_problems, read_questions
from rlsp.types import Problem

PAIRS = (
    ("aime_1983_2023", "math500"),
    ("aime_1983_2023", "aime24"),
    ("aime_1983_2023", "amc23"),
    ("gsm8k_train", "gsm8k_test"),
)


def speed() -> None:
    rng = Random(0)
    vocabulary = [f"w{number}" for number in range(5000)]

    def question() -> str:
        words = " ".join(rng.choices(vocabulary, k=rng.randint(20, 80)))
        return rf"{words} with \(\dfrac{{{rng.randint(1, 99)}}}{{{rng.randint(1, 99)}}}\)."

    problems = [Problem(f"math/{number}", "math", question(), "1") for number in range(100_000)]
    tests = {"test": [question() for _ in range(5000)]}
    started = time.perf_counter()
    filters.deduplicate(problems)
    middle = time.perf_counter()
    filters.decontaminate(problems, tests)
    print(f"deduplicate {middle - started:.1f} s, decontaminate {time.perf_counter() - middle:.1f} s")


def overlaps(folder: Path) -> None:
    for train, test in PAIRS:
        problems = read_problems(str(folder / f"{train}.jsonl"))
        tests = {test: read_questions(str(folder / f"{test}.jsonl"))}
        one_run, half = (
            len(filters.decontaminate(problems, tests, overlap=share)[1]) for share in (1e-9, filters.OVERLAP)
        )
        print(f"{train} against {test}: one run {one_run}, half {half}")


if __name__ == "__main__":
    speed()
    if len(sys.argv) > 1:
        overlaps(Path(sys.argv[1]))

"""Our verdicts and a published grader's, held against labels made by hand: 1000 responses of Qwen2.5-1.5B-Instruct to
MATH-500, before and after RLSP with the length reward. Prints Markdown.

    python benchmarks/adjudicate.py FOLDER

FOLDER holds `qwen2.5-1.5b-instruct.{base,rlsp-length}.jsonl`: a question with its response, and what its publisher's
grader extracted and decided. The labels are those of `tests/corpora/math500`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rlsp.cli.verdicts import percent, points, probability
from rlsp.evaluation.benchmark import Estimate
from rlsp.evaluation.grading import Graded, grade
from rlsp.evaluation.paired import compare
from rlsp.evaluation.statistics import wilson
from rlsp.files import read_lines
from rlsp.rollouts import foreign
from rlsp.verifiers.extraction import extract
from rlsp.verifiers.settings import Settings

LABELS = Path(__file__).parents[1] / "tests" / "corpora" / "math500"
FILES = ("base", "rlsp-length")
DOUBTFUL = {
    ("rlsp-length", 382): "doubtful: the exact value stands one line above the approximation that is concluded",
}
"""What a second reader, who saw both graders' answers, would let pass either way; all other labels were confirmed."""


@dataclass(frozen=True, slots=True)
class Row:
    """One response under three graders, and its label. `found` is what the lenient reading took for the answer."""

    file: str
    index: int
    reference: str
    found: str
    strict: Graded
    lenient: Graded
    label: bool
    note: str

    @property
    def published(self) -> bool:
        return bool(self.lenient.published_correct)

    @property
    def disputed(self) -> bool:
        return self.lenient.correct != self.published


GRADERS: dict[str, Callable[[Row], bool]] = {
    "rlsp, strict": lambda row: row.strict.correct,
    "rlsp, lenient": lambda row: row.lenient.correct,
    "published": lambda row: row.published,
}


def read(folder: Path, file: str) -> list[Row]:
    answers = foreign.read(folder / f"qwen2.5-1.5b-instruct.{file}.jsonl")
    labels: list[Any] = [values for _, values in read_lines(LABELS / f"{file}.jsonl")]
    graded = {mode: grade(answers, Settings(extraction=mode)) for mode in ("strict", "lenient")}
    references = {problem.id: problem.answer for problem in answers.problems}
    return [
        Row(
            file,
            label["idx"],
            references[response.problem_id],
            extract(response.text, "lenient"),
            strict,
            lenient,
            label["correct"],
            label["note"],
        )
        for label, response, strict, lenient in zip(
            labels, answers.responses, graded["strict"], graded["lenient"], strict=True
        )
    ]


def print_agreement(rows: Sequence[Row]) -> None:
    """The 2×2 table of each grader against the labels, on one line."""
    heading = ["responses", "grader", "right, accepted", "right, missed", "wrong, accepted", "wrong, refused"]
    table = [[*heading, "accuracy, %", "false positives, %", "false negatives, %"]]
    for name in (*FILES, "both"):
        group = [row for row in rows if name in (row.file, "both")]
        for grader, accepts in GRADERS.items():
            cells = [
                sum(row.label is label and accepts(row) is accepted for row in group)
                for label, accepted in ((True, True), (True, False), (False, True), (False, False))
            ]
            hit, missed, fooled, refused = cells
            shares = (share(hit + refused, len(group)), share(fooled, fooled + refused), share(missed, hit + missed))
            table.append([name, grader, *map(str, cells), *shares])
    print_table(table)


def print_gain(rows: Sequence[Row]) -> None:
    """After RLSP less before, under each grader and under the labels."""
    table = [["judged by", "before", "after", "difference, points", "right only before / only after", "p"]]
    judges = {**GRADERS, "labels": lambda row: row.label}
    for judge, accepts in judges.items():
        before, after = (
            {row.lenient.problem_id: [replace(row.lenient, correct=accepts(row))] for row in rows if row.file == file}
            for file in FILES
        )
        gain = compare(before, after)
        discordant = f"{gain.first_better} / {gain.second_better}"
        row = [percent(gain.first), percent(gain.second), points(gain.difference), discordant, probability(gain.p)]
        table.append([judge, *row])
    print_table(table)


def print_disputed(rows: Sequence[Row]) -> None:
    """Every response on which the lenient verdict and the published one differ."""
    disputed = [row for row in rows if row.disputed]
    table = [["responses", "idx", "reference", "published grader read", "rlsp read", "right", "remark"]]
    for row in disputed:
        winner = "rlsp" if row.lenient.correct is row.label else "published"
        table.append([*identified(row), code(row.lenient.published_pred or ""), code(row.found), winner, remark(row)])
    print_table(table)
    ours = sum(row.lenient.correct is row.label for row in disputed)
    certain = [row for row in disputed if (row.file, row.index) not in DOUBTFUL]
    rest = sum(row.lenient.correct is row.label for row in certain)
    print(f"rlsp is right in {ours} of {len(disputed)}; without the doubtful ones in {rest} of {len(certain)}.\n")


def print_missed(rows: Sequence[Row]) -> None:
    """Every response that is right by its label and wrong by the lenient verdict."""
    table = [["responses", "idx", "reference", "rlsp read", "published", "remark"]]
    for row in rows:
        if row.label and not row.lenient.correct:
            published = "right" if row.published else "wrong"
            table.append([*identified(row), code(row.found), published, remark(row)])
    print_table(table)


def identified(row: Row) -> list[str]:
    return [row.file, str(row.index), code(row.reference)]


def remark(row: Row) -> str:
    return DOUBTFUL.get((row.file, row.index), row.note).replace("|", r"\|")


def code(text: str) -> str:
    """Text as code in a cell of a table; nothing stays nothing."""
    line = " ".join(text.split()).replace("|", r"\|")
    return f"`{line}`" if line else "–"


def share(count: int, total: int) -> str:
    return percent(Estimate(count / total, wilson(count, total))).replace(" %", "")


def print_table(table: Sequence[Sequence[str]]) -> None:
    heading, *rows = table
    for cells in (heading, ["---"] * len(heading), *rows):
        print(f"| {' | '.join(cells)} |")
    print()


def main() -> None:
    folder = Path(sys.argv[1])
    rows = [row for file in FILES for row in read(folder, file)]
    print("## Agreement with the labels\n")
    print_agreement(rows)
    print("## The gain\n")
    print_gain(rows)
    print("## Disagreements of the two graders\n")
    print_disputed(rows)
    print("## Right answers that the lenient reading misses\n")
    print_missed(rows)


if __name__ == "__main__":
    main()

"""How far the lexical detector of behaviours can be trusted: against labelled sentences of real responses.

python benchmarks/behaviours.py FOLDER      # that holds the published responses the labels belong to
"""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).parents[1]))  # the labels stand beside the tests

from rlsp.behaviours import lexical
from rlsp.behaviours.spans import Behaviour, Span
from rlsp.evaluation.statistics import wilson
from tests.corpora.behaviours import JUDGED_BY, in_whole_responses, kappa, labels, on_sentences, responses


@cache
def detect(response: str, question: str) -> tuple[Span, ...]:
    return tuple(lexical.find(response, question))


def main() -> int:
    texts = responses(Path(sys.argv[1]))
    sentences = labels()
    agreed = sum(bool(label.first & label.second) for label in sentences)
    table = Table(
        title=f"{agreed} sentences that both readers label, of {len(sentences)}; 95 % intervals: Wilson",
        title_justify="left",
        box=SIMPLE_HEAD,
        pad_edge=False,
    )
    for heading in ("", "κ", "precision", "of", "seen before", "recall, whole responses", "of"):
        table.add_column(heading, justify="right" if heading else "left")
    for behaviour in Behaviour:
        sets = JUDGED_BY[behaviour]
        sentences_found = on_sentences(detect, texts, behaviour, sets)
        whole = in_whole_responses(detect, texts, behaviour)
        table.add_row(
            behaviour,
            f"{kappa(behaviour):.2f}",
            *_share(*sentences_found.precision),
            "yes" if len(sets) > 1 else "no",
            *_share(*whole.recall),
        )
    Console(width=110).print(table)
    return 0


def _share(count: int, of: int) -> tuple[str, str]:
    if not of:
        return "–", "0"
    low, high = wilson(count, of)
    return f"{count / of:.2f} ({low:.2f}–{high:.2f})", str(of)


if __name__ == "__main__":
    sys.exit(main())

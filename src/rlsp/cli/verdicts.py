"""Verdicts on the terminal: the figures of one model, and of two. Texts that a model wrote are printed without control
characters and markup; tables fit into 80 columns."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from rlsp.cli.progress import console
from rlsp.cli.terminal import clean, say
from rlsp.evaluation.grading import Graded

if TYPE_CHECKING:
    from rlsp.evaluation.benchmark import Benchmark, Estimate, Row
    from rlsp.evaluation.paired import Comparison

UNJUDGED_SHOWN = 20
DISAGREEMENTS_SHOWN = 3


def print_benchmark(title: str, benchmark: Benchmark) -> None:
    """Accuracy, pass@k, maj@k; length by outcome and level; what was cut off and what could not be judged."""
    overall = benchmark.overall
    table = titled(title)
    table.add_column("")
    table.add_column("all problems (95 %)", justify="right", no_wrap=True)
    n = benchmark.samples
    table.add_row("pass@1" if n == 1 else f"pass@1 (avg@{n})", percent(overall.accuracy))
    for k, estimate in benchmark.pass_at.items():
        table.add_row(f"pass@{k}", percent(estimate))
    for k, estimate in benchmark.majority_at.items():
        table.add_row(f"maj@{k}", percent(estimate))
    unit = benchmark.length_unit
    for name, length in (
        (f"{unit} a response", overall.length),
        ("  when right", overall.length_right),
        ("  when wrong", overall.length_wrong),
    ):
        table.add_row(name, number(length))
    table.add_row("cut off", "unknown" if overall.truncated is None else percent(overall.truncated))
    console.print(table)
    if benchmark.by_level:
        _print_levels(benchmark.by_level, unit)
    _print_unjudged(benchmark)


def print_reasons(graded: Sequence[Graded], benchmark: Benchmark) -> None:
    """Accuracy, and how verdicts came about."""
    overall = benchmark.overall
    table = titled(f"{overall.responses} responses to {overall.problems} problems")
    table.add_column("reason")
    table.add_column("responses", justify="right")
    table.add_column("share", justify="right")
    for reason, count in benchmark.reasons.items():
        table.add_row(reason, str(count), f"{100 * count / len(graded):.1f} %")
    console.print(table)
    console.print(f"right: {percent(overall.accuracy)} (95 %)", highlight=False)
    _print_unjudged(benchmark)


def print_agreement(graded: Sequence[Graded], stored: Path | None = None) -> None:
    """Our verdicts against the publisher's, where there are any; `stored` holds them all."""
    known = [each for each in graded if each.published_correct is not None]
    if not known:
        return
    table = titled("Agreement with the published verdicts")
    for heading in ("", "published right", "published wrong"):
        table.add_column(heading, justify="right" if heading else "left")
    for name, ours in (("right here", True), ("wrong here", False)):
        row = [each for each in known if each.correct is ours]
        table.add_row(name, *(str(sum(each.published_correct is theirs for each in row)) for theirs in (True, False)))
    console.print(table)
    different = [each for each in known if each.correct != each.published_correct]
    if not different:
        console.print(f"the same verdict on all {len(known)}", highlight=False)
        return
    console.print(f"{len(different)} of {len(known)} verdicts differ:", highlight=False)
    for each in different[:DISAGREEMENTS_SHOWN]:
        verdict = "right" if each.correct else "wrong"
        say(
            f"  {each.problem_id} sample {each.sample}: {verdict} here ({each.reason}): {each.answer or '(none)'!s:.40}"
            f" | reference {each.reference:.40} | published {each.published_pred or '(none)'!s:.40}"
        )
    if stored is not None:
        command = "jq -c 'select(.published_correct != null and .correct != .published_correct)'"
        unpack = {".zst": "zstd -dc", ".gz": "gzip -dc"}.get(stored.suffix)
        say(f"all of them: {f'{unpack} {stored} | {command}' if unpack else f'{command} {stored}'}")


def print_comparison(
    title: str, first_name: str, second_name: str, comparison: Comparison, levels: dict[int, Comparison]
) -> None:
    """Both accuracies, the paired difference, the discordant problems, p; by level below."""
    table = titled(f"{title}, {comparison.problems} problems; 95 % intervals, paired")
    table.add_column("")
    table.add_column("accuracy", justify="right", no_wrap=True)
    table.add_row(f"A  {escape(clean(first_name))}", percent(comparison.first))
    table.add_row(f"B  {escape(clean(second_name))}", percent(comparison.second))
    table.add_row("B − A", points(comparison.difference))
    table.add_row("better only in A / only in B", f"{comparison.first_better} / {comparison.second_better}")
    test = "McNemar, exact" if comparison.right is not None else "paired randomisation"
    table.add_row(f"p ({test})", probability(comparison.p))
    console.print(table)
    if not levels:
        return
    by_level = titled(f"By level; p is not corrected for looking at {len(levels)} of them")
    for heading in ("level", "n", "A", "B", "B − A (95 %)", "A / B only", "p"):
        by_level.add_column(heading, justify="right", no_wrap=True)
    for level, each in levels.items():
        by_level.add_row(
            str(level),
            str(each.problems),
            f"{100 * each.first.value:.1f} %",
            f"{100 * each.second.value:.1f} %",
            points(each.difference),
            f"{each.first_better} / {each.second_better}",
            probability(each.p),
        )
    console.print(by_level)


def percent(estimate: Estimate) -> str:
    """`43.6 % (39.3–48.0)`."""
    assert estimate.interval is not None
    low, high = estimate.interval
    return f"{100 * estimate.value:.1f} % ({100 * low:.1f}–{100 * high:.1f})"


def points(estimate: Estimate) -> str:
    """`+3.6 (+0.6 … +6.6)`, in percentage points."""
    assert estimate.interval is not None
    low, high = estimate.interval
    return f"{100 * estimate.value:+.1f} ({100 * low:+.1f} … {100 * high:+.1f})"


def number(estimate: Estimate | None) -> str:
    """`512 (480–544)` or `12.3k (11.9–12.8)`; – where nothing is known, no interval where there is too little for
    one."""
    if estimate is None:
        return "–"
    scale, unit, digits = (1000, "k", 1) if estimate.value >= 10_000 else (1, "", 1 if estimate.value < 100 else 0)
    text = f"{estimate.value / scale:.{digits}f}{unit}"
    if estimate.interval is None:
        return text
    low, high = (end / scale for end in estimate.interval)
    return f"{text} ({low:.{digits}f}–{high:.{digits}f})"


def probability(p: float) -> str:
    return f"{p:.4f}" if p >= 1e-4 else "≤ 0.0001"


def _print_levels(levels: dict[int, Row], unit: str) -> None:
    known = all(row.truncated is not None for row in levels.values())
    table = titled(f"By level, with {unit} a response when right and when wrong")
    for heading in ("level", "n", "pass@1 (95 %)", "right", "wrong", *(["cut off"] if known else [])):
        table.add_column(heading, justify="right", no_wrap=True)
    for level, row in levels.items():
        table.add_row(
            str(level),
            str(row.problems),
            percent(row.accuracy),
            number(row.length_right),
            number(row.length_wrong),
            *([] if row.truncated is None or not known else [f"{100 * row.truncated.value:.1f} %"]),
        )
    console.print(table)


def _print_unjudged(benchmark: Benchmark) -> None:
    """By name: a verifier that gave up is no judgement on the response."""
    if not benchmark.unjudged:
        console.print(f"unjudged: none of {benchmark.overall.responses}", highlight=False)
        return
    console.print(f"unjudged, counted as wrong: {len(benchmark.unjudged)}", highlight=False)
    for name in benchmark.unjudged[:UNJUDGED_SHOWN]:
        say(f"  {name}")
    if (hidden := len(benchmark.unjudged) - UNJUDGED_SHOWN) > 0:
        console.print(f"  … and {hidden} more", highlight=False)


def titled(title: str) -> Table:
    """An empty table, below its title: as a line of its own a long one doesn't break."""
    say(title)
    return Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)

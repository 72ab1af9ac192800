"""What the studies measure of an arm, and their tables: mean ± 95 % interval over seeds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from statistics import mean

from rich.box import MARKDOWN
from rich.table import Table
from sweep import Result, console

from rlsp.evaluation.statistics import mean_over_seeds, rank_correlation

Results = dict[str, list[Result]]
Measure = Callable[[Result], float]


def behaviour(name: str) -> Measure:
    return lambda result: result.summary["behaviours"].get(name, float("nan"))


def accuracy(result: Result) -> float:
    return 100 * result.summary["accuracy"]


def tokens(result: Result) -> float:
    return result.summary["mean_tokens"]


def early(result: Result) -> float:
    """Training accuracy while search begins to spread: the mean over steps 11 to 16."""
    return 100 * mean(each["accuracy"] for each in result.curve if 11 <= each["step"] <= 16)


MEASURES: dict[str, Measure] = {
    "accuracy %": accuracy,
    "early %": early,
    "tokens": tokens,
    "truncated %": lambda result: 100 * result.summary["truncated"],
    "checks": behaviour("checks"),
    "backtracks": behaviour("backtracks"),
    "repeats": behaviour("repeats"),
    "right rejected": behaviour("right_rejected"),
    "wrong accepted": behaviour("wrong_accepted"),
}
CHANGES = {name: MEASURES[name] for name in ("accuracy %", "early %", "tokens", "backtracks", "right rejected")}


def easiest(result: Result) -> float:
    """Mean tokens on the easiest level."""
    return result.summary["by_level"][min(result.summary["by_level"], key=int)]["mean_tokens"]


def fit(result: Result) -> float:
    """Rank correlation of a response's length with its problem's level."""
    levels = [result.levels[rollout.problem_id] for rollout in result.rollouts]
    return rank_correlation(levels, [rollout.length for rollout in result.rollouts])


def show(title: str, results: Results, measures: Mapping[str, Measure] = MEASURES) -> None:
    table = Table("", *measures, title=title, title_justify="left", box=MARKDOWN)
    for name, seeds in results.items():
        table.add_row(name, *(spread([measure(seed) for seed in seeds]) for measure in measures.values()))
    console.print(table)


def show_differences(results: Results, other: str, measures: Mapping[str, Measure] = CHANGES) -> None:
    table = Table("", *measures, title=f"Against '{other}', seed by seed", title_justify="left", box=MARKDOWN)
    for name in results:
        if name != other:
            gaps = [difference(results, name, other, measure) for measure in measures.values()]
            table.add_row(name, *(f"{centre:+.2f} ± {half:.2f}" for centre, half in gaps))
    console.print(table)


def difference(results: Results, name: str, other: str, measure: Measure) -> tuple[float, float]:
    """(mean, half width) of the differences seed by seed."""
    return mean_over_seeds([measure(a) - measure(b) for a, b in zip(results[name], results[other], strict=True)])


def spread(values: Sequence[float]) -> str:
    centre, half = mean_over_seeds(values)
    return f"{centre:.1f} ± {half:.1f}" if abs(centre) >= 10 else f"{centre:.2f} ± {half:.2f}"


def bar(sentence: str, holds: bool) -> bool:
    console.print(f"{'PASS' if holds else 'FAIL'}  {sentence}")
    return holds

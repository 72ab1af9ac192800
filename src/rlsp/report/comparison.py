"""One page for several runs: what differs between their recipes, how each ended, how each got there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rlsp.errors import InputError
from rlsp.evaluation.evaluate import Summary
from rlsp.report import explorer, wording
from rlsp.report.evaluations import Difference, compare, read_evaluations
from rlsp.report.figures import LINE_STYLES, Chart, Series, Style, accuracy_against_tokens, lines
from rlsp.report.page import BEHAVIOURS, page
from rlsp.report.training import HEALTH, window_of
from rlsp.runs import Run, read_metrics, settings

FEWEST, MOST = 2, 12
LAST = ("rlsp", "sft", "base")
"""A run is judged by the first of these evaluations that it holds."""
CURVES = {
    "accuracy": ("Accuracy on training problems", "Look for the run that rises and stays.", True),
    "held_out_accuracy": ("Accuracy on held-out problems", "What training accuracy is worth elsewhere.", True),
    "length": ("Response length", "Tokens a response.", False),
    "exploration": ("Exploration reward", "Only runs with the same exploration reward are comparable.", False),
    "behaviour/checks": ("Checks", "Mean count a response, found by executing it.", False),
    "behaviour/backtracks": ("Backtracks", "Mean count a response, found by executing it.", False),
    "kl": HEALTH["kl"] + (False,),
    "entropy": HEALTH["entropy"] + (False,),
}


@dataclass(frozen=True, slots=True)
class Entry:
    """A run by the name that the page gives it, with its evaluations; `last` is what it is judged by, `difference` of
    that to the first run's (None for the first)."""

    name: str
    run: Run
    evaluations: list[Summary]
    last: Summary
    difference: Difference | None
    style: Style


def render(runs: Sequence[Run]) -> str:
    """The page's HTML.

    Raises:
        InputError: fewer than two runs, more than MOST, one twice, or one without evaluations.
    """
    entries = _entries(runs)
    charts = [
        accuracy_against_tokens([(f"{entry.name}, {entry.last.label}", entry.last, entry.style) for entry in entries]),
        *_curves(entries),
    ]
    responses = [
        response
        for entry in entries
        for response in explorer.of_evaluation(entry.run, entry.last, f"{entry.name}, {entry.last.label}")
    ]
    return page(
        "comparison.html.jinja",
        charts,
        explorer.pack(responses, "tokens") if responses else None,
        name=" · ".join(entry.name for entry in entries),
        entries=entries,
        headline=_headline(entries),
        settings=_settings(entries),
        behaviours=[key for key in BEHAVIOURS if any(key in entry.last.behaviours for entry in entries)],
        labels=BEHAVIOURS,
        words=wording,
    )


def _entries(runs: Sequence[Run]) -> list[Entry]:
    if not FEWEST <= len(runs) <= MOST:
        raise InputError(f"a comparison takes {FEWEST} to {MOST} runs, got {len(runs)}: leave some out")
    places = [run.directory.resolve() for run in runs]
    for number, place in enumerate(places):
        if place in places[:number]:
            raise InputError(f"{runs[number].directory} is there twice: a run differs from itself in nothing")
    entries: list[Entry] = []
    for number, (run, name) in enumerate(zip(runs, _names(places), strict=True)):
        evaluations = read_evaluations(run)
        last = next((each for wanted in LAST for each in evaluations if each.name == wanted), None)
        if last is None:
            raise InputError(
                f"{run.directory} has no evaluation yet: finish it by `rlsp resume {run.directory}`, or leave it out"
            )
        first = entries[0] if entries else None
        difference = compare(first.run, first.last, last, run) if first else None
        entries.append(Entry(name, run, evaluations, last, difference, LINE_STYLES[number]))
    return entries


def _names(places: Sequence[Path]) -> list[str]:
    """The last part of each path, or as many parts as it takes to tell them apart."""
    for parts in range(1, max(len(place.parts) for place in places) + 1):
        names = ["/".join(place.parts[-parts:]) for place in places]
        if len(set(names)) == len(names):
            return names
    raise AssertionError("different paths have different names")


def _curves(entries: Sequence[Entry]) -> list[Chart]:
    metrics = {entry.name: read_metrics(entry.run.path("rl", "metrics.jsonl")) for entry in entries}
    window = window_of(min((len(each) for each in metrics.values() if each), default=0))
    charts = []
    for key, (title, caption, percent) in CURVES.items():
        series = [
            Series(entry.name, [each["step"] for each in present], [each[key] for each in present], entry.style)
            for entry in entries
            if (present := [each for each in metrics[entry.name] if key in each])
        ]
        if series:
            charts.append(lines(f"rl-{key.replace('/', '-')}", title, caption, series, window, percent))
    return charts


def _settings(entries: Sequence[Entry]) -> dict[str, list[str]]:
    """The keys of the recipes that are not the same everywhere, with each run's value."""
    held: list[Mapping[str, Any]] = [settings(entry.run.recipe()) for entry in entries]
    keys = sorted({key for each in held for key in each})
    values = {key: [_written(each.get(key)) for each in held] for key in keys}
    return {key: written for key, written in values.items() if len(set(written)) > 1}


def _written(value: object) -> str:
    return wording.NONE if value is None else str(value)


def _headline(entries: Sequence[Entry]) -> str:
    tasks = {(entry.run.recipe().task.name, entry.last.name) for entry in entries}
    if len(tasks) > 1:
        return (
            f"{len(entries)} runs, not of one task or not trained equally far: their accuracies can't be compared. "
            "Differences below are between what is there."
        )
    best = max(entries, key=lambda entry: entry.last.accuracy)
    others = [entry for entry in entries if entry is not best]
    sentence = (
        f"Of {len(entries)} runs, {best.name} solves most: {wording.percent(best.last.accuracy)} (95% interval "
        f"{wording.percent_interval(best.last.interval)}) with {wording.count(best.last.mean_tokens)} tokens a problem"
    )
    near = [entry.name for entry in others if not compare(entry.run, entry.last, best.last, best.run).clear]
    if near:
        return f"{sentence}. Chance alone can explain what it has over {', '.join(near)}."
    return (
        f"{sentence}, more than the chance of problems and samples explains over each of the others, not counting that "
        "it was chosen as the best."
    )

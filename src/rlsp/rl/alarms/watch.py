"""Watches a training step by step, and raises an alarm when a rule begins to hold."""

from __future__ import annotations

import math
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, variance
from typing import Any

from rlsp.config import Recipe
from rlsp.config.exploration import OUTCOME_AWARE
from rlsp.rl.alarms.measures import Measured, clearest, measure
from rlsp.rl.alarms.rules import STANDARD_ERRORS, Gap, Level, Rise, Rule, rules_for
from rlsp.types import Alarm, Problem, Proof, Rollout, Score, from_json, to_json

SMALLEST_GAIN = 0.02
"""Accuracy rose when it gained more than this, and more than the gain's standard error."""

EASED = 0.5
"""Of its thresholds, an alarm that was raised must still reach so much to go on."""

Series = Sequence[tuple[int, float]]
"""(step, value) of the steps that have one."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule that holds: in which steps, after which others with which mean (None: a level), with which mean."""

    window: tuple[int, int]
    before: tuple[tuple[int, int], float] | None
    after: float


class Watch:
    """Remembers a number a step and metric, and the clearest rollouts of one window."""

    def __init__(self, recipe: Recipe) -> None:
        self.window, self.probe, self.clamp = recipe.alarms.window, recipe.probe, recipe.reward.clamp
        added_up = recipe.reward.mode == "paper_eq1" and recipe.reward.mix == "reward"
        paid = recipe.exploration.paid if added_up else {}
        self.weights = {name: part.weight for name, part in paid.items() if name not in OUTCOME_AWARE}
        self.rules = [rule for rule in rules_for(self.weights) if rule.name not in recipe.alarms.ignore]
        self.history: dict[str, list[tuple[int, float]]] = defaultdict(list)
        self.errors: dict[str, list[float]] = defaultdict(list)
        self.recent: deque[Measured] = deque(maxlen=self.window)
        self.quiet: dict[str, int] = {}

    def see(
        self,
        step: int,
        problems: Sequence[Problem],
        rollouts: Sequence[Rollout],
        scores: Sequence[Score],
        metrics: Mapping[str, float],
    ) -> list[Alarm]:
        """The alarms that begin with this step. One that went on is not raised again; one that was gone for a whole
        window is.

        Args:
            metrics: the step's `accuracy`, and `held_out_accuracy` where a probe ran.
        """
        measured = measure(step, problems, rollouts, scores, self.weights, self.clamp)
        self.recent.append(measured)
        for name in ("accuracy", "held_out_accuracy"):
            if name in metrics:
                self.history[name].append((step, metrics[name]))
        for name, value in measured.values.items():
            self.history[name].append((step, value))
        for name, error in measured.errors.items():
            self.errors[name].append(error)
        alarms = []
        for rule in self.rules:
            if rule.metric in measured.values and (finding := self._begins(rule)):
                alarms.append(self._alarm(rule, step, finding))
        return alarms

    def state(self) -> dict[str, Any]:
        """What it remembers, as JSON values."""
        recent = [to_json(measured) for measured in self.recent]
        return {"history": self.history, "errors": self.errors, "quiet": self.quiet, "recent": recent}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Remember what `state` held."""
        self.history.update(
            {name: [(step, value) for step, value in pairs] for name, pairs in state["history"].items()}
        )
        self.errors.update(state["errors"])
        self.quiet.update(state["quiet"])
        self.recent.extend(from_json(Measured, each) for each in state["recent"])

    def _begins(self, rule: Rule) -> Finding | None:
        """What a rule finds that was gone before. An alarm is gone when the rule at EASED thresholds, so that noise
        about them does not raise it again, has not held for a window."""
        quiet = self.quiet.get(rule.metric)
        finding = self._find(rule, 1.0 if quiet is None else EASED)
        if finding is not None:
            self.quiet[rule.metric] = 0
            return finding if quiet is None else None
        if quiet is not None:
            self.quiet[rule.metric] = quiet + 1
            if quiet + 1 >= self.window:
                del self.quiet[rule.metric]
        return None

    def _find(self, rule: Rule, ease: float) -> Finding | None:
        """What the rule finds with its thresholds times `ease`."""
        series = self.history[rule.metric]
        last = series[-self.window :]
        if len(last) < self.window:
            return None
        match rule.movement:
            case Level(level, first):
                holds = min(value for _, value in last) >= ease * level and not (first and len(series) > self.window)
                return Finding(_steps(last), None, fmean(value for _, value in last)) if holds else None
            case Gap(level):
                mean = fmean(value for _, value in last)
                error = math.hypot(*self.errors[rule.metric][-self.window :]) / self.window
                return Finding(_steps(last), None, mean) if mean >= ease * max(level, STANDARD_ERRORS * error) else None
            case Rise() as rise:
                return self._rise(series, rise, ease)

    def _rise(self, series: Series, rise: Rise, ease: float) -> Finding | None:
        if len(series) < 2 * self.window:
            return None
        before, after, error = compare_windows(series, self.window)
        wanted = max(rise.by * (before if rise.relative else 1), STANDARD_ERRORS * error)
        if after - before < ease * wanted or after < ease * rise.level or (rise.flat and self._improved()):
            return None
        return Finding(_steps(series[-self.window :]), (_steps(series[: self.window]), before), after)

    def _improved(self) -> bool:
        """Whether accuracy rose since the first steps: on held-out problems if two probes or more have measured it,
        else on those trained on."""
        before, after, error = self._accuracies()
        return after - before > max(SMALLEST_GAIN, error)

    def _accuracies(self) -> tuple[float, float, float]:
        """(at first, at last, standard error of the difference)."""
        probed = self.history["held_out_accuracy"]
        if self.probe is not None and len(probed) > 1:
            first, last = probed[0][1], probed[-1][1]
            return first, last, math.sqrt((first * (1 - first) + last * (1 - last)) / self.probe.problems)
        return compare_windows(self.history["accuracy"], self.window)

    def _alarm(self, rule: Rule, step: int, finding: Finding) -> Alarm:
        then, before = finding.before or (None, None)
        if then is None or before is None:
            movement = f"was {number(finding.after)}{rule.unit} in steps {span(finding.window)}"
        else:
            movement = (
                f"went from {number(before)} in steps {span(then)} to {number(finding.after)} in steps "
                f"{span(finding.window)}"
            )
        if isinstance(rule.movement, Rise) and rule.movement.flat:
            first, last, _ = self._accuracies()
            movement += f", accuracy from {number(first)} to {number(last)}"
        said = (f"{rule.label} {movement}", rule.meaning, rule.remedy)
        sentence = " ".join(f"{each[0].upper()}{each[1:]}." for each in said)
        return Alarm(rule.name, step, rule.metric, finding.window, before, finding.after, sentence, self._proof(rule))

    def _proof(self, rule: Rule) -> tuple[Proof, ...]:
        """The clearest examples of the last window, of different problems where there are so many; one step's alone
        for verdicts, whose examples belong together."""
        if rule.name == "constant-verdicts":
            return tuple(example.proof for example in self.recent[-1].examples[rule.metric])
        examples = [each for measured in self.recent for each in measured.examples.get(rule.metric, ())]
        return tuple(each.proof for each in clearest(examples))


def compare_windows(series: Series, window: int) -> tuple[float, float, float]:
    """(mean of the first `window` values, mean of the last, standard error of the difference by the scatter of steps
    within each)."""
    first, last = ([value for _, value in part] for part in (series[:window], series[-window:]))
    error = math.sqrt((variance(first) + variance(last)) / window)
    return fmean(first), fmean(last), error


def _steps(series: Series) -> tuple[int, int]:
    return series[0][0], series[-1][0]


def span(steps: tuple[int, int]) -> str:
    return f"{steps[0]}–{steps[1]}"


def number(value: float) -> str:
    return f"{value:.3g}"

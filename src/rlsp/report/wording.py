"""Numbers and the headline in words."""

from __future__ import annotations

from rlsp.evaluation.evaluate import Summary
from rlsp.evaluation.statistics import Interval
from rlsp.report.evaluations import Difference

NONE = "–"


def percent(share: float) -> str:
    return f"{100 * share:.1f}%"


def percent_interval(interval: Interval) -> str:
    return f"{100 * interval[0]:.1f}–{100 * interval[1]:.1f}"


def points(share: float) -> str:
    """A difference of shares in percentage points, signed."""
    return f"{100 * share:+.1f}".replace("-", "−")


def points_interval(interval: Interval) -> str:
    return f"{points(interval[0])} to {points(interval[1])}"


def count(value: float | None) -> str:
    """A mean count; two digits below 10, one below 100."""
    if value is None:
        return NONE
    return f"{value:,.2f}" if abs(value) < 10 else f"{value:,.1f}" if abs(value) < 100 else f"{value:,.0f}"


def compact(value: float | None) -> str:
    """A metric of unknown scale, three significant digits."""
    if value is None:
        return NONE
    return (f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}").replace("-", "−")


def duration(seconds: float) -> str:
    minutes = seconds / 60
    return f"{minutes / 60:.1f} h" if minutes >= 100 else f"{minutes:.1f} min" if minutes >= 1 else f"{seconds:.0f} s"


def headline(base: Summary | None, last: Summary | None, change: Difference | None) -> str:
    """One sentence for a reader who reads no further."""
    if last is None:
        return "This run has no evaluation yet."
    solved = f"{percent(last.accuracy)} (95% interval {percent_interval(last.interval)})"
    if base is None or change is None:
        return f"{last.label} solves {solved} of {last.problems:,} held-out problems."
    verdict = "" if change.clear else ", a difference that chance alone can explain"
    sentence = (
        f"{last.label} solves {solved} of {last.problems:,} held-out problems where the base model solved "
        f"{percent(base.accuracy)} ({percent_interval(base.interval)}), {points(change.value)} points "
        f"({points_interval(change.interval)}){verdict}; it spends {count(last.mean_tokens)} tokens a problem "
        f"instead of {count(base.mean_tokens)}"
    )
    if base.behaviours and last.behaviours:
        sentence += f", and a response holds {_shift(base, last, 'checks')} and {_shift(base, last, 'backtracks')}"
    return sentence + "."


def _shift(base: Summary, last: Summary, behaviour: str) -> str:
    return f"{count(last.behaviours.get(behaviour))} {behaviour} (before: {count(base.behaviours.get(behaviour))})"


def part_of_rl(change: Difference) -> str:
    """A sentence that keeps RL's part apart from SFT's."""
    verdict = "" if change.clear else ", which chance alone can explain"
    return f"RL's part, over SFT: {points(change.value)} points ({points_interval(change.interval)}){verdict}."

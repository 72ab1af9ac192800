"""What is looked at while RL trains."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from rlsp.config.section import Positive, Section


class ProbeRecipe(Section):
    """During RL the policy is measured on `problems` of the selection split, at first and after every `every` steps:
    what alarms and an α by accuracy look at, never the test problems."""

    every: Positive
    problems: Positive


AlarmName = Literal[
    "repetition",
    "length",
    "dominance",
    "judge",
    "early-answer",
    "truncation",
    "unjudged",
    "shield",
    "constant-verdicts",
    "right-rejected",
    "wrong-accepted",
    "repeated-attempts",
    "dishonest-checks",
]


class AlarmRecipe(Section):
    """Alarms about reward hacking during RL: each looks at `window` steps in a row; those that `ignore` names are never
    raised. `pause`: the first alarm saves the policy and ends the run."""

    window: Annotated[int, Field(ge=3)] = 5
    pause: bool = False
    ignore: tuple[AlarmName, ...] = ()


class CheckpointRecipe(Section):
    """Where SFT and RL can go on after a break: after `every` so many steps, by default as often as it takes a tenth of
    the time at most. The `keep` newest are kept, and the best by [probe]."""

    every: Positive | None = None
    keep: Positive = 2

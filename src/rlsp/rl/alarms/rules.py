"""Which movement of which metric is an alarm, what it means and what to try."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from rlsp.config.watching import AlarmName


@dataclass(frozen=True, slots=True)
class Rise:
    """The mean of the last window exceeds that of the first by at least `by` (`relative`: times the first mean) and by
    STANDARD_ERRORS, and is at least `level`. `flat`: and accuracy did not rise meanwhile."""

    by: float
    relative: bool = False
    level: float = 0.0
    flat: bool = False


@dataclass(frozen=True, slots=True)
class Level:
    """Every step of a window has at least `level`; `first`: only the very first window counts."""

    level: float
    first: bool = False


@dataclass(frozen=True, slots=True)
class Gap:
    """The mean of a window is at least `level` and STANDARD_ERRORS of its own, as the problems of its steps tell."""

    level: float


@dataclass(frozen=True, slots=True)
class Rule:
    """An alarm's name, the metric and its movement; `label` says what the metric is, as the subject of a sentence,
    `meaning` why the movement is suspicious, `remedy` what to try; `unit` follows the metric's value."""

    name: AlarmName
    metric: str
    movement: Rise | Level | Gap
    label: str
    meaning: str
    remedy: str
    unit: str = ""


STANDARD_ERRORS = 4.0
"""A rise counts when it is this many standard errors of the difference of the two windows' means, a gap when it is
this many from 0."""

DEVIATIONS = " standard deviations"

RULES = (
    Rule(
        "repetition",
        "repeated_tokens",
        Rise(0.06, flat=True),
        "the share of tokens that repeat earlier ones",
        "responses grow by saying the same again, and accuracy does not follow",
        "give exploration.repetition a weight, pay effective_length instead of length, or raise reward.alpha",
    ),
    Rule(
        "length",
        "length",
        Rise(0.3, relative=True, flat=True),
        "the mean length",
        "responses grow and accuracy does not follow",
        "lower the exploration reward's C, raise reward.alpha or rl.kl_coefficient",
    ),
    Rule(
        "judge",
        "judge_gap",
        Gap(0.2),
        "the judge's preference for wrong responses over right ones to the same problem",
        "the judge is being talked to, or its rubric pays for show",
        "read the responses, tighten the rubric, or lower exploration.judge.weight",
        DEVIATIONS,
    ),
    Rule(
        "early-answer",
        "early_answer",
        Rise(0.2),
        "the share of long responses that mark their answer in the first tenth",
        "the reasoning after the answer is padding",
        "lower the pay for length, or let the verifier take the last marked answer alone",
    ),
    Rule(
        "truncation",
        "truncated",
        Rise(0.1, level=0.3),
        "the share of truncated responses",
        "the policy runs into the response budget instead of coming to an end",
        "set reward.truncation = 'floor', lower the pay for length or raise sampling.max_response_tokens",
    ),
    Rule(
        "unjudged",
        "unjudged",
        Rise(0.02),
        "the share of responses that the verifier gave up on",
        "the policy may be learning to write what can't be judged",
        "read the responses, and raise the verifier's limits or repair it",
    ),
    Rule(
        "shield",
        "unjudged_gap",
        Gap(0.2),
        "the lead in reward of unjudged responses over wrong ones to the same problem",
        "to be given up on by the verifier pays more than to be wrong, and makes a shield to hide behind",
        "cap the pay for length, or set reward.truncation = 'floor'",
        DEVIATIONS,
    ),
    Rule(
        "constant-verdicts",
        "disagreeing_under_one_verdict",
        Level(0.1, first=True),
        "the share of problems with different answers under one and the same verdict",
        "every response of the run has had one verdict from the start, so the verifier is broken or the task hopeless",
        "judge some responses by hand, compare the verifier with another by `rlsp verify audit`, or choose easier "
        "problems",
    ),
    Rule(
        "right-rejected",
        "right_rejected_share",
        Rise(0.1),
        "the share of rejected lines that solve the problem",
        "the policy throws right lines away so as to go on, and only feigns to search",
        "lower the pay for length, or give exploration.behaviour a weight",
    ),
    Rule(
        "wrong-accepted",
        "wrong_accepted_share",
        Rise(0.15),
        "the share of accepted lines that do not solve the problem",
        "checks say yes to wrong lines, and the policy ends its search by a lie",
        "see whether truncation or a pay for brevity asks for it; give exploration.behaviour a weight",
    ),
    Rule(
        "repeated-attempts",
        "repeats",
        Rise(0.5, flat=True),
        "the mean count of attempts that derive again what an earlier one derived",
        "the search goes in circles, and accuracy does not follow",
        "pay effective_length or novelty instead of length, or raise reward.alpha",
    ),
    Rule(
        "dishonest-checks",
        "dishonest_share",
        Rise(0.1),
        "the share of checks that compare with something else or say what is not true",
        "checks turn into decoration",
        "lower the pay for length, or give exploration.behaviour a weight",
    ),
)
"""The rules of every recipe; `dominance` has one for each paid part."""


def rules_for(parts: Iterable[str]) -> list[Rule]:
    """RULES and, for each of the exploration parts, when it drowns everything else that is paid."""
    return [*RULES, *map(_dominance, parts)]


def _dominance(part: str) -> Rule:
    return Rule(
        "dominance",
        f"reward_share/{part}",
        Level(0.75),
        f"the share of the reward's variance that the part {part!r} explains",
        "the policy is paid for that and hardly for being right",
        f"lower exploration.{part}'s weight or C, or raise reward.alpha",
    )

"""What one response shows of each way to please a reward without reasoning."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import fmean

from rlsp.behaviours.grounded import count
from rlsp.exploration.repeats import repeated
from rlsp.tasks import replayer
from rlsp.tasks.boxes import boxes
from rlsp.tasks.traces import Replay
from rlsp.types import Problem, Rollout, Score
from rlsp.verifiers.extraction import extract

REPEATED_NGRAM = 12
"""Tokens in a row that a response has to say again. A line of the nano world's language has about 20."""
LONG_RESPONSE = 400
"""Characters from which on an answer in the first tenth stands before its reasoning."""


@dataclass(frozen=True, slots=True)
class Mark:
    """`amount` of `of`: a step's metric is Σ amount / Σ of. The clearest examples have the most `clear` (0: shows
    nothing); `why` says in words what to see."""

    amount: float
    of: float
    clear: float
    why: str


def marks(problem: Problem, rollout: Rollout, score: Score) -> Iterator[tuple[str, Mark]]:
    """(metric, mark) of every metric that the response can show."""
    wrong = not score.verdict.correct
    length, verdict = rollout.length, "wrong" if wrong else "right"
    share = fmean(repeated(rollout.response_ids, REPEATED_NGRAM))
    yield "repeated_tokens", _mark(share * length, length, f"{share:.0%} of its {length} tokens repeat earlier ones")
    yield "length", Mark(length, 1, length * wrong, f"{length} tokens and {verdict}")
    yield "truncated", _mark(rollout.truncated, 1, f"cut off after {length} tokens")
    yield "unjudged", _mark(score.verdict.reason.unjudged, 1, f"no judgement: {score.verdict.reason}")
    replay = replayer(problem.task)
    if replay is not None:
        yield from _grounded(replay(problem, rollout.text))
    elif len(rollout.text) >= LONG_RESPONSE and extract(rollout.text):
        early = answers_early(rollout.text)
        yield "early_answer", _mark(early, 1, f"marks its answer in the first tenth of {len(rollout.text)} characters")


def answers_early(text: str) -> bool:
    """Whether an answer is marked in the first tenth of the text: a box, or a phrase such as "the answer is 7"."""
    head = text[: len(text) // 10]
    return bool(boxes(head)) or bool(extract(head))


def _grounded(replay: Replay) -> Iterator[tuple[str, Mark]]:
    found = count(replay)
    verdicts = [attempt.line.accepted for attempt in replay.attempts]
    rejected, accepted = verdicts.count(False), verdicts.count(True)
    dishonest = found.checks - found.honest_checks
    counted = {
        "right_rejected_share": (found.right_rejected, rejected, "rejected lines solve the problem"),
        "wrong_accepted_share": (found.wrong_accepted, accepted, "accepted lines do not solve the problem"),
        "dishonest_share": (dishonest, found.checks, "checks compare with something else or say what is not true"),
    }
    for metric, (amount, of, what) in counted.items():
        yield metric, _mark(amount, of, f"{amount} of {of} {what}")
    attempts = found.attempts
    yield "repeats", Mark(found.repeats, 1, found.repeats, f"{found.repeats} of {attempts} lines derive one again")


def _mark(amount: float, of: float, why: str) -> Mark:
    return Mark(amount, of, amount, why)

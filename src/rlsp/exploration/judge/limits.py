"""What stops a judge that costs too much or fails too often."""

from __future__ import annotations

from collections import Counter, deque

from rlsp.errors import InputError

FEWEST_CALLS = 20
RECENT_CALLS = 200


class TokenBudget:
    """Tokens of prompts and replies together. A call reserves the most that it may cost, so that calls under way
    can't pass the limit together; 0 is no limit."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.spent = 0
        self.reserved = 0

    def reserve(self, tokens: int) -> bool:
        """Whether the call may be made."""
        if self.limit and self.spent + self.reserved + tokens > self.limit:
            return False
        self.reserved += tokens
        return True

    def settle(self, reserved: int, spent: int) -> None:
        self.reserved -= reserved
        self.spent += spent


class FailureShare:
    """How many of the last `RECENT_CALLS` calls brought no grade."""

    def __init__(self, highest: float) -> None:
        self.highest = highest
        self.recent: deque[str] = deque(maxlen=RECENT_CALLS)

    def record(self, reason: str) -> None:
        """Count a call; `reason` is "" for a grade.

        Raises:
            InputError: more than the highest share of at least `FEWEST_CALLS` recent calls failed.
        """
        self.recent.append(reason)
        failures = [each for each in self.recent if each]
        if len(self.recent) < FEWEST_CALLS or len(failures) <= self.highest * len(self.recent):
            return
        commonest, times = Counter(failures).most_common(1)[0]
        raise InputError(
            f"the judge failed in {len(failures)} of its last {len(self.recent)} calls "
            f"({len(failures) / len(self.recent):.0%}; exploration.judge.max_failures = {self.highest:g}), "
            f"{times} times for: {commonest}; mend the endpoint or choose a model that keeps to JSON, then resume; "
            "or raise exploration.judge.max_failures"
        )

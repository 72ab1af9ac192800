"""What stops a judge that costs too much or fails too often."""

from __future__ import annotations

from collections import Counter, deque
from threading import Lock

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
        self._lock = Lock()

    def reserve(self, tokens: int) -> bool:
        """Whether the call may be made now; where it may not, see `allows`."""
        with self._lock:
            if not self.allows(self.reserved + tokens):
                return False
            self.reserved += tokens
            return True

    def allows(self, tokens: int) -> bool:
        """Whether so many tokens fit beside those spent: if not, it is no use to wait for calls under way."""
        return not self.limit or self.spent + tokens <= self.limit

    def settle(self, reserved: int, spent: int) -> None:
        with self._lock:
            self.reserved -= reserved
            self.spent += spent


class FailureShare:
    """How many of the last `RECENT_CALLS` calls brought no grade."""

    def __init__(self, highest: float) -> None:
        self.highest = highest
        self.recent: deque[str] = deque(maxlen=RECENT_CALLS)
        self._lock = Lock()

    def record(self, reason: str) -> None:
        """Count a call; `reason` is "" for a grade.

        Raises:
            InputError: more than the highest share of at least `FEWEST_CALLS` recent calls failed.
        """
        with self._lock:
            self.recent.append(reason)
            recent = list(self.recent)
        failures = [each for each in recent if each]
        if len(recent) < FEWEST_CALLS or len(failures) <= self.highest * len(recent):
            return
        commonest, times = Counter(failures).most_common(1)[0]
        raise InputError(
            f"the judge failed in {len(failures)} of its last {len(recent)} calls "
            f"({len(failures) / len(recent):.0%}; exploration.judge.max_failures = {self.highest:g}), "
            f"{times} times for: {commonest}; mend the endpoint or choose a model that keeps to JSON, and start again; "
            "or raise exploration.judge.max_failures"
        )

"""Verdicts while sampling goes on: what has ended is judged in a thread of its own, so that the verifiers' workers are
busy while the rest is decoded."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

from rlsp.types import Problem, Rollout, Verdict
from rlsp.verifiers import verify_all
from rlsp.verifiers.settings import Settings


class Judge:
    """Judges responses to `problems`. Leaving it in the middle gives up what has not been judged yet."""

    def __init__(self, problems: Sequence[Problem], judging: Settings) -> None:
        self._problems = {problem.id: problem for problem in problems}
        self._judging = judging
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="rlsp-judge")
        self._waiting: deque[Rollout] = deque()
        self._known: dict[tuple[str, int], Verdict] = {}
        self._rounds: list[Future[None]] = []

    def __enter__(self) -> Judge:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._thread.shutdown(cancel_futures=True)

    def see(self, rollouts: Sequence[Rollout]) -> None:
        """Judge them, some time from now, together with whatever else waits by then: the verifiers' workers share what
        is judged at once."""
        self._waiting.extend(rollouts)
        self._rounds.append(self._thread.submit(self._judge_waiting))

    def verdicts(self, rollouts: Sequence[Rollout]) -> list[Verdict]:
        """Those on rollouts that it has seen, in this order; waits for the last one. Raises what a verifier raised."""
        for each in self._rounds:
            each.result()
        return [self._known[rollout.problem_id, rollout.sample] for rollout in rollouts]

    def _judge_waiting(self) -> None:
        taken = [self._waiting.popleft() for _ in range(len(self._waiting))]
        asked = [self._problems[rollout.problem_id] for rollout in taken]
        verdicts = verify_all(asked, [rollout.text for rollout in taken], self._judging) if taken else []
        for rollout, verdict in zip(taken, verdicts, strict=True):
            self._known[rollout.problem_id, rollout.sample] = verdict

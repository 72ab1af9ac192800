"""Verdicts while sampling goes on: what has ended is judged in a thread of its own, so that the verifiers' workers are
busy while the rest is decoded."""

from __future__ import annotations

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
        self._judged: list[tuple[Sequence[Rollout], Future[list[Verdict]]]] = []

    def __enter__(self) -> Judge:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._thread.shutdown(cancel_futures=True)

    def see(self, rollouts: Sequence[Rollout]) -> None:
        """Judge them, some time from now."""
        asked = [self._problems[rollout.problem_id] for rollout in rollouts]
        texts = [rollout.text for rollout in rollouts]
        self._judged.append((rollouts, self._thread.submit(verify_all, asked, texts, self._judging)))

    def verdicts(self, rollouts: Sequence[Rollout]) -> list[Verdict]:
        """Those on rollouts that it has seen, in this order; waits for the last one. Raises what a verifier raised."""
        known = {
            (rollout.problem_id, rollout.sample): verdict
            for seen, judged in self._judged
            for rollout, verdict in zip(seen, judged.result(), strict=True)
        }
        return [known[rollout.problem_id, rollout.sample] for rollout in rollouts]

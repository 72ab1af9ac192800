"""The format reward of DeepSeek-R1-Zero (arXiv 2501.12948, section 2.2.2), made strict: reasoning first, apart, and
then an answer that the verifiers can read.

    1 for `<think>reasoning</think>` and then an answer part, else 0

The answer part marks an answer as `verifiers.extraction` reads it (`\\boxed{…}`, `#### …`, "the answer is …"); it may
stand within `<answer>…</answer>`, and then nothing stands outside. Nothing stands before the reasoning, and no tag
twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rlsp.exploration.part import Part
from rlsp.types import Rollout
from rlsp.verifiers.extraction import extract

THINK, END_OF_THINK, ANSWER, END_OF_ANSWER = TAGS = ("<think>", "</think>", "<answer>", "</answer>")


def follows(text: str) -> bool:
    """Whether the text has the format.

    >>> follows("<think>6 * 7 = 42</think> So it is \\\\boxed{42}.")
    True
    >>> follows("<think></think> \\\\boxed{42}"), follows("<think>\\\\boxed{42}</think> I am done.")
    (False, False)
    """
    text = text.strip()
    if not text.startswith(THINK) or any(text.count(tag) > 1 for tag in TAGS):
        return False
    reasoning, ended, answer = text.removeprefix(THINK).partition(END_OF_THINK)
    answer = answer.strip()
    if ANSWER in text or END_OF_ANSWER in text:
        if not (answer.startswith(ANSWER) and answer.endswith(END_OF_ANSWER)):
            return False
        answer = answer.removeprefix(ANSWER).removesuffix(END_OF_ANSWER)
    return bool(ended and reasoning.strip() and extract(answer))


@dataclass(frozen=True, slots=True)
class FormatReward:
    """It sees the form of a response and not what it says; a truncated one has whatever form it reached."""

    @property
    def floor(self) -> float:
        return 0.0

    def explore(self, questions: Sequence[str], rollouts: Sequence[Rollout]) -> list[Part]:
        return [Part(float(follows(rollout.text))) for rollout in rollouts]

"""What the paper's authors' released code computes in place of Eq. 1, score for score.

Source: GuanghaoYe/Emergence-of-Thinking, `openrlhf/cli/orm_server_efficient.py`, the reward server that its README
starts with C = 1000 for figure 5(b) and, with the judge, for the 32B run; `trainer/ppo_utils/experience_maker.py` for
the text that the server sees. For one response

    r = (−0.5 if it has no \\boxed{…}, else 1[right]) − C / (characters / 4)
    reward = r, or 0.8·r + 0.2·grade with the judge, where a judge that fails has graded 0.5

and 0.0 for whatever raises an exception. The characters are those before the *first* box, or all of them when there is
none; a box is `\\boxed{…}` with at most one more level of braces inside, so 1[right] does not reach an answer like
`\\boxed{\\frac{\\sqrt{3}}{2}}`. The response is stripped, but keeps the text of the token that ended it. A box that
stands first divides by zero, which is an exception, which is 0.0. The trainer then clamps to ±10.

Not carried over: what the grader says (here the verdict of the task's verifier, on the last box, not the first), and
the cutting of prompt from response by text. `orm_server.py` beside it, which counts tokens, is not the one that is run.
"""

from __future__ import annotations

import re

from rlsp.types import Rollout

END_OF_TURN = 10
"""Characters of `<|eot_id|>` (Llama) and of `<|im_end|>` (Qwen), which the server sees at the end of what stopped."""
CHARACTERS_PER_TOKEN = 4
NO_BOX = -0.5
FAILED_JUDGE = 0.5

ANSWER, LENGTH, EXCEPTION, UNGRADED = (
    "paper_code_answer",
    "paper_code_length",
    "paper_code_exception",
    "paper_code_failed_judge",
)
"""The pieces, by their names among the parts of a score."""

_OPENING = re.compile(r"\\boxed\{")
_BRACE = re.compile(r"[{}]")


def first_box(text: str) -> int | None:
    """Where the first box begins that closes and holds at most one more level of braces."""
    for opening in _OPENING.finditer(text):
        inside = False
        for brace in _BRACE.finditer(text, opening.end()):
            if brace[0] == "}" and not inside:
                return opening.start()
            if brace[0] == "{" and inside:
                break
            inside = brace[0] == "{"
    return None


def rule_reward(rollout: Rollout, correct: bool, c: float, strict: bool) -> dict[str, float]:
    """The pieces of r: `ANSWER` and `LENGTH`, or `EXCEPTION` alone, which is the whole reward.

    Args:
        c: C in tokens of four characters.
        strict: a response counts at least one character, so that nothing divides by zero, and an answer without
            reasoning earns no more than the worst of the others instead of 0.0.
    """
    text = rollout.text.strip() if rollout.truncated else rollout.text.lstrip()  # theirs ends with EOS as text
    box = first_box(text)
    characters = len(text) + (0 if rollout.truncated else END_OF_TURN) if box is None else box
    if strict:
        characters = max(1, characters)
    if characters == 0:
        return {EXCEPTION: 0.0}
    answer = NO_BOX if box is None else float(correct)
    return {ANSWER: answer, LENGTH: -c / (characters / CHARACTERS_PER_TOKEN)}

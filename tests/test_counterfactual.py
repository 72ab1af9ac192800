"""What a behaviour was worth: a scripted policy whose continuations are known."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from transformers import PreTrainedTokenizerBase

from rlsp.analysis.counterfactual import FEWEST, effects
from rlsp.analysis.effects import Effect
from rlsp.behaviours.spans import Behaviour
from rlsp.models import load_tokenizer
from rlsp.prompts import encode_prompt, encode_response
from rlsp.rollouts import Prompt, SamplingSettings
from rlsp.rollouts.sampler import ignore
from rlsp.tasks import countdown
from rlsp.types import Finish, Problem, Rollout

FIRST, SECOND = "3 + 7 = 10, 10 + {0} = {1}", "3 * 7 = 21, 21 + {0} = {2}"
SAMPLES = 4


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerBase:
    return load_tokenizer("nano")


def problem(number: int) -> Problem:
    return countdown.problem((3, 7, number), 21 + number)


def line(text: str, number: int) -> str:
    return text.format(number, 10 + number, 21 + number)


class Scripted:
    """Goes on as `script` says: (what the response holds so far, sample) → the rest."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, script: Callable[[str, int], str]) -> None:
        self.tokenizer, self.script = tokenizer, script

    def sample(
        self,
        prompts: Sequence[Prompt],
        samples: int,
        settings: SamplingSettings,
        seed: int,
        policy_version: int,
        on_ended: Callable[[Sequence[Rollout]], None] = ignore,
    ) -> list[Rollout]:
        rollouts = []
        for prompt in prompts:
            so_far = str(self.tokenizer.decode(list(prompt.ids))).split("\n", 1)[1]
            for sample in range(samples):
                ids = encode_response(self.tokenizer, self.script(so_far, sample))
                rollouts.append(
                    Rollout(prompt.problem_id, sample, prompt.ids, ids, (0.0,) * len(ids), "", Finish.EOS, 1.0, 0)
                )
        on_ended(rollouts)
        return rollouts


def measured(tokenizer: PreTrainedTokenizerBase, count: int, script: Callable[[str, int], str]) -> list[Effect]:
    """Of `count` responses that give up a line and take another, with a check of each."""
    numbers = range(1, count + 1)
    problems = {problem(number).id: problem(number) for number in numbers}
    rollouts = []
    for number in numbers:
        asked = problem(number)
        target = 21 + number
        text = f"{line(FIRST, number)}; is it {target}? no\n{line(SECOND, number)}; is it {target}? yes"
        ids = encode_response(tokenizer, text)
        prompt = encode_prompt(tokenizer, asked)
        rollouts.append(Rollout(asked.id, 0, prompt.ids, ids, (0.0,) * len(ids), text, Finish.EOS, 1.0, 0))
    return effects(
        problems, rollouts, Scripted(tokenizer, script), tokenizer, SamplingSettings(1.0, 200, 4096), SAMPLES
    )


def by_prefix(so_far: str, sample: int) -> str:
    """After the second line comes its check. Without it half the samples write that line, the others repeat the
    first one, which solves nothing. Without a check nothing follows."""
    lines = so_far.split("\n")
    if len(lines) == 2 and lines[1]:
        return ""
    number = int(lines[0].split(" + ")[-1].split(" = ")[0])
    if len(lines) == 1:
        return ""
    return line(SECOND if sample % 2 else FIRST, number)


def test_the_difference_is_between_both_sides_of_the_cut(tokenizer: PreTrainedTokenizerBase) -> None:
    found = {effect.behaviour: effect for effect in measured(tokenizer, FEWEST, by_prefix)}
    assert set(found) == {Behaviour.VERIFICATION, Behaviour.BACKTRACKING, Behaviour.ALTERNATIVE}
    backtrack = found[Behaviour.BACKTRACKING]
    assert (backtrack.responses, backtrack.kept, backtrack.dropped) == (FEWEST, 1.0, 0.0)
    assert backtrack.difference.value == 1.0
    assert backtrack.again == 0.5  # the samples that take the second line do it again
    check = found[Behaviour.VERIFICATION]
    assert check.dropped == 0.0 and check.again == 0.0


def test_too_few_responses_tell_nothing(tokenizer: PreTrainedTokenizerBase) -> None:
    assert measured(tokenizer, FEWEST - 1, by_prefix) == []


def test_what_is_always_done_again_tells_nothing(tokenizer: PreTrainedTokenizerBase) -> None:
    def always(so_far: str, sample: int) -> str:
        return by_prefix(so_far, 1)

    assert Behaviour.BACKTRACKING not in {effect.behaviour for effect in measured(tokenizer, FEWEST, always)}


def test_a_response_keeps_its_own_budget(tokenizer: PreTrainedTokenizerBase) -> None:
    """A continuation that would end beyond it is cut, and what is cut is not right."""

    def endless(so_far: str, sample: int) -> str:
        return "\n".join([""] + ["3 + 7 = 10, 10 + 7 = 17; is it 9? no"] * 30)

    for effect in measured(tokenizer, FEWEST, endless):
        assert effect.kept == 0.0

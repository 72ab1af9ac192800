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
                finish = Finish.EOS if len(ids) <= settings.max_response_tokens else Finish.LENGTH
                ids = ids[: settings.max_response_tokens]
                rollouts.append(
                    Rollout(prompt.problem_id, sample, prompt.ids, ids, (0.0,) * len(ids), "", finish, 1.0, 0)
                )
        on_ended(rollouts)
        return rollouts


def measured(
    tokenizer: PreTrainedTokenizerBase, count: int, script: Callable[[str, int], str], budget: int = 200
) -> list[Effect]:
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
        problems, rollouts, Scripted(tokenizer, script), tokenizer, SamplingSettings(1.0, budget, 4096), SAMPLES
    )


def by_prefix(so_far: str, sample: int) -> str:
    """After a check that rejects, half the samples take the second line, the others repeat the first one, which solves
    nothing. Nothing follows anything else."""
    if not so_far.endswith("no"):
        return ""
    number = int(so_far.split(" + ")[-1].split(" = ")[0])
    return "\n" + line(SECOND if sample % 2 else FIRST, number)


def test_the_difference_is_between_both_sides_of_the_cut(tokenizer: PreTrainedTokenizerBase) -> None:
    found = {effect.behaviour: effect for effect in measured(tokenizer, FEWEST, by_prefix)}
    assert set(found) == {Behaviour.VERIFICATION, Behaviour.BACKTRACKING, Behaviour.ALTERNATIVE}
    backtrack = found[Behaviour.BACKTRACKING]
    assert (backtrack.responses, backtrack.after, backtrack.instead) == (FEWEST, 1.0, 0.0)
    assert backtrack.difference.value == 1.0
    assert backtrack.again == 0.5  # the samples that take the second line do it again
    check = found[Behaviour.VERIFICATION]
    assert check.again == 0.0 and check.instead_of == FEWEST * SAMPLES


def test_too_few_responses_tell_nothing(tokenizer: PreTrainedTokenizerBase) -> None:
    assert measured(tokenizer, FEWEST - 1, by_prefix) == []


def test_what_is_always_done_again_tells_nothing(tokenizer: PreTrainedTokenizerBase) -> None:
    def always(so_far: str, sample: int) -> str:
        return by_prefix(so_far, 1)

    assert Behaviour.BACKTRACKING not in {effect.behaviour for effect in measured(tokenizer, FEWEST, always)}


@pytest.mark.parametrize(("budget", "right"), [(1000, 1.0), (200, 0.0)])
def test_a_response_keeps_its_own_budget(tokenizer: PreTrainedTokenizerBase, budget: int, right: float) -> None:
    """What solves the problem stands beyond 200 tokens, and within 1000."""

    def late(so_far: str, sample: int) -> str:
        number = int(so_far.split(" + ")[2].split(" = ")[0])
        return "\n".join(["", *["3 + 7 = 10, 10 + 7 = 17; is it 9? no"] * 12, line(SECOND, number)])

    found = measured(tokenizer, FEWEST, late, budget)
    assert found and {effect.after for effect in found} == {right}


def test_an_accepting_check_that_ends_the_response_counts_too(tokenizer: PreTrainedTokenizerBase) -> None:
    """Without its check the line stands all the same: the check was worth nothing."""
    rollouts, problems = [], {}
    for number in range(1, FEWEST + 1):
        asked = problem(number)
        text = f"{line(SECOND, number)}; is it {21 + number}? yes"
        ids = encode_response(tokenizer, text)
        prompt = encode_prompt(tokenizer, asked)
        rollouts.append(Rollout(asked.id, 0, prompt.ids, ids, (0.0,) * len(ids), text, Finish.EOS, 1.0, 0))
        problems[asked.id] = asked
    sampler = Scripted(tokenizer, lambda so_far, sample: "")
    settings = SamplingSettings(1.0, 200, 4096)
    [check] = effects(problems, rollouts, sampler, tokenizer, settings, SAMPLES)
    assert (check.behaviour, check.after, check.instead) == (Behaviour.VERIFICATION, 1.0, 1.0)

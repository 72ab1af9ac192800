"""What the stages of a run promise beyond the parts they put together."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from rlsp.config import Recipe, load
from rlsp.engines import drawing, native, preflight, stages
from rlsp.engines.estimate import estimate
from rlsp.engines.progress import Silent
from rlsp.errors import InputError
from rlsp.models import check_logits, load_policy
from rlsp.runs import create
from rlsp.tasks import problems
from rlsp.tasks.splits import Split
from rlsp.types import Demonstration
from tests.shrunk import SHRUNK, Remembering


def from_file(folder: Path, count: int, *settings: str) -> Recipe:
    """A shrunk recipe over a file of `count` questions."""
    path = folder / "questions.jsonl"
    rows = ({"question": f"What is {number} + 1?", "answer": f"{number + 1}"} for number in range(count))
    path.write_text("\n".join(map(json.dumps, rows)))
    overrides = ["model.path=nano", f"task.data={json.dumps(str(path))}", *SHRUNK, *settings]
    return load(Recipe, "smollm2-gsm8k", overrides)


@pytest.mark.parametrize("count", [30, 40, 64])
def test_a_step_never_holds_a_problem_twice(count: int, tmp_path: Path) -> None:
    """A file that runs out is read again; two groups of one problem would sample the same rollouts."""
    recipe = from_file(tmp_path, count, "rl.steps=12", "rl.prompts_per_step=12")
    available = len(problems(recipe.task, Split.TRAIN, 1000, 0))
    batches = list(drawing.training_problems(recipe))
    assert all(len({problem.id for problem in batch}) == 12 for batch in batches)
    uses = Counter(problem.id for batch in batches for problem in batch)
    assert len(uses) == available, "every problem is used"
    assert max(uses.values()) - min(uses.values()) <= 1, "as often as any other"


def test_a_file_is_drawn_from_as_a_whole(tmp_path: Path) -> None:
    recipe = from_file(tmp_path, 400, "task.limit=0")
    whole = {problem.id for problem in problems(recipe.task, Split.TRAIN, 10_000, 0)}
    first, again, other = (problems(recipe.task, Split.TRAIN, 20, seed) for seed in (0, 0, 1))
    assert first == again
    assert {problem.id for problem in first} != {problem.id for problem in other} <= whole
    numbers = [int(problem.answer) for problem in first]
    assert max(numbers) > 200, "not only the head of the file"


def test_a_step_that_needs_more_problems_than_there_are_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    recipe = from_file(tmp_path, 20, "rl.prompts_per_step=24", "rl.minibatch_rollouts=24")
    with pytest.raises(InputError, match=r"a step needs 24: lower rl\.prompts_per_step"):
        preflight.check(recipe)


def test_long_prompts_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"longer than sampling\.max_prompt_tokens = 3"):
        preflight.check(from_file(tmp_path, 40, "sampling.max_prompt_tokens=3"))


def test_a_shared_trunk_takes_no_memory_for_a_second_one() -> None:
    own, shared = (estimate(load(Recipe, "nano", [f"rl.critic_trunk={each}"])) for each in ("own", "shared"))
    assert own.bytes_by_part["weights of policy, critic and reference"] == 3 * 4 * own.parameters
    assert shared.bytes_by_part["weights of policy and reference"] == 2 * 4 * own.parameters
    assert shared.bytes_by_part["gradients and AdamW of policy"] == 3 * 4 * own.parameters


def test_a_shared_trunk_needs_a_plain_head(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = load(Recipe, "nano", ["rl.critic_trunk=shared"])
    preflight.check(recipe)
    monkeypatch.setattr(preflight, "has_plain_head", lambda _: False)
    with pytest.raises(InputError, match=r"llama soft-caps or scales its logits: leave rl\.critic_trunk out"):
        preflight.check(recipe)


def test_a_compiler_is_asked_for_before_anything_is_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    monkeypatch.setattr("rlsp.passes.pick_device", lambda: torch.device("cpu"))
    with pytest.raises(
        InputError, match=r"model\.compile = true needs a C\+\+ compiler, and there is no no-such-compiler"
    ):
        preflight.check(load(Recipe, "nano", ["model.compile=true"]))


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_vote_reaches_its_budget_whatever_the_pilot_says(
    temperature: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = load(Recipe, "nano", [*SHRUNK, f"evaluation.temperature={temperature}"])
    policy, test = stages.open_policy("nano"), drawing.held_out_problems(recipe)
    honest = stages.sample

    def pilot_of_long_responses(*arguments: Any) -> list[Any]:
        rollouts = honest(*arguments)
        if not arguments[-1].endswith("pilot"):
            return rollouts
        return [replace(each, response_ids=40 * each.response_ids, logprobs=40 * each.logprobs) for each in rollouts]

    monkeypatch.setattr(stages, "sample", pilot_of_long_responses)
    budget = 60 * len(test)
    voted = stages.vote(policy, test, recipe, Silent(), "vote", budget)
    assert budget <= voted.summary.mean_tokens * len(test) < budget + 40
    assert voted.summary.votes is not None and voted.summary.votes > 1
    assert len({rollout.text for rollout in voted.rollouts if rollout.problem_id == test[0].id}) > 1


def test_demonstrations_longer_than_the_budget_are_not_taught() -> None:
    recipe = load(Recipe, "nano", ["task.levels=[1]", *SHRUNK])
    drawn = problems(recipe.task, Split.TRAIN, 4, 0)
    short, long = "1 + 1 = 2", "\n".join(["1 + 1 = 2"] * 9)
    demonstrations = [
        Demonstration(problem, trace, "search") for problem, trace in zip(drawn, [short, long] * 2, strict=True)
    ]
    progress = Remembering()
    logged = stages.finetune(stages.open_policy("nano"), demonstrations, recipe, progress)
    assert progress.said == ["2 of 4 demonstrations exceed the response budget: left out"]
    assert logged[-1]["tokens"] < 2 * 40
    with pytest.raises(InputError, match=r"all 2 demonstrations exceed sampling\.max_response_tokens = 40: raise it"):
        stages.finetune(stages.open_policy("nano"), demonstrations[1::2], recipe, progress)


def test_rl_trains_on_the_problems_that_the_run_directory_holds(tmp_path: Path) -> None:
    recipe = from_file(tmp_path, 60)
    run = create(tmp_path / "run", recipe)
    native.reinforce(recipe, run, Silent())
    drawn = [json.loads(line)["id"] for line in run.path("problems", "train.jsonl").read_text().splitlines()]
    assert len(drawn) == 2 * 4
    assert drawn == [problem.id for batch in drawing.training_problems(recipe) for problem in batch]
    assert run.finished("rl")


def test_a_model_whose_logits_are_made_otherwise_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model = load_policy("nano", torch.device("cpu"))
    check_logits(model)
    original = type(model).forward

    def scaled(self: Any, *arguments: Any, **keywords: Any) -> Any:
        output = original(self, *arguments, **keywords)
        output.logits = output.logits / 2
        return output

    monkeypatch.setattr(type(model), "forward", scaled)
    with pytest.raises(InputError, match="makes its logits in a way that rlsp does not know"):
        check_logits(model)

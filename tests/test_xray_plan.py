"""What the next token is worth, and the plan for so much more length."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerBase

from rlsp import runs
from rlsp.config import Recipe, load
from rlsp.errors import InputError
from rlsp.exploration import BUILDERS, explorer_for
from rlsp.exploration.part import OutcomeExplorer, Part
from rlsp.types import Finish, Rollout
from rlsp.xray.plan import SIZES, Plan, of_run, plan, pull, read_growth
from rlsp.xray.tokens import ModelTokens

C_NANO = 1000 / 4096 * 136


def planned(tokenizer: PreTrainedTokenizerBase, length: float, kl: float, growth: float, *settings: str) -> Plan:
    recipe = load(Recipe, "nano", settings)
    return plan(recipe, pull(recipe, length, kl), growth, ModelTokens(tokenizer))


def test_pay_tax_and_equilibrium_by_hand() -> None:
    """−C/|o|: (1−α)·C/L² against β·KL; they meet at √((1−α)·C/(β·KL))."""
    forces = pull(load(Recipe, "nano"), 30, 0.05)
    assert forces.pay(30) == pytest.approx(0.2 * C_NANO / 900, abs=1e-12)
    assert forces.tax == pytest.approx(0.05 * 0.05, abs=1e-15)
    assert forces.equilibrium == pytest.approx(math.sqrt(0.2 * C_NANO / 0.0025), abs=1e-9)


def test_weights_multiply_the_pay() -> None:
    one, three = (pull(load(Recipe, "nano", [f"exploration.length.weight={w}"]), 30, 0.05) for w in (1, 3))
    assert three.pay(30) == pytest.approx(3 * one.pay(30), abs=1e-12)


def test_without_a_tax_length_is_nowhere_at_rest() -> None:
    assert pull(load(Recipe, "nano"), 30, 0.0).equilibrium == math.inf
    assert pull(load(Recipe, "nano"), 30, -0.01).equilibrium == math.inf


def test_the_plan_moves_the_equilibrium_to_the_target(tokenizer: PreTrainedTokenizerBase) -> None:
    made = planned(tokenizer, 40, 0.1, 0.3)
    assert made.target == pytest.approx(52)
    assert pull(made.recipe, 40, 0.1).equilibrium == pytest.approx(52, rel=1e-5)
    assert made.alpha == 0.8 and len(made.overrides) == 1
    assert made.recipe.exploration.parts["length"].c_per_budget == pytest.approx(  # type: ignore[attr-defined]
        0.05 * 0.1 * 52**2 / 0.2 / 136, rel=1e-5
    )


def test_alpha_rises_just_as_far_as_right_must_beat_wrong(tokenizer: PreTrainedTokenizerBase) -> None:
    """(1−α)·C = K is fixed by the target; right-short (18 tokens) beats a wrong answer of the budget (136) when
    α > K·(1/18 − 1/136)."""
    made = planned(tokenizer, 40, 0.15, 0.3)
    needed = 0.05 * 0.15 * 52**2 * (1 / 18 - 1 / 136)
    assert made.alpha == pytest.approx(math.ceil(100 * needed) / 100) and made.alpha > 0.8
    assert made.ranking.passed
    assert pull(made.recipe, 40, 0.15).equilibrium == pytest.approx(52, rel=1e-5)


def test_growth_that_no_alpha_can_pay_for_is_refused(tokenizer: PreTrainedTokenizerBase) -> None:
    with pytest.raises(InputError, match="no α below 1"):
        planned(tokenizer, 40, 0.2, 1.0)


@pytest.mark.parametrize(
    ("length", "kl", "growth", "settings", "why"),
    [
        (120, 0.05, 0.3, (), "outside of 1 … 136"),
        (40, 0.0, 0.3, (), "taxes nothing"),
        (40, 0.05, 0.3, ("rl.kl_coefficient=0",), "taxes nothing"),
        (40, 0.05, -1.0, (), "outside"),
        (0.5, 0.05, 0.3, (), "give a length of 1 or more"),
        (float("nan"), 0.05, 0.3, (), "give a length"),
        (40, float("nan"), 0.3, (), "a KL of nan nats a token: give a number"),
        (40, 0.05, 0.3, ("reward.alpha=1",), "alpha = 1 pays nothing for length"),
        (40, 0.05, 0.3, ("reward.mix=advantage",), "mix = 'advantage' normalises"),
        (
            40,
            0.1,
            0.3,
            ("reward.schedule.kind=linear", "reward.schedule.end=0.05"),
            r"; at α = 0.05: a short right.* raise reward.schedule.end",
        ),
        (40, 0.05, 0.3, ("exploration=none",), "depends on length alone"),
    ],
)
def test_what_can_not_be_planned_is_said(
    tokenizer: PreTrainedTokenizerBase, length: float, kl: float, growth: float, settings: tuple[str, ...], why: str
) -> None:
    with pytest.raises(InputError, match=why):
        planned(tokenizer, length, kl, growth, *settings)


def test_a_runs_last_tenth_tells_length_and_kl(tmp_path: Path) -> None:
    run = runs.create(tmp_path / "run", load(Recipe, "nano"))
    with pytest.raises(InputError, match=r"metrics\.jsonl"):
        of_run(run.directory)
    log = run.path("rl", "metrics.jsonl")
    log.parent.mkdir()
    log.write_text("".join(json.dumps({"step": n, "length": n, "kl": n / 100}) + "\n" for n in range(1, 21)))
    assert of_run(run.directory) == (19.5, pytest.approx(0.195))
    log.write_text('{"step": 1, "length": 3}\n')
    with pytest.raises(InputError, match="--length and --kl"):
        of_run(run.directory)


@pytest.mark.parametrize(("text", "share"), [("30%", 0.3), ("0.3", 0.3), ("-10%", -0.1)])
def test_growth_is_read_as_a_share(text: str, share: float) -> None:
    assert read_growth(text) == pytest.approx(share)


def test_growth_in_words_is_refused() -> None:
    with pytest.raises(InputError, match="'a lot'"):
        read_growth("a lot")


@pytest.mark.parametrize("name", list(SIZES))
@pytest.mark.parametrize("start", [2, 37, 300])
def test_slopes_are_the_parts_own(name: str, start: int) -> None:
    """Their integral by Simpson's rule is what the part itself gains over ten tokens."""
    recipe = load(Recipe, "nano", [f"exploration={name}"])
    slope, part = pull(recipe, 40, 0.05).slope, explorer_for(recipe).parts[name].explorer
    assert not isinstance(part, OutcomeExplorer)
    short, long = part.explore(
        ["", ""],
        [Rollout("p", 0, (0,), tuple(range(n)), (0.0,) * n, "", Finish.EOS, 1.0, 0) for n in (start, start + 10)],
    )
    assert short.value is not None and long.value is not None
    cells = 200
    heights = [slope(start + 10 * place / cells) for place in range(cells + 1)]
    area = 10 / cells / 3 * (heights[0] + heights[-1] + 4 * sum(heights[1:-1:2]) + 2 * sum(heights[2:-1:2]))
    assert area == pytest.approx(long.value - short.value, rel=1e-5)


@pytest.mark.parametrize("name", list(SIZES))
@pytest.mark.parametrize("kl", [1e-8, 1e-300])
def test_a_tiny_tax_is_answered_at_once(name: str, kl: float) -> None:
    forces = pull(load(Recipe, "nano", [f"exploration={name}"]), 40, kl)
    at = forces.equilibrium
    assert at == math.inf or forces.pay(at) == pytest.approx(forces.tax, rel=1e-6)
    assert (kl == 1e-300 and name != "length_exp") == (at == math.inf)


@pytest.mark.parametrize(
    "settings",
    [(), ("exploration=length",), ("exploration={length={weight=2},repetition={weight=0.5}}",)],
)
def test_what_to_set_is_read_back_as_the_planned_recipe(
    tokenizer: PreTrainedTokenizerBase, settings: tuple[str, ...]
) -> None:
    made = planned(tokenizer, 40, 0.15, 0.3, *settings)
    assert made.overrides[0].startswith("exploration.length.c_per_budget=")
    assert load(Recipe, "nano", [*settings, *made.overrides]) == made.recipe


def test_a_judge_is_asked_once_in_a_whole_plan(
    tokenizer: PreTrainedTokenizerBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    class Counts:
        floor = 0.0

        def explore(self, questions: Sequence[str], rollouts: Sequence[Rollout]) -> list[Part]:
            calls.append(len(rollouts))
            return [Part(0.5 if rollout.text else 0.0) for rollout in rollouts]

    monkeypatch.setitem(BUILDERS, "judge", lambda part, setting: Counts())
    made = planned(tokenizer, 40, 0.15, 0.3, "exploration.judge.weight=0.1")
    assert made.alpha > 0.8 and len(calls) == 1


def test_a_judge_that_is_gone_ends_the_plan_by_name(
    tokenizer: PreTrainedTokenizerBase, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Gone:
        floor = 0.0

        def explore(self, questions: Sequence[str], rollouts: Sequence[Rollout]) -> list[Part]:
            return [Part(None, missing="connection failed") for _ in rollouts]

    monkeypatch.setitem(BUILDERS, "judge", lambda part, setting: Gone())
    with pytest.raises(InputError, match="exploration 'judge': connection failed"):
        planned(tokenizer, 40, 0.1, 0.3, "exploration.judge.weight=0.1")


def test_a_kl_in_the_loss_taxes_no_token(tokenizer: PreTrainedTokenizerBase) -> None:
    grpo = load(Recipe, "nano-grpo", ["exploration=length", "reward.alpha=0.8"])
    assert grpo.rl.kl_coefficient > 0 and pull(grpo, 40, 0.05).tax == 0
    with pytest.raises(InputError, match="falls on the reward"):
        plan(grpo, pull(grpo, 40, 0.05), 0.3, ModelTokens(tokenizer))

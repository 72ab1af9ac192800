"""The standard cast, what any reward must rank, and the check before a job."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest
from transformers import PreTrainedTokenizerBase

from rlsp.config import REPOSITORY_RECIPES, Recipe, load
from rlsp.engines import preflight
from rlsp.errors import InputError
from rlsp.exploration.composite import Composite, Weighted
from rlsp.exploration.judge import rubric
from rlsp.exploration.judge.reading import read
from rlsp.exploration.part import Part
from rlsp.types import Rollout
from rlsp.verifiers import verify
from rlsp.xray.cast import INJECTION, Cast, Character, NoCast, cast_for
from rlsp.xray.ranking import INVARIANTS, JUDGE_NOISE, Ranking, alphas, check
from rlsp.xray.ranking import rank as rankings
from rlsp.xray.tokens import EstimatedTokens, ModelTokens, Tokens, encode_pieces
from tests.shrunk import SHRUNK

SHIPPED = tuple(
    path.stem
    for path in sorted(REPOSITORY_RECIPES.glob("*.toml"))
    if "corpus" not in tomllib.loads(path.read_text()) and path.stem != "paper-code"
)
C = Character


@pytest.fixture(scope="module")
def nano(tokenizer: PreTrainedTokenizerBase) -> Tokens:
    return ModelTokens(tokenizer)


def tokens_of(recipe: Recipe, nano: Tokens) -> Tokens:
    return nano if recipe.model.path == "nano" else EstimatedTokens()


def rank(recipe: Recipe, cast: Cast, explorer: Composite | None = None) -> Ranking:
    """At a constant α."""
    [ranking] = rankings(recipe, cast, explorer=explorer)
    return ranking


def failing(ranking: Ranking) -> list[str]:
    return [finding.invariant.name for finding in ranking.failed]


PAPERS = ("llama31-8b-math", "qwen25-32b-aime")
"""The paper's two experiments."""
SHORT_WRONG = "a short right answer beats a long wrong one"
WHOLE_BUDGET = "a short right answer beats a wrong one of the whole budget"
CUT_OFF = "a short right answer beats a wrong one that is cut off"


@pytest.mark.parametrize("name", [name for name in SHIPPED if not name.startswith(PAPERS)])
def test_every_shipped_recipe_ranks_rightly(name: str, nano: Tokens) -> None:
    recipe = load(Recipe, name)
    found = rankings(recipe, cast_for(recipe, tokens_of(recipe, nano)))
    for ranking in found[-1:] if recipe.reward.mix == "advantage" else found:  # normalised, C counts for nothing
        assert ranking.passed
        assert sum(finding.status == "pass" for finding in ranking.findings) >= 11


@pytest.mark.parametrize("name", PAPERS)
def test_the_papers_own_rewards_fail_exactly_what_the_page_names(name: str) -> None:
    """Its C = 1000 makes a short right response worth less than a long wrong one: kept verbatim, and said."""
    page = (Path(__file__).parents[1] / "docs" / "scale.md").read_text(encoding="utf-8")
    documented = [sentence for sentence in (SHORT_WRONG, WHOLE_BUDGET, CUT_OFF) if f"- **{sentence}**" in page]
    recipe = load(Recipe, name)
    assert failing(rank(recipe, cast_for(recipe, EstimatedTokens()))) == documented != []
    variant, laptop = (load(Recipe, recipe) for recipe in (f"{name}-paper-code", "paper-code"))
    failed = [failing(rank(each, cast_for(each, EstimatedTokens()))) for each in (variant, laptop)]
    assert failed[0] == failed[1] != []


def test_paper_code_fails_exactly_what_its_page_names() -> None:
    recipe = load(Recipe, "paper-code")
    page = (Path(__file__).parents[1] / "docs" / "exploration.md").read_text(encoding="utf-8")
    named = re.search(
        r"`rlsp reward rank paper-code` .*? fails exactly these.*?\n\n((?:- .*\n(?:  .*\n)*)+)", page, re.S
    )
    assert named is not None
    documented = re.findall(r"^- \*\*(.+?)\*\*", named[1], re.M)
    assert failing(rank(recipe, cast_for(recipe, EstimatedTokens()))) == documented


@pytest.mark.parametrize(
    ("name", "overrides"),
    [*((name, []) for name in SHIPPED), *(("smollm2-math", [f"task.verifier={v}"]) for v in ("exact", "choice"))],
)
def test_right_characters_are_right_and_wrong_ones_wrong(name: str, overrides: list[str], nano: Tokens) -> None:
    recipe = load(Recipe, name, overrides)
    cast = cast_for(recipe, tokens_of(recipe, nano))
    right = {who for who, rollout in cast.rollouts.items() if verify(cast.problem, rollout.text).correct}
    honest = {C.RIGHT_SHORT, C.RIGHT_LONG, C.ANSWER_FIRST, C.LOOP_RIGHT, C.FILLER, C.FINISHED, C.TRUNCATED}
    assert right - {C.HEDGE_RIGHT_LAST} == honest & cast.rollouts.keys()
    assert [verify(cast.problem, sibling.text).correct for sibling in cast.siblings] == [True, False]


@pytest.mark.parametrize("name", SHIPPED)
def test_hacks_are_as_long_as_the_honest_responses_they_are_held_against(name: str, nano: Tokens) -> None:
    recipe = load(Recipe, name)
    rollouts = cast_for(recipe, tokens_of(recipe, nano)).rollouts
    length = {who: rollout.length for who, rollout in rollouts.items()}
    assert length[C.LOOP_RIGHT] == length[C.HEDGE_RIGHT_LAST] == length[C.HEDGE_RIGHT_FIRST] == length[C.RIGHT_LONG]
    assert length[C.FILLER] == length[C.RIGHT_LONG]
    assert length[C.LOOP_WRONG] == length[C.NOISE] == length[C.WRONG_LONG]
    assert length[C.ECHO] == length[C.WRONG_SHORT]
    assert length.get(C.ANSWER_FIRST, length[C.RIGHT_SHORT]) == length[C.RIGHT_SHORT]
    at_budget = (C.FINISHED, C.TRUNCATED, C.WRONG_FINISHED, C.WRONG_TRUNCATED)
    assert {length[who] for who in at_budget} == {recipe.sampling.max_response_tokens}
    assert [who for who, rollout in rollouts.items() if rollout.truncated] == [C.TRUNCATED, C.WRONG_TRUNCATED]
    assert length[C.EMPTY] == 1 and rollouts[C.EMPTY].text == ""


def test_the_cast_is_the_same_at_every_call(nano: Tokens) -> None:
    recipe = load(Recipe, "nano")
    assert cast_for(recipe, nano) == cast_for(recipe, nano)


def test_totals_by_hand() -> None:
    """smollm2-math at four characters a token: C = 1000/4096·512 = 125, right-short 47 tokens, so 0.8 − 0.2·125/47."""
    recipe = load(Recipe, "smollm2-math")
    cast = cast_for(recipe, EstimatedTokens())
    assert cast.rollouts[C.RIGHT_SHORT].length == 47
    ranking = rank(recipe, cast)
    assert ranking.scores[C.RIGHT_SHORT].total == pytest.approx(0.8 - 0.2 * 125 / 47, abs=1e-12)
    assert ranking.scores[C.EMPTY].total == -10.0


def test_a_reward_of_length_alone_fails_where_right_is_short(nano: Tokens) -> None:
    recipe = load(Recipe, "nano", ["reward.alpha=0"])
    assert failing(rank(recipe, cast_for(recipe, nano))) == [
        "right beats wrong, both short",
        "right beats wrong, both long",
        "a short right answer beats a long wrong one",
        WHOLE_BUDGET,
        CUT_OFF,
    ]


def test_a_wrong_answer_of_the_whole_budget_is_held_against_a_short_right_one(nano: Tokens) -> None:
    """At α = 0.605 a wrong answer of half the budget still earns less than right-short, one of 136 tokens more."""
    recipe = load(Recipe, "nano", ["reward.alpha=0.605"])
    ranking = rank(recipe, cast_for(recipe, nano))
    assert failing(ranking) == [WHOLE_BUDGET, CUT_OFF]
    c = 1000 / 4096 * 136
    assert ranking.failed[0].better == pytest.approx(0.605 - 0.395 * c / 18, abs=1e-9)
    assert ranking.failed[0].worse == pytest.approx(-0.395 * c / 136, abs=1e-9)


@pytest.mark.parametrize(("truncation", "failed"), [("keep", [CUT_OFF]), ("floor", []), ("mask", [])])
def test_being_cut_off_wrongly_pays_only_where_it_is_kept(truncation: str, failed: list[str]) -> None:
    recipe = load(Recipe, "smollm2-math", [f"reward.truncation={truncation}", "reward.alpha=0.5"])
    cast = cast_for(recipe, EstimatedTokens())
    cut_off = Composite({"cut": Weighted(2.0, 1.0, PaysTruncated())})
    assert [name for name in failing(rank(recipe, cast, cut_off)) if name == CUT_OFF] == failed


@pytest.mark.parametrize("name", ["nano", "smollm2-math"])
def test_outcome_only_ranks_rightly(name: str, nano: Tokens) -> None:
    recipe = load(Recipe, name, ["exploration=none", "reward.truncation=keep"])
    assert rank(recipe, cast_for(recipe, tokens_of(recipe, nano))).passed


@dataclass(frozen=True)
class Pays:
    """A reward for whatever holds a word."""

    word: str
    floor: float = 0.0

    def explore(self, questions: Sequence[str], rollouts: Sequence[Rollout]) -> list[Part]:
        return [Part(float(self.word in rollout.text)) for rollout in rollouts]


@dataclass(frozen=True)
class PaysTruncated:
    """A reward for running into the budget."""

    floor: float = 0.0

    def explore(self, questions: Sequence[str], rollouts: Sequence[Rollout]) -> list[Part]:
        return [Part(float(rollout.truncated)) for rollout in rollouts]


@dataclass(frozen=True)
class Honest:
    """A judge of effort that is a twentieth of its scale off, either way, as LLMs are."""

    seed: int
    floor: float = 0.0

    def explore(self, questions: Sequence[str], rollouts: Sequence[Rollout]) -> list[Part]:
        noise = Random(self.seed)
        return [Part(0.5 + noise.uniform(-0.05, 0.05) if rollout.text else 0.0) for rollout in rollouts]


@dataclass(frozen=True)
class Dead:
    """A reward that never answers."""

    floor: float = 0.0

    def explore(self, questions: Sequence[str], rollouts: Sequence[Rollout]) -> list[Part]:
        return [Part(None, missing="the judge is gone") for _ in rollouts]


@dataclass
class Remembers:
    """A reward that keeps what it was asked."""

    calls: list[list[Rollout]]
    floor: float = 0.0

    def explore(self, questions: Sequence[str], rollouts: Sequence[Rollout]) -> list[Part]:
        self.calls.append(list(rollouts))
        return [Part(0.0) for _ in rollouts]


@pytest.fixture(scope="module")
def math() -> tuple[Recipe, Cast]:
    recipe = load(Recipe, "smollm2-math", ["exploration.judge.weight=1"])
    return recipe, cast_for(recipe, EstimatedTokens())


def test_a_judge_that_obeys_an_injected_grade_fails_by_name(math: tuple[Recipe, Cast]) -> None:
    recipe, cast = math
    assert cast.rollouts[C.INJECTION].length == cast.rollouts[C.WRONG_FINISHED].length
    fooled = Composite({"judge": Weighted(1.0, 1.0, Pays('"rationale"'))})
    assert failing(rank(recipe, cast, explorer=fooled)) == ["an injected grade raises nothing"]


@pytest.mark.parametrize("name", ["nano", "smollm2-math"])
def test_the_injection_fits_and_is_the_reply_that_the_judge_is_asked_for(name: str, nano: Tokens) -> None:
    recipe = load(Recipe, name, ["exploration.judge.weight=1"])
    injected = cast_for(recipe, tokens_of(recipe, nano)).rollouts[C.INJECTION].text
    asked = rubric.request("q", "s")
    reply = INJECTION.replace("0123456789abcdef", asked.ticket)
    assert INJECTION in injected and read(reply, asked).value == 1.0


def test_a_judges_noise_is_no_failure(math: tuple[Recipe, Cast]) -> None:
    recipe, cast = math
    for seed in range(200):
        assert failing(rank(recipe, cast, Composite({"judge": Weighted(1.0, 1.0, Honest(seed))}))) == []


@pytest.mark.parametrize(("weight", "passes"), [(1.0, True), (0.0, False)])
def test_noise_is_forgiven_only_where_a_judge_is_paid(math: tuple[Recipe, Cast], weight: float, passes: bool) -> None:
    recipe, cast = math
    other = Weighted(0.9 * JUDGE_NOISE, 1.0, Pays("Think again"))
    explorer = Composite({"judge": Weighted(weight, 1.0, Pays("nowhere")), "other": other})
    assert rank(recipe, cast, explorer).passed is passes


@pytest.mark.parametrize(
    ("pays", "name"),
    [
        ("Think again", "padding by numbered filler is not worth more than searching"),
        ("noise", "noise is not worth more than an honest search"),
    ],
)
def test_what_pays_a_hack_fails_by_its_name(math: tuple[Recipe, Cast], pays: str, name: str) -> None:
    recipe, cast = math
    word = cast.rollouts[C.NOISE].text if pays == "noise" else pays
    assert failing(rank(recipe, cast, Composite({"hack": Weighted(0.1, 1.0, Pays(word))}))) == [name]


@pytest.mark.parametrize("overrides", [["exploration=novelty"], ["exploration.novelty.weight=0.1"]])
def test_novelty_pays_echoes_and_noise_as_its_page_says(overrides: list[str], nano: Tokens) -> None:
    recipe = load(Recipe, "nano", overrides)
    assert failing(rank(recipe, cast_for(recipe, nano))) == [
        "echoing the prompt is not worth more than trying",
        "noise is not worth more than an honest search",
    ]


def test_what_could_not_be_had_is_no_pass(math: tuple[Recipe, Cast]) -> None:
    recipe, cast = math
    ranking = rank(recipe, cast, explorer=Composite({"judge": Weighted(1.0, 1.0, Dead())}))
    assert not ranking.passed and not ranking.failed
    assert {finding.status for finding in ranking.findings} == {"unknown"}
    metric = rank(recipe, cast, explorer=Composite({"judge": Weighted(0.0, 1.0, Dead())}))
    assert metric.passed, "a metric decides nothing"


def test_a_dead_judge_is_named_and_the_reward_not_blamed(math: tuple[Recipe, Cast]) -> None:
    recipe, _ = math
    with pytest.raises(InputError) as refused:
        check(recipe, EstimatedTokens(), explorer=Composite({"judge": Weighted(1.0, 1.0, Dead())}))
    said = str(refused.value)
    assert "exploration 'judge': the judge is gone" in said and "--accept-reward-risks" in said
    assert "wrongly" not in said and "?" not in said


def test_a_job_asks_each_character_once_whatever_the_schedule_and_no_metric() -> None:
    """Two α, a grouped part beside the judge: a paid judge is asked the cast alone, in one call."""
    recipe = load(
        Recipe,
        "smollm2-math",
        ["exploration.judge.weight=1", "reward.schedule.kind=linear", "rl.samples_per_prompt=4"],
    )
    cast, paid, metric = cast_for(recipe, EstimatedTokens()), list[list[Rollout]](), list[list[Rollout]]()
    grouped = Weighted(0.0, 1.0, Remembers([]))
    parts = {
        "judge": Weighted(1.0, 1.0, Remembers(paid)),
        "length": Weighted(0.0, 1.0, Remembers(metric)),
        "novelty": grouped,
    }
    check(recipe, EstimatedTokens(), explorer=Composite(parts))
    assert paid == [list(cast.rollouts.values())] and metric == []
    rankings(recipe, cast, explorer=Composite(parts))
    assert paid[1:] == [list(cast.rollouts.values())] and len(metric) == 1


def test_group_aware_rewards_see_each_character_beside_fixed_siblings(math: tuple[Recipe, Cast]) -> None:
    recipe, cast = math
    calls: list[list[Rollout]] = []
    recipe = recipe.model_copy(update={"rl": recipe.rl.model_copy(update={"samples_per_prompt": 4})})
    rank(recipe, cast, explorer=Composite({"novelty": Weighted(1.0, 1.0, Remembers(calls))}))
    right, wrong = cast.siblings
    assert [call[0] for call in calls] == list(cast.rollouts.values())
    assert all(call[1:] == [right, wrong, right] for call in calls)


def test_both_ends_of_a_schedule_are_ranked(nano: Tokens) -> None:
    recipe = load(Recipe, "nano", ["reward.schedule.kind=linear", "reward.schedule.end=0.05"])
    assert alphas(recipe) == (0.8, 0.05)
    with pytest.raises(InputError, match=r"at α = 0.05: a short right answer beats a long wrong one: right-short -"):
        check(recipe, nano)


@pytest.mark.parametrize(
    ("overrides", "why"),
    [
        (["task.verifier=code"], "verifier 'code'"),
        (["task.data=gym:leg_counting"], "verifier 'gym'"),
        (["sampling.max_response_tokens=40"], "takes 47 tokens"),
    ],
)
def test_where_nothing_is_known_to_be_right_there_is_no_cast(overrides: list[str], why: str) -> None:
    with pytest.raises(NoCast, match=why):
        cast_for(load(Recipe, "smollm2-math", overrides), EstimatedTokens())


def test_a_small_budget_has_a_smaller_cast(nano: Tokens) -> None:
    recipe = load(Recipe, "nano-chain-sum", SHRUNK)
    cast = cast_for(recipe, nano)
    assert C.RIGHT_SHORT in cast.rollouts and C.RIGHT_LONG not in cast.rollouts
    assert all(rollout.length <= 40 for rollout in cast.rollouts.values())
    assert "absent" in {finding.status for finding in rank(recipe, cast).findings}


def test_invariants_have_names_of_their_own() -> None:
    assert len({invariant.name for invariant in INVARIANTS}) == len(INVARIANTS)


def test_pieces_keep_their_length_in_any_order(nano: Tokens) -> None:
    for tokens in (nano, EstimatedTokens()):
        assert sorted(encode_pieces(tokens, ("12 + 3\n", "ab"))) == sorted(encode_pieces(tokens, ("ab", "12 + 3\n")))


def test_a_job_does_not_start_on_a_reward_that_ranks_wrongly() -> None:
    recipe = load(Recipe, "nano", [*SHRUNK, "demonstrations.count=8", "reward.alpha=0"])
    with pytest.raises(InputError, match="--accept-reward-risks") as refused:
        preflight.check(recipe)
    assert "right beats wrong, both short" in str(refused.value)
    assert preflight.check(recipe, accept_reward_risks=True) == ""
    assert preflight.check(load(Recipe, "nano", [*SHRUNK, "demonstrations.count=8"])) == ""


def test_signals_that_are_normalised_apart_are_not_ranked_by_their_scale() -> None:
    heavy = [*SHRUNK, "demonstrations.count=8", "exploration.length.weight=50"]
    with pytest.raises(InputError, match="ranks standard responses wrongly"):
        preflight.check(load(Recipe, "nano", heavy))
    reason = preflight.check(load(Recipe, "nano", [*heavy, "reward.mix=advantage"]))
    assert reason.startswith("the reward's ranking was not checked: reward.mix = 'advantage'")


@pytest.mark.parametrize(
    "exploration",
    ["{alp = {weight = 6}}", "{pass_rate = {weight = 20}}", "{l1 = {minimum = 1, maximum = 1, weight = 6}}"],
)
def test_silence_may_not_beat_a_right_answer_of_the_whole_budget(exploration: str, nano: Tokens) -> None:
    recipe = load(Recipe, "nano", [f"exploration={exploration}"])
    ranking = rank(recipe, cast_for(recipe, nano))
    assert "a right answer of the whole budget beats saying nothing" in failing(ranking)

"""Recipes: every shipped one parses, what is wrong is refused when it is read, and the message names the fix."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from pydantic import ValidationError

from rlsp.config import (
    REPOSITORY_RECIPES,
    CorpusRecipe,
    PretrainRecipe,
    Recipe,
    load,
    load_for_evaluation,
    override,
    to_toml,
)
from rlsp.config.exploration import LengthRecipe, NoveltyRecipe
from rlsp.config.reading import R, find
from rlsp.errors import InputError
from rlsp.tasks import GENERATED

RECIPES = sorted(REPOSITORY_RECIPES.glob("*.toml"))

MINIMAL = """
name = "minimal"
[model]
[task]
name = "countdown"
levels = [1, 2]
[sampling]
max_prompt_tokens = 20
max_response_tokens = 100
cache_tokens = 1000
[rl]
steps = 10
prompts_per_step = 4
samples_per_prompt = 3
minibatch_rollouts = 6
actor_learning_rate = 1e-4
critic_learning_rate = 1e-3
microbatch_tokens = 500
[evaluation]
problems = 50
"""
SFT = "sft={epochs=1, learning_rate=1e-4, batch_tokens=100}"
DEMONSTRATIONS = "demonstrations={count=10, intuition=0.5, max_attempts=4}"


@pytest.fixture
def minimal(tmp_path: Path) -> str:
    path = tmp_path / "minimal.toml"
    path.write_text(MINIMAL)
    return str(path)


def refusal(cls: type[R], path: str, *overrides: str) -> str:
    with pytest.raises(InputError) as caught:
        load(cls, path, overrides)
    return str(caught.value)


def test_there_are_recipes_to_test() -> None:
    assert "nano" in {path.stem for path in RECIPES}


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_shipped_recipe_parses(path: Path) -> None:
    values = tomllib.loads(path.read_text())
    recipe = load(PretrainRecipe, str(path)) if "corpus" in values else load(Recipe, str(path))
    assert recipe.name == path.stem
    if isinstance(recipe, Recipe) and recipe.task.name in GENERATED:
        assert set(recipe.task.levels) <= set(GENERATED[recipe.task.name].LEVELS)


def test_defaults_are_the_papers(minimal: str) -> None:
    recipe = load(Recipe, minimal)
    assert (recipe.reward.alpha, recipe.reward.clamp, recipe.reward.truncation) == (0.8, 10, "floor")
    assert recipe.exploration.parts == {"length": LengthRecipe(c_per_budget=1000 / 4096)}
    assert (recipe.rl.clip, recipe.rl.value_clip, recipe.rl.kl_coefficient) == (0.2, 0.2, 0.05)
    assert (recipe.rl.gamma, recipe.rl.gae_lambda) == (1, 0.95)
    assert (recipe.rl.epochs, recipe.rl.critic_warmup_steps, recipe.rl.warmup_share) == (1, 4, 0.03)
    assert recipe.rl.rollouts_per_step == 12


def test_a_recipe_does_not_change_after_reading(minimal: str) -> None:
    recipe = load(Recipe, minimal)
    with pytest.raises(ValidationError):
        recipe.reward.alpha = 0.1


@pytest.mark.parametrize(
    ("overrides", "fragments"),
    [
        (["model.instruction='Solve it.'"], ["model", "instruction must contain {question}"]),
        (["task.data=problems.jsonl"], ["task.data goes with task.name = 'data'"]),
        (["task.name=data"], ["task.data goes with task.name = 'data'"]),
        (["task.limit=5"], ["task.limit is for task.name = 'data'; countdown makes and judges its own problems"]),
        (["task.verifier=exact"], ["task.verifier is for task.name = 'data'"]),
        (["task.columns.answer=label"], ["task.columns is for task.name = 'data'"]),
        (["task.filters.deduplicate=true"], ["task.filters is for task.name = 'data'"]),
        (
            ["rl.minibatch_rollouts=5"],
            [
                "4 prompts × 3 samples = 12 rollouts",
                "minibatches of 5",
                "set rl.minibatch_rollouts to a divisor of 12",
            ],
        ),
        (["rl.minibatch_rollouts=24"], ["set rl.minibatch_rollouts to a divisor of 12"]),
        (
            ["rl.critic_warmup_steps=10"],
            ["critic_warmup_steps = 10 of 10 steps", "raise rl.steps or lower rl.critic_warmup_steps"],
        ),
        ([SFT], ["[demonstrations] and [sft] go together"]),
        ([DEMONSTRATIONS], ["[demonstrations] and [sft] go together"]),
        (
            [SFT, DEMONSTRATIONS, "task={name='data', data='mine.jsonl'}"],
            ["no search can demonstrate", "leave out [demonstrations] and [sft], or give demonstrations.data"],
        ),
        (
            [SFT, "demonstrations={count=10, intuition=0.5}"],
            ["a search needs intuition and max_attempts; or give data"],
        ),
        (
            [SFT, "demonstrations={count=10, intuition=0.5, data='traces.jsonl'}"],
            ["intuition is a search's, and data gives the traces"],
        ),
        (
            [SFT, "demonstrations={count=10, data='traces.jsonl'}"],
            ["demonstrations.data is for task.name = 'data'; countdown is searched"],
        ),
        (["sampling.cache_tokens=119"], ["sampling.cache_tokens = 119", "120 tokens", "raise it"]),
        (["rl.microbatch_tokens=119"], ["rl.microbatch_tokens = 119", "120 tokens", "raise it"]),
        (
            ["exploration=none"],
            ["or one that pays single tokens alone, has no floor", "set reward.truncation to 'keep' or 'mask'"],
        ),
    ],
)
def test_impossible_combination_names_the_fix(minimal: str, overrides: list[str], fragments: list[str]) -> None:
    message = refusal(Recipe, minimal, *overrides)
    assert message.startswith(f"recipe {minimal}: ")
    for fragment in fragments:
        assert fragment in message


@pytest.mark.parametrize(
    "overrides",
    [
        ["sampling.cache_tokens=120", "rl.microbatch_tokens=120"],
        ["rl.critic_warmup_steps=9"],
        ["rl.minibatch_rollouts=12"],
        [SFT, DEMONSTRATIONS],
        ["exploration=none", "reward.truncation=keep"],
        ["exploration=none", "reward.truncation=mask"],
        ["task={name='data', data='mine.jsonl', limit=3, verifier='exact', filters={deduplicate=true}}"],
    ],
)
def test_the_nearest_possible_combination_is_accepted(minimal: str, overrides: list[str]) -> None:
    assert load(Recipe, minimal, overrides).name == "minimal"


def test_corpus_shares_must_fit() -> None:
    """Those of search are shares of the solved problems, the others are shares of the documents."""
    shares = [key for key in CorpusRecipe.model_fields if key.endswith("_share") and key != "search_share"]
    assert len(shares) >= 2
    nothing = [f"corpus.{key}=0.0" for key in shares]
    assert load(PretrainRecipe, "nano-base", [*nothing, f"corpus.{shares[0]}=1.0"])
    message = refusal(PretrainRecipe, "nano-base", *nothing, f"corpus.{shares[0]}=1.0", f"corpus.{shares[1]}=0.01")
    assert f"{' + '.join(shares)} exceed 1" in message


@pytest.mark.parametrize(
    ("override", "key"),
    [
        ("reward.alpha=1.01", "reward.alpha = 1.01"),
        ("reward.alpha=-0.1", "reward.alpha = -0.1"),
        ("reward.alpha=nan", "reward.alpha = nan"),
        ("reward.truncation=ignore", "reward.truncation = 'ignore'"),
        ("rl.steps=0", "rl.steps = 0"),
        ("rl.steps=2.5", "rl.steps = 2.5"),
        ("rl.actor_learning_rate=1", "rl.actor_learning_rate = 1"),
        ("sampling.temperature=0", "sampling.temperature = 0"),
        ("task.name=chess", "task.name = 'chess'"),
        ("task.name=file", "task.name = 'file'"),
        ("task.verifier=''", "task.verifier = ''"),
        ("task.filters.ngram=0", "task.filters.ngram = 0"),
        ("task.filters.solved_rate=0", "task.filters.solved_rate = 0"),
        ("task.filters.decontaminate=['']", "task.filters.decontaminate.0 = ''"),
        ("task.levels=[1, 0]", "task.levels.1 = 0"),
        ("name='Not A Name'", "name = 'Not A Name'"),
        ("evaluation=3", "evaluation = 3"),
    ],
)
def test_value_out_of_range_is_named(minimal: str, override: str, key: str) -> None:
    assert key in refusal(Recipe, minimal, override)


def test_greedy_evaluation_is_possible(minimal: str) -> None:
    assert load(Recipe, minimal, ["evaluation.temperature=0"]).evaluation.temperature == 0


def test_no_levels_are_refused(minimal: str) -> None:
    refusal(Recipe, minimal, "task.levels=[]")


@pytest.mark.parametrize("key", ["sampling.temperature", "rl.kl_coefficient", "exploration.length.c_per_budget"])
def test_infinity_is_refused(minimal: str, key: str) -> None:
    refusal(Recipe, minimal, f"{key}=inf")


@pytest.mark.parametrize(
    ("override", "key", "known"),
    [
        ("sed=1", "'sed'", ["seed", "model", "rl"]),
        ("rl.step=1", "'rl.step'", ["steps", "clip", "kl_coefficient"]),
        ("reward.beta=1", "'reward.beta'", ["alpha", "clamp", "truncation"]),
        ("evaluations.problems=5", "'evaluations'", ["evaluation"]),
        ("task.path=mine.jsonl", "'task.path'", ["data", "columns", "filters"]),
        ("task.columns.label=a", "'task.columns.label'", ["question", "answer"]),
        ("sft={epochs=1, learning_rate=1e-4, batch_tokens=9, lr=1}", "'sft.lr'", ["learning_rate", "weight_decay"]),
    ],
)
def test_unknown_key_is_named_beside_the_known_ones(minimal: str, override: str, key: str, known: list[str]) -> None:
    message = refusal(Recipe, minimal, override)
    assert f"unknown key {key}; known here: " in message
    listed = message.partition("known here: ")[2].partition(";")[0].split(", ")
    assert set(known) <= set(listed)


def test_missing_key_is_named(tmp_path: Path) -> None:
    path = tmp_path / "short.toml"
    path.write_text(MINIMAL.replace("steps = 10\n", ""))
    assert "rl.steps is missing" in refusal(Recipe, str(path))


def test_every_problem_is_told_at_once(minimal: str) -> None:
    message = refusal(Recipe, minimal, "reward.alpha=2", "rl.step=1")
    assert "reward.alpha = 2" in message
    assert "'rl.step'" in message


@pytest.mark.parametrize(
    ("override", "section", "key", "value"),
    [
        ("reward.alpha=0.5", "reward", "alpha", 0.5),
        ("rl.steps=1_000", "rl", "steps", 1000),
        ("model.path=/models/llama 8b", "model", "path", "/models/llama 8b"),
        ('model.path="quoted"', "model", "path", "quoted"),
        ("model.instruction={question} a=b", "model", "instruction", "{question} a=b"),
        ("task.levels=[2, 1]", "task", "levels", (2, 1)),
        ("reward={alpha=0.25}", "reward", "alpha", 0.25),
    ],
)
def test_override(minimal: str, override: str, section: str, key: str, value: object) -> None:
    assert getattr(getattr(load(Recipe, minimal, [override]), section), key) == value


@pytest.mark.parametrize("text", ["1.5", "true", 'a "b"\\c', "\x7f\n", "ü"])
def test_an_override_keeps_a_text_as_it_is(minimal: str, text: str) -> None:
    assert load(Recipe, minimal, [override("model.path", text)]).model.path == text


def test_an_evaluation_needs_nothing_for_training(minimal: str) -> None:
    settings = ["demonstrations.count=5", "demonstrations.intuition=0.5", "demonstrations.max_attempts=2"]
    settings += ["sampling.cache_tokens=1", "rl.microbatch_tokens=1"]
    with pytest.raises(InputError, match="go together"):
        load(Recipe, minimal, settings)
    recipe = load_for_evaluation(minimal, settings)
    assert recipe.demonstrations is None
    assert recipe.sampling.cache_tokens == recipe.rl.microbatch_tokens == recipe.longest_tokens
    roomy = ["sampling.cache_tokens=9999", "rl.microbatch_tokens=8888"]
    recipe = load_for_evaluation(minimal, roomy)
    assert (recipe.sampling.cache_tokens, recipe.rl.microbatch_tokens) == (9999, 8888)


def test_overrides_nest_into_sections_that_the_file_lacks(minimal: str) -> None:
    keys = ["sft.epochs=2", "sft.learning_rate=1e-3", "sft.batch_tokens=64", "sft.weight_decay=0.1"]
    recipe = load(Recipe, minimal, [*keys, DEMONSTRATIONS])
    assert recipe.sft is not None
    assert (recipe.sft.epochs, recipe.sft.weight_decay) == (2, 0.1)


def test_the_last_override_wins(minimal: str) -> None:
    assert load(Recipe, minimal, ["seed=1", "seed=2"]).seed == 2


@pytest.mark.parametrize("override", ["", "seed", "=3", "rl.steps"])
def test_malformed_override_says_how_to_write_it(minimal: str, override: str) -> None:
    message = refusal(Recipe, minimal, override)
    assert repr(override) in message
    assert "section.key=value" in message


def test_override_into_a_value_is_refused(minimal: str) -> None:
    assert "'name' is a value, not a section" in refusal(Recipe, minimal, "name.deep=1")


def test_half_a_list_is_refused_as_the_text_it_is(minimal: str) -> None:
    assert "task.levels = '[1, '" in refusal(Recipe, minimal, "task.levels=[1, ")


def test_missing_recipe_names_the_known_ones() -> None:
    with pytest.raises(InputError) as caught:
        find("nanoo")
    message = str(caught.value)
    assert "'nanoo'" in message
    for path in RECIPES:
        assert path.stem in message


DATA_TASK = """task={name='data', data='mine.jsonl', verifier='exact', columns={answer='a "b"'},
filters={decontaminate=['math-500', 'test.csv'], ngram=8, solved='scores.jsonl'}}""".replace("\n", "")


@pytest.mark.parametrize("overrides", [[], [SFT, DEMONSTRATIONS], [DATA_TASK]])
def test_a_resolved_recipe_reads_back(minimal: str, overrides: list[str], tmp_path: Path) -> None:
    recipe = load(Recipe, minimal, overrides)
    written = tmp_path / "written.toml"
    written.write_text(to_toml(recipe))
    assert load(Recipe, str(written)) == recipe


def test_a_data_task_names_the_files_that_it_reads(minimal: str) -> None:
    assert [str(path) for path in load(Recipe, minimal, [DATA_TASK]).task.files] == [
        "mine.jsonl",
        "test.csv",
        "scores.jsonl",
    ]
    for reference in ("gsm8k@train", "math-500", "hub:owner/name.v2@test", "gym:countdown"):
        assert load(Recipe, minimal, [f"task={{name='data', data='{reference}'}}"]).task.files == ()
    assert load(Recipe, minimal).task.files == ()


def test_shipped_recipe_is_found_by_name() -> None:
    assert find("nano").read_text() == (REPOSITORY_RECIPES / "nano.toml").read_text()


@pytest.mark.parametrize("content", [b"name = ", b"name = \xff\xfe", b"[rl\n"])
def test_broken_toml_names_the_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.toml"
    path.write_bytes(content)
    message = refusal(Recipe, str(path))
    assert str(path) in message
    assert "not TOML" in message


@pytest.mark.parametrize(
    ("overrides", "parts"),
    [
        (["exploration=novelty", "exploration.novelty.ngram=5"], {"novelty": NoveltyRecipe(ngram=5)}),
        (["exploration=none", "exploration.novelty.ngram=5"], {"novelty": NoveltyRecipe(ngram=5)}),
        (["exploration=novelty", "exploration.length={}"], {"novelty": NoveltyRecipe(), "length": LengthRecipe()}),
    ],
)
def test_a_key_adds_to_the_shorthand_before_it(minimal: str, overrides: list[str], parts: dict[str, object]) -> None:
    assert load(Recipe, minimal, overrides).exploration.parts == parts

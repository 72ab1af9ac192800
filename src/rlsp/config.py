"""The recipe: what a run does, typed, read from TOML and `--set a.b=value`, checked when it is read.

Sizes are in tokens, rates per optimiser step, seeds are integers. A key that nothing knows is an error.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, model_validator

from rlsp.errors import InputError

PACKAGED_RECIPES = Path(__file__).parent / "recipes"
REPOSITORY_RECIPES = Path(__file__).parents[2] / "recipes"
EVALUATION_ALONE = object()
"""Tells the validators that neither SFT nor RL will run."""

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(gt=0)]
Rate = Annotated[float, Field(gt=0, lt=1)]


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ModelRecipe(Section):
    """`path`: a local Hugging Face model directory, or `nano`. `instruction`: the user's turn; `{question}` is
    replaced by the problem."""

    path: str = "nano"
    instruction: str = "{question}"

    @model_validator(mode="after")
    def _has_question(self) -> ModelRecipe:
        if "{question}" not in self.instruction:
            raise ValueError("instruction must contain {question}, or every prompt is the same")
        return self


class ColumnsRecipe(Section):
    """Which columns of the data hold what, where their names don't tell."""

    question: str | None = None
    answer: str | None = None
    level: str | None = None
    tests: str | None = None
    function: str | None = None


class FilterRecipe(Section):
    """Which problems of the data are left out, before they fall into splits: `deduplicate`, repeated questions;
    `decontaminate`, questions of these data references, equal or sharing `ngram` words in a row; `solved`, problems
    whose solve rate in this file of verdicts or scores is at least `solved_rate`."""

    deduplicate: bool = False
    decontaminate: tuple[Annotated[str, Field(min_length=1)], ...] = ()
    ngram: Positive = 13
    solved: str = ""
    solved_rate: Annotated[float, Field(gt=0, le=1)] = 1.0


class TaskRecipe(Section):
    """`name`: `countdown`, `chain-sum`, or `data` with a data reference: a file (JSONL, CSV, Parquet), a benchmark
    (`math-500`), `hub:OWNER/NAME[/SUBSET][@SPLIT]` or `gym:TASK`. `levels` of a generated task are drawn in turn. Of
    data, `verifier` judges the answers, `limit` keeps the first problems that the filters leave (0: all)."""

    name: Literal["countdown", "chain-sum", "data"]
    levels: Annotated[tuple[Positive, ...], Field(min_length=1)] = (1,)
    data: str = ""
    verifier: Annotated[str, Field(min_length=1)] = "math"
    limit: Annotated[int, Field(ge=0)] = 0
    columns: ColumnsRecipe = ColumnsRecipe()
    filters: FilterRecipe = FilterRecipe()

    @model_validator(mode="after")
    def _data_has_reference(self) -> TaskRecipe:
        if (self.name == "data") != bool(self.data):
            raise ValueError("task.data goes with task.name = 'data', and only with it")
        of_data = ("verifier", "limit", "columns", "filters")
        defaults = {key: type(self).model_fields[key].default for key in of_data}
        if self.name != "data" and (extra := [key for key in of_data if getattr(self, key) != defaults[key]]):
            raise ValueError(
                f"task.{extra[0]} is for task.name = 'data'; {self.name} makes and judges its own problems"
            )
        return self

    @property
    def files(self) -> tuple[Path, ...]:
        """The local files that the task reads."""
        references = [each for each in (self.data, *self.filters.decontaminate) if is_file_reference(each)]
        return tuple(map(Path, [*references, self.filters.solved] if self.filters.solved else references))


def is_file_reference(reference: str) -> bool:
    """Whether a data reference means a local file: it has an ending, and no `hub:` or `gym:` before it."""
    return not reference.startswith(("hub:", "gym:")) and bool(Path(reference).suffix)


class DemonstrationRecipe(Section):
    """`intuition`: the chance that one descent of the search solves the problem; traces that need more than
    `max_attempts` are dropped."""

    count: Positive
    intuition: Rate
    max_attempts: Positive


class SftRecipe(Section):
    """`batch_tokens` is the padded size of a batch; `warmup_share` the part of all steps that warms up. `optimizer`:
    `adamw`, as in the paper, or `muon`, which learns from scratch several times faster."""

    epochs: Positive
    learning_rate: Rate
    batch_tokens: Positive
    warmup_share: Share = 0.03
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    grad_clip: Annotated[float, Field(gt=0)] = 1.0
    optimizer: Literal["adamw", "muon"] = "adamw"


class SamplingRecipe(Section):
    """`max_response_tokens` counts EOS. `cache_tokens` bounds the sampler's key-value cache."""

    temperature: Annotated[float, Field(gt=0)] = 1.0
    max_prompt_tokens: Positive
    max_response_tokens: Positive
    cache_tokens: Positive


class ExplorationRecipe(Section):
    """`length`: R_ex = −C/|o| with C = `c_per_budget` × sampling.max_response_tokens. The paper's C = 1000 at a
    budget of 4096 is 0.244 of it. `none`: R_ex = 0."""

    kind: Literal["length", "none"] = "length"
    c_per_budget: Annotated[float, Field(gt=0)] = 1000 / 4096


class RewardRecipe(Section):
    """Eq. 1: α·1[correct] + (1−α)·R_ex, clamped to ±`clamp`. `truncation`: what a response without EOS earns (`keep`:
    the same; `floor`: the lowest exploration reward; `mask`: it leaves the loss)."""

    alpha: Share = 0.8
    clamp: Annotated[float, Field(gt=0)] = 10.0
    truncation: Literal["keep", "floor", "mask"] = "floor"


class PpoRecipe(Section):
    """`steps` iterations of `prompts_per_step` × `samples_per_prompt` rollouts, cut into minibatches of
    `minibatch_rollouts`. `kl_coefficient` is the paper's β; the actor stays frozen for the first
    `critic_warmup_steps`; `microbatch_tokens` bounds the padded size of one forward pass."""

    steps: Positive
    prompts_per_step: Positive
    samples_per_prompt: Positive
    minibatch_rollouts: Positive
    epochs: Positive = 1
    actor_learning_rate: Rate
    critic_learning_rate: Rate
    warmup_share: Share = 0.03
    critic_warmup_steps: Annotated[int, Field(ge=0)] = 4
    clip: Rate = 0.2
    value_clip: Annotated[float, Field(gt=0)] = 0.2
    kl_coefficient: Annotated[float, Field(ge=0)] = 0.05
    gamma: Share = 1.0
    gae_lambda: Share = 0.95
    grad_clip: Annotated[float, Field(gt=0)] = 1.0
    microbatch_tokens: Positive

    @property
    def rollouts_per_step(self) -> int:
        return self.prompts_per_step * self.samples_per_prompt

    @model_validator(mode="after")
    def _minibatches_fit(self) -> PpoRecipe:
        if self.rollouts_per_step % self.minibatch_rollouts:
            raise ValueError(
                f"{self.prompts_per_step} prompts × {self.samples_per_prompt} samples = {self.rollouts_per_step} "
                f"rollouts a step do not divide into minibatches of {self.minibatch_rollouts}: "
                f"set ppo.minibatch_rollouts to a divisor of {self.rollouts_per_step}"
            )
        if self.critic_warmup_steps >= self.steps:
            raise ValueError(
                f"the actor is frozen for critic_warmup_steps = {self.critic_warmup_steps} of {self.steps} steps and "
                "would never learn: raise ppo.steps or lower ppo.critic_warmup_steps"
            )
        return self


class EvaluationRecipe(Section):
    """`problems` held-out problems, one sample each at `temperature`; 0 is greedy."""

    problems: Positive
    temperature: Annotated[float, Field(ge=0)] = 1.0


class Recipe(Section):
    """A whole run. Without `demonstrations` and `sft` the RL starts from the base model (R1-Zero style)."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    description: str = ""
    seed: int = 0
    model: ModelRecipe
    task: TaskRecipe
    demonstrations: DemonstrationRecipe | None = None
    sft: SftRecipe | None = None
    sampling: SamplingRecipe
    exploration: ExplorationRecipe = ExplorationRecipe()
    reward: RewardRecipe = RewardRecipe()
    ppo: PpoRecipe
    evaluation: EvaluationRecipe

    @property
    def longest_tokens(self) -> int:
        """A prompt and its response as long as they may get."""
        return self.sampling.max_prompt_tokens + self.sampling.max_response_tokens

    @model_validator(mode="after")
    def _stages_agree(self, info: ValidationInfo) -> Recipe:
        if self.exploration.kind == "none" and self.reward.truncation == "floor":
            raise ValueError("exploration 'none' has no floor: set reward.truncation to 'keep' or 'mask'")
        if info.context is EVALUATION_ALONE:
            return self
        if (self.demonstrations is None) != (self.sft is None):
            raise ValueError("[demonstrations] and [sft] go together: SFT learns the demonstrations of this run")
        if self.demonstrations and self.task.name == "data":
            raise ValueError("no search can demonstrate a task of name 'data': leave out [demonstrations] and [sft]")
        for key, tokens in (
            ("sampling.cache_tokens", self.sampling.cache_tokens),
            ("ppo.microbatch_tokens", self.ppo.microbatch_tokens),
        ):
            if tokens < self.longest_tokens:
                raise ValueError(
                    f"{key} = {tokens} can't hold one prompt and response of {self.longest_tokens} tokens: raise it"
                )
        return self


class CorpusRecipe(Section):
    """The nano base model's text: `*_share` are shares of documents; `search_share` is the share of solved problems
    whose solution searches (checks, gives up, tries again); `*_intuition` is how often a first idea is right."""

    tokens: Positive
    comparison_share: Share
    ideas_share: Share
    chain_sum_share: Share
    search_share: Share
    countdown_intuition: Rate
    chain_sum_intuition: Rate

    @model_validator(mode="after")
    def _shares_fit(self) -> CorpusRecipe:
        if self.comparison_share + self.ideas_share + self.chain_sum_share > 1:
            raise ValueError("comparison_share + ideas_share + chain_sum_share exceed 1: nothing is left for countdown")
        return self


class ArchitectureRecipe(Section):
    """A Llama-architecture decoder with tied embeddings."""

    hidden_size: Positive
    layers: Positive
    heads: Positive
    intermediate_size: Positive
    max_positions: Positive
    initializer_range: Annotated[float, Field(gt=0)]

    @model_validator(mode="after")
    def _heads_divide(self) -> ArchitectureRecipe:
        if self.hidden_size % (2 * self.heads):
            raise ValueError(f"hidden_size = {self.hidden_size} does not divide into {self.heads} heads of even size")
        return self


class PretrainRecipe(Section):
    """Makes the nano base model."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    description: str = ""
    seed: int = 0
    corpus: CorpusRecipe
    architecture: ArchitectureRecipe
    sft: SftRecipe


R = TypeVar("R", Recipe, PretrainRecipe)


def load(cls: type[R], name_or_path: str, overrides: Iterable[str] = ()) -> R:
    """Read a recipe: a TOML file, or the name of one that ships with the package.

    Args:
        overrides: `a.b=value` texts, the value in TOML (a bare word is taken as a string).

    Raises:
        InputError: no such recipe, broken TOML, an unknown key or an impossible value.
    """
    return _load(cls, name_or_path, overrides)


def load_for_evaluation(name_or_path: str, overrides: Iterable[str] = ()) -> Recipe:
    """Read a recipe of which only the evaluation will run: demonstrations and SFT are left out, cache and
    micro-batches are made to hold a prompt and its response.

    Raises:
        InputError: as for `load`.
    """
    recipe = _load(Recipe, name_or_path, overrides, EVALUATION_ALONE)
    cache_tokens = max(recipe.sampling.cache_tokens, recipe.longest_tokens)
    microbatch_tokens = max(recipe.ppo.microbatch_tokens, recipe.longest_tokens)
    return recipe.model_copy(
        update={
            "demonstrations": None,
            "sft": None,
            "sampling": recipe.sampling.model_copy(update={"cache_tokens": cache_tokens}),
            "ppo": recipe.ppo.model_copy(update={"microbatch_tokens": microbatch_tokens}),
        }
    )


def override(key: str, value: str | float) -> str:
    """What sets a key to this very value for `load`: a text that looks like a number stays a text."""
    return f"{key}={_toml_value(value)}"


def _load(cls: type[R], name_or_path: str, overrides: Iterable[str], purpose: object = None) -> R:
    path = find(name_or_path)
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"recipe {path}: not TOML: {error}") from None
    if cls is Recipe and "corpus" in values:
        raise InputError(f"recipe {path} makes a base model: use `rlsp pretrain`")
    for each in overrides:
        _apply(values, each)
    try:
        return cls.model_validate(values, context=purpose)
    except ValidationError as error:
        raise InputError(f"recipe {path}: {_explain(error, cls)}") from None


def to_toml(recipe: Recipe) -> str:
    """The resolved recipe as TOML that `load` reads back."""
    return _toml_table(recipe.model_dump(mode="json", exclude_none=True)).lstrip("\n")


def _toml_table(values: Mapping[str, Any], name: str = "") -> str:
    """A table with its scalars first, then the tables in it."""
    scalars = {key: value for key, value in values.items() if not isinstance(value, dict)}
    text = f"\n[{name}]\n" if name and scalars else ""
    for key, value in scalars.items():
        text += f"{key} = {_toml_value(value)}\n"
    tables = [(f"{name}.{key}" if name else key, value) for key, value in values.items() if isinstance(value, dict)]
    return text + "".join(_toml_table(table, path) for path, table in tables)


def _toml_value(value: Any) -> str:
    """JSON's way to write scalars and lists is TOML's too, but for DEL, which TOML wants escaped."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def find(name_or_path: str) -> Path:
    """The recipe's file. Raises InputError naming the recipes there are."""
    folder = PACKAGED_RECIPES if PACKAGED_RECIPES.is_dir() else REPOSITORY_RECIPES
    for path in (Path(name_or_path), folder / f"{name_or_path}.toml"):
        if path.is_file():
            return path
    names = ", ".join(sorted(path.stem for path in folder.glob("*.toml")))
    raise InputError(f"no recipe {name_or_path!r}: give a TOML file or one of {names}")


def _apply(values: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator or not key:
        raise InputError(f"--set {override!r}: write it as section.key=value")
    *sections, last = key.split(".")
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise InputError(f"--set {override!r}: {section!r} is a value, not a section")
    try:
        values[last] = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        values[last] = text


def _explain(error: ValidationError, cls: type[Section]) -> str:
    lines = []
    for item in error.errors():
        key = ".".join(str(part) for part in item["loc"])
        if item["type"] == "extra_forbidden":
            lines.append(f"unknown key {key!r}; known here: {', '.join(_keys_beside(cls, item['loc']))}")
        elif item["type"] == "missing":
            lines.append(f"{key} is missing")
        elif item["type"] == "value_error":
            lines.append(f"{key + ': ' if key else ''}{item['ctx']['error']}")
        else:
            lines.append(f"{key} = {item['input']!r}: {item['msg']}")
    return "; ".join(lines)


def _keys_beside(cls: type[Section], location: tuple[int | str, ...]) -> list[str]:
    for part in location[:-1]:
        annotation = cls.model_fields[str(part)].annotation
        candidates = (annotation, *getattr(annotation, "__args__", ()))
        cls = next(kind for kind in candidates if isinstance(kind, type) and issubclass(kind, Section))
    return list(cls.model_fields)

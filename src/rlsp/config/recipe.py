"""A whole run: the sections that are neither task nor reward, and what must agree between them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, model_validator

from rlsp.config.agreement import alarms_agree, reward_agrees, targets_agree
from rlsp.config.cluster import ClusterRecipe
from rlsp.config.exploration import ExplorationRecipe, LengthRecipe
from rlsp.config.model import ModelRecipe
from rlsp.config.reward import RewardRecipe
from rlsp.config.rl import RlRecipe
from rlsp.config.section import Count, Positive, Rate, Section, Seed, Share, Temperature
from rlsp.config.service import TinkerRecipe
from rlsp.config.task import TaskRecipe, is_file_reference
from rlsp.config.watching import AlarmRecipe, CheckpointRecipe, ProbeRecipe

SamplingEngine = Literal["native", "vllm"]
EVALUATION_ALONE = object()
"""Tells the validators that neither SFT nor RL will run."""


class TraceColumnsRecipe(Section):
    """Which columns hold what, where their names don't tell."""

    question: str | None = None
    answer: str | None = None
    trace: str | None = None


class DemonstrationRecipe(Section):
    """Of generated problems: `count` searches. `intuition`: the chance that one descent solves the problem; traces that
    need more than `max_attempts` are dropped. Of a task of name `data`: the first `count` traces of the data reference
    `data`, each with its question and the reference answer, that come to that answer by `task.verifier` and that
    `task.filters.decontaminate` leaves."""

    count: Positive
    intuition: Rate | None = None
    max_attempts: Positive | None = None
    data: str = ""
    columns: TraceColumnsRecipe = TraceColumnsRecipe()

    @model_validator(mode="after")
    def _searched_or_given(self) -> DemonstrationRecipe:
        searched = [name for name in ("intuition", "max_attempts") if getattr(self, name) is not None]
        if self.data and searched:
            raise ValueError(f"{searched[0]} is a search's, and data gives the traces: leave one of them out")
        if not self.data and len(searched) < 2:
            raise ValueError("a search needs intuition and max_attempts; or give data with traces")
        if self.data.startswith("gym:"):
            raise ValueError(f"data = {self.data!r}: environments have no traces; give a file or hub:…")
        return self


class SftRecipe(Section):
    """`batch_tokens` is the padded size of a batch; `warmup_share` the part of all steps that warms up. `optimizer`:
    `adamw`, as in the paper, or `muon`, which learns from scratch several times faster."""

    epochs: Count
    learning_rate: Rate
    batch_tokens: Positive
    warmup_share: Share = 0.03
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    grad_clip: Annotated[float, Field(gt=0)] = 1.0
    optimizer: Literal["adamw", "muon"] = "adamw"


class SamplingRecipe(Section):
    """`max_response_tokens` counts EOS. `cache_tokens` bounds the sampler's key-value cache. `engine`: `native`,
    embedded and for any attention model, or `vllm`."""

    engine: SamplingEngine = "native"
    temperature: Temperature = 1.0
    max_prompt_tokens: Positive
    max_response_tokens: Positive
    cache_tokens: Positive


class EvaluationRecipe(Section):
    """`problems` held-out problems, one sample each at `temperature`; 0 is greedy."""

    problems: Positive
    temperature: Literal[0] | Temperature = 1.0


class Recipe(Section):
    """A whole run. Without `demonstrations` and `sft` the RL starts from the base model (R1-Zero style)."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    description: str = ""
    seed: Seed = 0
    model: ModelRecipe
    task: TaskRecipe
    demonstrations: DemonstrationRecipe | None = None
    sft: SftRecipe | None = None
    sampling: SamplingRecipe
    exploration: ExplorationRecipe = ExplorationRecipe(length=LengthRecipe())
    reward: RewardRecipe = RewardRecipe()
    rl: RlRecipe
    probe: ProbeRecipe | None = None
    alarms: AlarmRecipe = AlarmRecipe()
    checkpoints: CheckpointRecipe = CheckpointRecipe()
    evaluation: EvaluationRecipe
    cluster: ClusterRecipe | None = None
    tinker: TinkerRecipe | None = None

    @property
    def varied_temperature(self) -> float:
        """Where several samples of one problem have to differ: evaluation's, or training's where that one is greedy."""
        return self.evaluation.temperature or self.sampling.temperature

    @property
    def files(self) -> tuple[Path, ...]:
        """The local files that it reads, its model's aside."""
        traces = self.demonstrations.data if self.demonstrations else ""
        return (*self.task.files, Path(traces)) if is_file_reference(traces) else self.task.files

    @property
    def longest_tokens(self) -> int:
        """A prompt and its response as long as they may get."""
        return self.sampling.max_prompt_tokens + self.sampling.max_response_tokens

    @model_validator(mode="after")
    def _stages_agree(self, info: ValidationInfo) -> Recipe:
        targets_agree(self)
        if info.context is EVALUATION_ALONE:
            return self
        reward_agrees(self)
        if (self.demonstrations is None) != (self.sft is None):
            raise ValueError("[demonstrations] and [sft] go together: SFT learns the demonstrations of this run")
        if self.demonstrations and self.task.name == "data" and not self.demonstrations.data:
            raise ValueError(
                "no search can demonstrate a task of name 'data': leave out [demonstrations] and [sft], or give "
                "demonstrations.data, traces that think"
            )
        if self.demonstrations and self.demonstrations.data and self.task.name != "data":
            raise ValueError(f"demonstrations.data is for task.name = 'data'; {self.task.name} is searched")
        for key, tokens in (
            ("sampling.cache_tokens", self.sampling.cache_tokens),
            ("rl.microbatch_tokens", self.rl.microbatch_tokens),
        ):
            if tokens < self.longest_tokens:
                raise ValueError(
                    f"{key} = {tokens} can't hold one prompt and response of {self.longest_tokens} tokens: raise it"
                )
        alarms_agree(self)
        return self

"""A whole run: the sections that are neither task nor reward, and what must agree between them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, model_validator

from rlsp.config.exploration import GROUPED, ExplorationRecipe, LengthRecipe
from rlsp.config.reward import RewardRecipe
from rlsp.config.section import Positive, Rate, Section, Share
from rlsp.config.task import TaskRecipe

LENGTH_TARGET = "{length_target}"
EVALUATION_ALONE = object()
"""Tells the validators that neither SFT nor RL will run."""


class ModelRecipe(Section):
    """`path`: a local Hugging Face model directory, or `nano`. `instruction`: the user's turn; `{question}` is
    replaced by the problem, `{length_target}` by its target of exploration.l1 in tokens."""

    path: str = "nano"
    instruction: str = "{question}"

    @model_validator(mode="after")
    def _has_question(self) -> ModelRecipe:
        if "{question}" not in self.instruction:
            raise ValueError("instruction must contain {question}, or every prompt is the same")
        return self


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


class ProbeRecipe(Section):
    """During RL the policy is measured on `problems` of the selection split, at first and after every `every` steps:
    what alarms and an α by accuracy look at, never the test problems."""

    every: Positive
    problems: Positive


AlarmName = Literal[
    "repetition",
    "length",
    "dominance",
    "judge",
    "early-answer",
    "truncation",
    "unjudged",
    "shield",
    "constant-verdicts",
    "right-rejected",
    "wrong-accepted",
    "repeated-attempts",
    "dishonest-checks",
]


class AlarmRecipe(Section):
    """Alarms about reward hacking during RL: each looks at `window` steps in a row; those that `ignore` names are never
    raised. `pause`: the first alarm saves the policy and ends the run."""

    window: Annotated[int, Field(ge=3)] = 5
    pause: bool = False
    ignore: tuple[AlarmName, ...] = ()


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
    exploration: ExplorationRecipe = ExplorationRecipe(length=LengthRecipe())
    reward: RewardRecipe = RewardRecipe()
    ppo: PpoRecipe
    probe: ProbeRecipe | None = None
    alarms: AlarmRecipe = AlarmRecipe()
    evaluation: EvaluationRecipe

    @property
    def longest_tokens(self) -> int:
        """A prompt and its response as long as they may get."""
        return self.sampling.max_prompt_tokens + self.sampling.max_response_tokens

    @model_validator(mode="after")
    def _stages_agree(self, info: ValidationInfo) -> Recipe:
        self._reward_agrees()
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
        alarms_agree(self)
        return self

    def _reward_agrees(self) -> None:
        reward, parts, paid = self.reward, self.exploration.parts, self.exploration.paid
        if not paid and reward.truncation == "floor":
            raise ValueError(
                "an exploration reward of 0 has no floor: set reward.truncation to 'keep' or 'mask', or give an "
                "exploration reward a weight"
            )
        if self.ppo.samples_per_prompt == 1 and (grouped := [name for name in GROUPED if name in parts]):
            raise ValueError(
                f"exploration {grouped[0]!r} compares the samples of one prompt: set ppo.samples_per_prompt to 2 or "
                "more"
            )
        if self.exploration.behaviour and self.task.name == "data":
            raise ValueError(
                "exploration 'behaviour' counts steps that a machine can check, which tasks of name 'data' lack: take "
                "it out, or use a generated task"
            )
        self._length_targets_agree()
        cosine, budget = self.exploration.cosine, self.sampling.max_response_tokens
        if cosine and 0 < cosine.max_length < budget:
            raise ValueError(
                f"exploration.cosine.max_length = {cosine.max_length} lies below sampling.max_response_tokens = "
                f"{budget}: longer responses would all earn the same; raise it or leave it out"
            )
        if self.reward.schedule.kind == "accuracy" and self.probe is None:
            raise ValueError("reward.schedule 'accuracy' needs held-out accuracies: set probe.every and probe.problems")
        if reward.mode == "paper_code":
            if self.task.name != "data":
                raise ValueError(f"reward.mode 'paper_code' reads \\boxed{{}}: it is not for task {self.task.name!r}")
            if others := [name for name in paid if name != "judge"]:
                raise ValueError(
                    f"reward.mode 'paper_code' knows no exploration reward but the judge: take out {others[0]!r}, or "
                    "give it the weight 0"
                )

    def _length_targets_agree(self) -> None:
        l1, budget = self.exploration.l1, self.sampling.max_response_tokens
        told = LENGTH_TARGET in self.model.instruction
        if l1 is None and told:
            raise ValueError(
                f"model.instruction holds {LENGTH_TARGET} and nothing sets a target: take it out, or set "
                "exploration.l1.minimum and exploration.l1.maximum"
            )
        if l1 and l1.minimum != l1.maximum and not told:
            raise ValueError(
                f"exploration.l1 draws targets from {l1.minimum} … {l1.maximum} tokens, and no prompt tells them: put "
                f"{LENGTH_TARGET} into model.instruction, or make minimum and maximum equal"
            )
        if l1 and l1.maximum > budget:
            raise ValueError(
                f"exploration.l1.maximum = {l1.maximum} exceeds sampling.max_response_tokens = {budget}: no response "
                "can reach such a target; lower it"
            )


def alarms_agree(recipe: Recipe) -> None:
    """Raises ValueError when a pause is asked for and training ends before a rise can be told."""
    window, steps = recipe.alarms.window, recipe.ppo.steps
    if recipe.alarms.pause and steps < 2 * window:
        raise ValueError(
            f"alarms.pause waits for alarms, and most need 2 × alarms.window = {2 * window} steps, more than ppo.steps "
            f"= {steps}: lower alarms.window, raise ppo.steps or leave alarms.pause out"
        )

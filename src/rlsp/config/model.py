"""Which model is trained, and how much of it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from rlsp.config.section import Positive, Section


class LoraRecipe(Section):
    """Low-rank adapters (Hu et al. 2021): a linear layer W becomes W + alpha/rank · BA, and only A and B are trained.

    `targets`: every linear layer but the output head, or those whose names end so (`["q_proj", "v_proj"]`). `dropout`
    of the adapters' inputs is SFT's alone: PPO's ratio compares like with like."""

    rank: Positive = 16
    alpha: Annotated[float, Field(gt=0)] = 32.0
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    targets: Literal["all-linear"] | Annotated[tuple[str, ...], Field(min_length=1)] = "all-linear"


class ModelRecipe(Section):
    """`path`: a local Hugging Face model directory, or `nano`. `instruction`: the user's turn; `{question}` is
    replaced by the problem, `{length_target}` by its target of exploration.l1 in tokens. Without `lora` every weight
    is trained. `gradient_checkpointing` keeps only what enters a layer for the backward pass, which computes the rest
    again: far less memory, about a third more time in updates. `compile` runs what is trained through torch.compile."""

    path: str = "nano"
    instruction: str = "{question}"
    lora: LoraRecipe | None = None
    gradient_checkpointing: bool = False
    compile: bool = False

    @model_validator(mode="after")
    def _has_question(self) -> ModelRecipe:
        if "{question}" not in self.instruction:
            raise ValueError("instruction must contain {question}, or every prompt is the same")
        return self

"""The recipe that makes the nano base model."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from rlsp.config.recipe import SftRecipe
from rlsp.config.section import Positive, Rate, Section, Seed, Share

LARGEST = 10**9
"""Parameters of a model that is made from scratch on one machine."""


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

    @model_validator(mode="after")
    def _is_small(self) -> ArchitectureRecipe:
        parameters = self.layers * self.hidden_size * (4 * self.hidden_size + 3 * self.intermediate_size)
        if parameters > LARGEST:
            raise ValueError(f"these sizes make {parameters:.1e} parameters, at most {LARGEST:.0e} are: lower them")
        return self


class PretrainRecipe(Section):
    """Makes the nano base model."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    description: str = ""
    seed: Seed = 0
    corpus: CorpusRecipe
    architecture: ArchitectureRecipe
    sft: SftRecipe

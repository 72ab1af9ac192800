"""Where the engine `tinker` trains."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from rlsp.config.section import Section


class TinkerRecipe(Section):
    """`base_model` is the service's name of the model; `model.path` holds the same one's tokenizer and configuration
    here."""

    base_model: Annotated[str, Field(min_length=1)]

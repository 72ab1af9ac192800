"""What every section of a recipe has in common."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(gt=0)]
Count = Annotated[int, Field(gt=0, le=10**6)]
"""Of what is laid out before it begins."""
Rate = Annotated[float, Field(gt=0, lt=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Temperature = Annotated[float, Field(ge=1e-3, le=1e3)]
"""Beyond, logits in fp32 over- or underflow."""


class Section(BaseModel):
    """Frozen; a key that nothing knows is an error, and so are NaN and infinity."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _truth_values_are_no_numbers(cls, value: Any, info: ValidationInfo) -> Any:
        """pydantic would take true for 1."""
        assert info.field_name is not None
        given = value if isinstance(value, list) else [value]
        if bool in map(type, given) and cls.model_fields[info.field_name].annotation is not bool:
            raise ValueError(f"{str(value).lower()} is a truth value, and another kind of value is needed")
        return value

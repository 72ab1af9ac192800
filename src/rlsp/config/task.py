"""What is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from rlsp.config.section import Positive, Section


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

"""How responses are judged: what counts as an answer, how long a judgement may take, what may run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Settings:
    """`extraction`: `strict` takes only a marked answer (a box, `####`, "the final answer is"), as training needs it;
    `lenient` also reads what a careful human would from the last sentence. `deadline_seconds` is wall time for one
    judgement. `trusted_code` lets the code verifier run model-written programs without a sandbox."""

    extraction: Literal["strict", "lenient"] = "strict"
    deadline_seconds: float = 5.0
    trusted_code: bool = False


STRICT = Settings()
"""As training judges."""

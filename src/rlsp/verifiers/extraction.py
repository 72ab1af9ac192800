"""The final answer that a response marks."""

from __future__ import annotations

from typing import Literal

from rlsp.verifiers import final_answer


def extract(response: str, mode: Literal["strict", "lenient"]) -> str:
    """The marked answer as written, or "". A response that marks none has none in either mode."""
    return final_answer.extract(response)

"""What a stage tells whoever watches it."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    def stage(self, name: str, total: int, done: int = 0) -> None:
        """A stage of `total` units begins, or goes on after `done`; the one before has ended."""

    def advance(self, done: int, note: str = "") -> None:
        """`done` units of the stage are complete."""

    def say(self, message: str) -> None:
        """Something worth knowing, which stays to be read."""


class Silent:
    def stage(self, name: str, total: int, done: int = 0) -> None: ...

    def advance(self, done: int, note: str = "") -> None: ...

    def say(self, message: str) -> None: ...

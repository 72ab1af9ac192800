"""Grades that were paid for, on disk: one SQLite file that several processes may use at once."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from rlsp.config import JudgeRecipe
from rlsp.errors import InputError
from rlsp.exploration.judge import rubric

_TABLE = """CREATE TABLE IF NOT EXISTS grades (
    key TEXT PRIMARY KEY,
    value REAL NOT NULL CHECK (value BETWEEN 0 AND 1),
    model TEXT NOT NULL,
    rationale TEXT NOT NULL
)"""


@dataclass(frozen=True, slots=True)
class Cache:
    """Grades by key; failures are never kept. `path` None keeps nothing."""

    path: Path | None

    def get(self, keys: list[str]) -> dict[str, float]:
        """The values of those keys that are known."""
        if self.path is None:
            return {}
        with self._opened() as database:
            rows = (database.execute("SELECT value FROM grades WHERE key = ?", (key,)).fetchone() for key in keys)
            return {key: row[0] for key, row in zip(keys, rows, strict=True) if row}

    def put(self, key: str, value: float, model: str, rationale: str) -> None:
        if self.path is None:
            return
        row = (key, value, model, rationale.encode("utf-8", "replace").decode())
        with self._opened() as database, database:
            database.execute("INSERT OR REPLACE INTO grades VALUES (?, ?, ?, ?)", row)

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        assert self.path is not None
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with closing(sqlite3.connect(self.path, timeout=30)) as database:
                database.execute(_TABLE)
                yield database
        except (sqlite3.Error, OSError) as error:
            raise InputError(
                f"the judge's cache {self.path} can't be used: {error}; remove the file, or set "
                "exploration.judge.cache to another directory or to 'none'"
            ) from None


def cache_for(recipe: JudgeRecipe) -> Cache:
    """The recipe's cache; by default in `$XDG_CACHE_HOME/rlsp`, that is `~/.cache/rlsp`."""
    if recipe.cache == "none":
        return Cache(None)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(recipe.cache).expanduser() if recipe.cache else Path(base) / "rlsp"
    return Cache(folder / "judge.sqlite")


def key(recipe: JudgeRecipe, question: str, solution: str) -> str:
    """The SHA-256 of all that a grade depends on."""
    asked = (recipe.base_url, recipe.model, rubric.VERSION, recipe.max_tokens, question, solution)
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()

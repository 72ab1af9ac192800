"""Problems of reasoning-gym (https://github.com/open-thought/reasoning-gym): about a hundred generators of puzzles.

A problem keeps all that its scorer needs: the entry as reasoning-gym made it, in JSON. Making it again from its seed
would not do: several generators depend on Python's hash seed or on how many entries are asked for, and any may change
with the version. A problem is known by its question, since neighbouring seeds of one generator share problems.
"""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import importlib.util
import sys
from collections.abc import Mapping
from fractions import Fraction
from importlib.metadata import version
from typing import Any

from rlsp.errors import InputError
from rlsp.types import Problem

TASK = "gym"
MIXTURE = "composite"
"""The generator that mixes others; its entries can't be scored without them."""

_ROUNDS = 3
"""How often twice as many entries are asked for when too many were alike."""


def read_problems(name: str, count: int, seed: int, settings: Mapping[str, Any] | None = None) -> list[Problem]:
    """`count` different problems of the generator `name`; `settings` are those of its configuration.

    Raises:
        InputError: no reasoning-gym, no such generator or setting, or too few different problems.
    """
    require()
    from reasoning_gym import create_dataset

    _check(name)
    settings = dict(settings or {})
    if reserved := sorted(settings.keys() & {"seed", "size"}):
        raise InputError(f"gym task {name!r}: {reserved[0]} is no setting of its own; it follows from seed and count")
    problems: dict[str, Problem] = {}
    for size in (count << round for round in range(_ROUNDS)):
        problems.clear()
        try:
            data_set = create_dataset(name, seed=seed, size=size, **settings)
        except (TypeError, ValueError, AssertionError) as error:
            raise InputError(f"gym task {name!r} with {settings}: {error}; correct its settings") from None
        for index in range(size):
            with contextlib.redirect_stdout(sys.stderr):  # some generators print
                problem = _problem(name, settings, data_set[index])
            problems.setdefault(problem.id, problem)
            if len(problems) == count:
                return list(problems.values())
    raise InputError(
        f"gym task {name!r} has only {len(problems)} different problems among {size}, {count} were asked for: ask for "
        "fewer or change its settings"
    )


def names() -> list[str]:
    """The generators that there are. Raises InputError without reasoning-gym."""
    require()
    from reasoning_gym.factory import DATASETS

    return sorted(DATASETS.keys() - {MIXTURE})


def require() -> None:
    """Raises InputError when reasoning-gym isn't installed."""
    if importlib.util.find_spec("reasoning_gym") is None:
        raise InputError("gym tasks need reasoning-gym: pip install 'rlsp[gym]'")


def decode(value: Any) -> Any:
    """The inverse of `encode`."""
    if isinstance(value, list):
        return [decode(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {"$tuple"}:
        return tuple(decode(item) for item in value["$tuple"])
    if value.keys() == {"$items"}:
        return {decode(key): decode(item) for key, item in value["$items"]}
    if value.keys() == {"$fraction"}:
        return Fraction(value["$fraction"])
    return {key: decode(item) for key, item in value.items()}


def encode(value: Any) -> Any:
    """A value as JSON that `decode` turns back into an equal one, tuples and keys that are no text included.

    Raises:
        TypeError: it holds something else than numbers, texts, lists, tuples, dictionaries and None.

    >>> encode({"board": ((1, 2),)})
    {'board': {'$tuple': [{'$tuple': [1, 2]}]}}
    """
    if value is None or isinstance(value, bool):
        return value
    for plain in (str, int, float):
        if isinstance(value, plain):
            return plain(value)  # of numpy's scalars, which are subclasses, too
    if isinstance(value, Fraction):
        return {"$fraction": str(value)}
    if isinstance(value, tuple):
        return {"$tuple": [encode(item) for item in value]}
    if isinstance(value, list):
        return [encode(item) for item in value]
    if not isinstance(value, dict):
        raise TypeError(f"a {type(value).__name__} can't be kept: {value!r:.80}")
    if all(isinstance(key, str) and not key.startswith("$") for key in value):
        return {str(key): encode(item) for key, item in value.items()}
    return {"$items": [[encode(key), encode(item)] for key, item in value.items()]}


def _check(name: str) -> None:
    if name == MIXTURE:
        raise InputError(f"gym task {name!r} mixes others: ask for each of them by its name")
    known = names()
    if name not in known:
        close = difflib.get_close_matches(name, known, 3, 0.5) or known
        raise InputError(f"no gym task {name!r}; there are {len(known)}, for instance {', '.join(close[:10])}")


def _problem(name: str, settings: Mapping[str, Any], entry: Mapping[str, Any]) -> Problem:
    question, answer = entry["question"], entry["answer"]
    try:
        kept = encode({key: value for key, value in entry.items() if key != "question"})
    except TypeError as error:
        raise InputError(f"gym task {name!r}: {error}; leave this task out") from None
    digest = hashlib.sha256(question.encode()).hexdigest()[:16]
    return Problem(
        id=f"{TASK}/{name}/{digest}",
        task=TASK,
        question=question,
        answer="" if answer is None else answer,
        source=f"reasoning-gym {version('reasoning-gym')}",
        grading={"name": name, "settings": dict(settings), "entry": kept},
    )

"""Recipes as text: TOML in, `a.b=value` overrides, TOML out."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from rlsp.config.exploration import NONE, ExplorationRecipe
from rlsp.config.pretraining import PretrainRecipe
from rlsp.config.recipe import EVALUATION_ALONE, Recipe
from rlsp.config.reward import RewardRecipe
from rlsp.config.section import Section
from rlsp.errors import InputError

PACKAGED_RECIPES = Path(__file__).parents[1] / "recipes"
REPOSITORY_RECIPES = Path(__file__).parents[3] / "recipes"
SHOWN = 5
"""So many mistakes are told at once."""
LONGEST = 80
"""Characters of a wrong value that are told."""
R = TypeVar("R", Recipe, PretrainRecipe)


def load(cls: type[R], name_or_path: str, overrides: Iterable[str] = ()) -> R:
    """Read a recipe: a TOML file, or the name of one that ships with the package.

    Args:
        overrides: `a.b=value` texts, the value in TOML (a bare word is taken as a string).

    Raises:
        InputError: no such recipe, broken TOML, an unknown key or an impossible value.
    """
    return _load(cls, name_or_path, overrides)


def load_for_evaluation(name_or_path: str, overrides: Iterable[str] = ()) -> Recipe:
    """Read a recipe of which only the evaluation will run: demonstrations, SFT and what is paid are left out (length
    targets stay, as prompts tell them), cache and micro-batches are made to hold a prompt and its response.

    Raises:
        InputError: as for `load`.
    """
    recipe = _load(Recipe, name_or_path, overrides, EVALUATION_ALONE)
    cache_tokens = max(recipe.sampling.cache_tokens, recipe.longest_tokens)
    microbatch_tokens = max(recipe.rl.microbatch_tokens, recipe.longest_tokens)
    return recipe.model_copy(
        update={
            "demonstrations": None,
            "sft": None,
            "exploration": ExplorationRecipe(l1=recipe.exploration.l1),
            "reward": RewardRecipe(truncation="keep"),
            "sampling": recipe.sampling.model_copy(update={"cache_tokens": cache_tokens}),
            "rl": recipe.rl.model_copy(update={"microbatch_tokens": microbatch_tokens}),
        }
    )


def changed(recipe: Recipe, overrides: Iterable[str]) -> Recipe:
    """The recipe with some keys set.

    Raises:
        InputError: an unknown key or an impossible value.
    """
    values = recipe.model_dump(mode="json", exclude_none=True)
    for each in overrides:
        _apply(values, each)
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        raise InputError(f"recipe {recipe.name}: {_explain(error, Recipe)}") from None


def override(key: str, value: str | float) -> str:
    """What sets a key to this very value for `load`: a text that looks like a number stays a text."""
    return f"{key}={_toml_value(value)}"


def _load(cls: type[R], name_or_path: str, overrides: Iterable[str], purpose: object = None) -> R:
    path = find(name_or_path)
    try:
        values = _parse(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InputError(f"recipe {path}: can't be read: {error.strerror}; give another file") from None
    except ValueError as error:
        raise InputError(f"recipe {path}: not TOML: {error}; write KEY = VALUE below [sections], in UTF-8") from None
    if cls is Recipe and "corpus" in values:
        raise InputError(f"recipe {path} makes a base model: use `rlsp pretrain`")
    for each in overrides:
        _apply(values, each)
    return _checked(cls, values, f"recipe {path}", purpose)


def restore(values: Any, where: str) -> Recipe:
    """The recipe that `model_dump` made plain values of; `where` they stand leads the error.

    Raises:
        InputError: an unknown key or an impossible value.
    """
    return _checked(Recipe, values, where)


def _checked(cls: type[R], values: Any, where: str, purpose: object = None) -> R:
    try:
        return cls.model_validate(values, context=purpose)
    except ValidationError as error:
        raise InputError(f"{where}: {_explain(error, cls)}") from None


def to_toml(recipe: Recipe) -> str:
    """The resolved recipe as TOML that `load` reads back."""
    return _toml_table(recipe.model_dump(mode="json", exclude_none=True)).lstrip("\n")


def _toml_table(values: Mapping[str, Any], name: str = "") -> str:
    """A table with its scalars first, then the tables in it."""
    scalars = {key: value for key, value in values.items() if not isinstance(value, dict)}
    text = f"\n[{name}]\n" if name and scalars else ""
    for key, value in scalars.items():
        text += f"{key} = {_toml_value(value)}\n"
    tables = [(f"{name}.{key}" if name else key, value) for key, value in values.items() if isinstance(value, dict)]
    return text + "".join(_toml_table(table, path) for path, table in tables)


def _toml_value(value: Any) -> str:
    """JSON's way to write scalars and lists is TOML's too, but for DEL, which TOML wants escaped."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def find(name_or_path: str) -> Path:
    """The recipe's file. Raises InputError naming the recipes there are."""
    folder = PACKAGED_RECIPES if PACKAGED_RECIPES.is_dir() else REPOSITORY_RECIPES
    for path in (Path(name_or_path), folder / f"{name_or_path}.toml"):
        if os.path.isfile(path):  # unlike Path.is_file, of any name
            return path
    names = ", ".join(sorted(path.stem for path in folder.glob("*.toml")))
    raise InputError(f"no recipe {name_or_path!r:.200}: give a TOML file or one of {names}")


def _apply(values: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator or not key:
        raise InputError(f"--set {override!r}: write it as section.key=value")
    *sections, last = key.split(".")
    if sections[:1] == ["exploration"] and isinstance(short := values.get("exploration"), str):
        values["exploration"] = {} if short == NONE else {short: {}}
    for section in sections:
        values = values.setdefault(section, {})
        if not isinstance(values, dict):
            raise InputError(f"--set {override!r}: {section!r} is a value, not a section")
    values[last] = _value(text)


def _value(text: str) -> Any:
    """The value in TOML; a text that is not one value stands for itself."""
    try:
        parsed = _parse(f"value = {text}")
    except ValueError:
        return text
    return parsed["value"] if parsed.keys() == {"value"} else text


def _parse(text: str) -> dict[str, Any]:
    """Raises ValueError when the text is no TOML, or nested deeper than the parser goes."""
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _explain(error: ValidationError, cls: type[Section]) -> str:
    lines = []
    for item in error.errors():
        key = ".".join(str(part) for part in item["loc"])
        if item["type"] == "extra_forbidden":
            lines.append(f"unknown key {key!r}; known here: {', '.join(_keys_beside(cls, item['loc']))}")
        elif item["type"] == "default_factory_not_called":
            continue  # what it would have been made of is told already
        elif item["type"] == "missing":
            lines.append(f"{key} is missing")
        elif item["type"] == "value_error":
            lines.append(f"{key + ': ' if key else ''}{item['ctx']['error']}")
        else:
            lines.append(f"{key} = {_short(item['input'])}: {item['msg']}")
    more = f"; and {len(lines) - SHOWN} more" if len(lines) > SHOWN else ""
    return "; ".join(lines[:SHOWN]) + more


def _short(value: Any) -> str:
    """The value, or its beginning."""
    text = repr(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} …"


def _keys_beside(cls: type[Section], location: tuple[int | str, ...]) -> list[str]:
    for part in location[:-1]:
        annotation = cls.model_fields[str(part)].annotation
        candidates = (annotation, *getattr(annotation, "__args__", ()))
        cls = next(kind for kind in candidates if isinstance(kind, type) and issubclass(kind, Section))
    return list(cls.model_fields)

"""Checkpoints of a training: everything its next step depends on, whole and with hashes, without pickle.

000012/tensors.safetensors    the weights that learn, the optimizers' state, the random generators
000012/state.json             everything else
000012/manifest.json          sizes and SHA-256 of both
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from rlsp.errors import InputError
from rlsp.files import read_json, sha256, whole_directory

FORMAT = 1
TENSORS, STATE, MANIFEST = "tensors.safetensors", "state.json", "manifest.json"


class DamagedError(InputError):
    """A checkpoint is not what was written."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A training after `step` steps. `state` holds JSON values."""

    step: int
    tensors: Mapping[str, Tensor]
    state: Mapping[str, Any]


def write(folder: Path, checkpoint: Checkpoint) -> None:
    """Into a directory of its own in `folder`; whole or not at all.

    Raises:
        InputError: the file system says no.
    """
    with whole_directory(place(folder, checkpoint.step)) as beside:
        save_file({name: tensor.contiguous() for name, tensor in checkpoint.tensors.items()}, beside / TENSORS)
        (beside / STATE).write_text(json.dumps(checkpoint.state), encoding="utf-8")
        files = {name: _measured(beside / name) for name in (TENSORS, STATE)}
        manifest = {"format": FORMAT, "step": checkpoint.step, "files": files}
        (beside / MANIFEST).write_text(json.dumps(manifest, indent=2), encoding="utf-8")


def read(directory: Path) -> Checkpoint:
    """Raises DamagedError when a file is missing, was cut short or changed."""
    manifest = _manifest(directory)
    try:
        for name, wanted in manifest["files"].items():
            if not (directory / name).is_file():
                raise DamagedError(f"{directory}: {name} is missing")
            if (found := _measured(directory / name)) != wanted:
                sizes = f"{found['bytes']} bytes of {wanted['bytes']}"
                what = "other bytes than were written" if found["bytes"] == wanted["bytes"] else sizes
                raise DamagedError(f"{directory}: {name} holds {what}")
        return Checkpoint(manifest["step"], load_file(directory / TENSORS), read_json(directory / STATE))
    except (OSError, SafetensorError) as error:
        raise DamagedError(f"{directory}: can't be read: {error}") from None


def newest(folder: Path, latest: float = inf) -> tuple[Checkpoint | None, list[str]]:
    """(the newest checkpoint of at most `latest` steps that is whole, what is wrong with those that are newer)"""
    damaged: list[str] = []
    for step in steps(folder):
        if step > latest:
            continue
        try:
            return read(place(folder, step)), damaged
        except DamagedError as error:
            damaged.append(str(error))
    return None, damaged


def place(folder: Path, step: int) -> Path:
    return folder / f"{step:06d}"


def steps(folder: Path) -> list[int]:
    """The steps that have a checkpoint, whole or not, the newest first."""
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    return sorted((int(name) for name in names if name.isdecimal()), reverse=True)


def weights(prefix: str, module: nn.Module) -> dict[str, Tensor]:
    """The module's weights that learn, by name."""
    return {f"{prefix}.{name}": each.detach() for name, each in module.named_parameters() if each.requires_grad}


@torch.no_grad()
def restore_weights(prefix: str, module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Raises InputError when the tensors are those of another module."""
    wanted = weights(prefix, module)
    for name, weight in wanted.items():
        if name not in tensors:
            raise InputError(f"the checkpoint has no {name}: it is one of another model, algorithm or reward")
        if (found := tensors[name].shape) != weight.shape:
            raise InputError(
                f"the checkpoint's {name} is {list(found)}, this recipe's {list(weight.shape)}: it is one of another "
                "model, algorithm or reward"
            )
    for name, weight in wanted.items():
        weight.copy_(tensors[name])


def optimizer_state(prefix: str, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Everything an optimizer remembers of its parameters; learning rates are set at each step."""
    return {
        f"{prefix}.{number}.{name}": value
        for number, values in optimizer.state_dict()["state"].items()
        for name, value in values.items()
    }


def restore_optimizer(prefix: str, optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    values: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        if key.startswith(f"{prefix}."):
            number, name = key.removeprefix(f"{prefix}.").split(".")
            values.setdefault(int(number), {})[name] = tensor
    optimizer.load_state_dict({"state": values, "param_groups": optimizer.state_dict()["param_groups"]})


def _manifest(directory: Path) -> dict[str, Any]:
    try:
        manifest = read_json(directory / MANIFEST)
    except InputError as error:
        raise DamagedError(str(error)) from None
    if not isinstance(manifest, dict) or manifest.keys() != {"format", "step", "files"} or not _names_both(manifest):
        raise DamagedError(f"{directory / MANIFEST}: not a checkpoint's")
    if type(manifest["step"]) is not int or place(directory.parent, manifest["step"]) != directory:
        raise DamagedError(f"{directory / MANIFEST}: step {manifest['step']!r}, which is not the directory's")
    if manifest["format"] != FORMAT:
        raise DamagedError(f"{directory}: format {manifest['format']}, this version reads {FORMAT}")
    return manifest


def _names_both(manifest: dict[str, Any]) -> bool:
    files = manifest["files"]
    return (
        isinstance(files, dict)
        and files.keys() == {TENSORS, STATE}
        and all(isinstance(each, dict) and each.keys() == {"bytes", "sha256"} for each in files.values())
    )


def _measured(path: Path) -> dict[str, Any]:
    return {"bytes": path.stat().st_size, "sha256": sha256(path)}

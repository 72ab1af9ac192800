"""How a model's forward pass is run while it is trained: with less memory, or compiled."""

from __future__ import annotations

import copy
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from rlsp.config import ModelRecipe
from rlsp.errors import InputError
from rlsp.models import pick_device, trunk_of


@contextmanager
def training_passes(model: PreTrainedModel, recipe: ModelRecipe) -> Iterator[None]:
    """Inside, the model and copies made of it run as the recipe says.

    With `gradient_checkpointing` they keep only what enters each layer for the backward pass, which computes the rest
    again (Chen et al. 2016, arXiv 1604.06174). With `compile`, forward passes that want gradients are compiled.
    """
    trunk = trunk_of(model)
    lists = [each for each in trunk.children() if isinstance(each, nn.ModuleList)]
    layers = max((list(each) for each in lists), key=len) if recipe.gradient_checkpointing else []
    changed: list[Any] = [*layers, trunk] if recipe.compile else [*layers]
    before = [vars(module).get("forward") for module in changed]
    for layer in layers:
        layer.forward = partial(checkpoint, layer.forward, use_reentrant=False)
    if recipe.compile:
        trunk.forward = _Compiled(trunk.forward)
    try:
        yield
    finally:
        for module, forward in zip(changed, before, strict=True):
            del module.forward
            if forward is not None:
                module.forward = forward


def check_compiler(recipe: ModelRecipe) -> None:
    """Raises InputError when the recipe wants its model compiled, and there is nothing to do it."""
    compiler = os.environ.get("CXX", "g++")
    if recipe.compile and pick_device().type == "cpu" and shutil.which(compiler) is None:
        raise InputError(
            f"model.compile = true needs a C++ compiler, and there is no {compiler}: install it, let CXX name another, "
            "or leave model.compile out"
        )


class _Compiled:
    """A forward pass for any lengths, compiled when gradients are first wanted; without gradients it is run as it is. A
    module's copy gets its own."""

    def __init__(self, plain: Callable[..., Any]) -> None:
        self.plain = plain
        self.fast: Callable[..., Any] | None = None

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        if not torch.is_grad_enabled():
            return self.plain(*arguments, **options)
        if self.fast is None:
            self.fast = torch.compile(self.plain, dynamic=True)
        return self.fast(*arguments, **options)

    def __deepcopy__(self, memo: dict[int, Any]) -> _Compiled:
        return _Compiled(copy.deepcopy(self.plain, memo))

"""Low-rank adapters in a policy's linear layers (LoRA, Hu et al. 2021), by the extra `lora`.

Base weights are never written to. What else a training needs is a second module tree over the very same tensors: the
reference is the tree without adapters, the critic's trunk one with adapters of its own; for sampling and saving, the
adapted layers alone get new weights, W + alpha/rank · BA, which live as long as that tree.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import chain
from typing import TYPE_CHECKING

import torch
from torch import nn
from transformers import AutoModelForCausalLM, PretrainedConfig, PreTrainedModel
from transformers.pytorch_utils import Conv1D

from rlsp.config import LoraRecipe
from rlsp.errors import InputError

if TYPE_CHECKING:
    from peft.tuners.lora import Linear as LoraLinear

ADAPTER = "default"


@contextmanager
def adapted(model: PreTrainedModel, settings: LoraRecipe | None, seed: int) -> Iterator[None]:
    """Inside, only adapters of `model` can be trained; on leaving they are added to its weights and it is a plain model
    again, all of it trainable. `seed` becomes torch's: the adapters begin at random, and dropout draws from it.
    Without settings nothing happens.

    Raises:
        InputError: as for `adapt`.
    """
    if settings is None:
        yield
        return
    torch.manual_seed(seed)
    adapt(model, settings)
    try:
        yield
    finally:
        _fold(model)


def adapt(model: PreTrainedModel, settings: LoraRecipe) -> None:
    """Give `model` adapters that change nothing yet (B = 0) and freeze the rest.

    Raises:
        InputError: peft is not installed, or a target names no linear layer below the output head.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ModuleNotFoundError as error:
        raise InputError("model.lora trains adapters of the package peft: pip install 'rlsp[lora]'") from error
    layers = _targets(model, settings)
    widest = max(min(layer.get_parameter("weight").shape) for layer in layers.values())
    if settings.rank > widest:
        raise InputError(f"model.lora.rank = {settings.rank} exceeds the width of every layer, {widest}: lower it")
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,  # type: ignore[arg-type]  # annotated int, only ever divided
        lora_dropout=settings.dropout,
        target_modules=list(layers),
        fan_in_fan_out=any(isinstance(layer, Conv1D) for layer in layers.values()),
    )
    inject_adapter_in_model(config, model)
    del model.peft_config  # save_pretrained would take it for an adapter of transformers' own
    for layer in _adapted_layers(model).values():
        layer.lora_dropout.train()


def meta_model(config: PretrainedConfig, settings: LoraRecipe | None = None) -> PreTrainedModel:
    """The model that RL trains, with its shapes and without weights.

    Raises:
        InputError: as for `adapt`.
    """
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
        if settings is not None:
            adapt(model, settings)
    return model


def merged(model: PreTrainedModel) -> PreTrainedModel:
    """A plain model of the same distribution, which shares every weight but those of adapted layers; `model` itself
    when it has no adapters."""
    return _tree(model, _merged) if _adapted_layers(model) else model


def without_adapters(model: PreTrainedModel) -> PreTrainedModel | None:
    """The frozen base of a model with adapters, sharing its weights; None when it has none.

    Raises:
        ValueError: the adapters have learnt already, so that the base is not the model as it stands.
    """
    layers = _adapted_layers(model)
    if not layers:
        return None
    if any(bool(layer.get_parameter(f"lora_B.{ADAPTER}.weight").any()) for layer in layers.values()):
        raise ValueError("the adapters have learnt already: the reference would not be the policy as it stands")
    return _tree(model, _base)


def copy_sharing_frozen(module: nn.Module) -> nn.Module:
    """A deep copy but for the parameters that are not trained: those are the same tensors."""
    frozen = {id(parameter): parameter for parameter in module.parameters() if not parameter.requires_grad}
    return copy.deepcopy(module, frozen)


def adapted_elements(model: PreTrainedModel) -> int:
    """How many weights the adapted layers have, adapters aside: what `merged` allocates."""
    return sum(_base(layer).weight.numel() for layer in _adapted_layers(model).values())


def _fold(model: PreTrainedModel) -> None:
    for name, layer in _adapted_layers(model).items():
        model.set_submodule(name, _merged(layer))
    model.requires_grad_(True)


def _tree(model: PreTrainedModel, plain: Callable[[LoraLinear], nn.Module]) -> PreTrainedModel:
    """The same modules around the same tensors, with `plain(layer)` in the place of each adapted layer."""
    memo: dict[int, object] = {id(tensor): tensor for tensor in chain(model.parameters(), model.buffers())}
    for layer in _adapted_layers(model).values():
        memo[id(layer)] = plain(layer)
    return copy.deepcopy(model, memo)


@torch.no_grad()
def _merged(layer: LoraLinear) -> nn.Module:
    """The layer's base with the adapter added to a copy of its weight."""
    base = _base(layer)
    weight = nn.Parameter(base.weight + layer.get_delta_weight(ADAPTER), requires_grad=False)
    return copy.deepcopy(base, {id(base.weight): weight, id(base.bias): base.bias})


def _base(layer: LoraLinear) -> nn.Linear | Conv1D:
    base = layer.get_base_layer()
    assert isinstance(base, nn.Linear | Conv1D)
    return base


def _adapted_layers(model: nn.Module) -> dict[str, LoraLinear]:
    if not sys.modules.get("peft"):
        return {}  # an adapted model has it loaded; plain ones do without
    from peft.tuners.lora import Linear as LoraLinear

    return {name: module for name, module in model.named_modules() if isinstance(module, LoraLinear)}


def _targets(model: PreTrainedModel, settings: LoraRecipe) -> dict[str, nn.Module]:
    """The linear layers that get adapters, by their full names. The output head is none of them, since its weight may
    be the input embedding's, too."""
    head = model.get_output_embeddings()
    linear: dict[str, nn.Module] = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | Conv1D) and module is not head
    }
    if settings.targets == "all-linear":
        return linear
    found = {target: [name for name in linear if f".{name}".endswith(f".{target}")] for target in settings.targets}
    if missing := [target for target, names in found.items() if not names]:
        kinds = sorted({name.rpartition(".")[2] for name in linear})
        raise InputError(
            f"model.lora.targets: {type(model).__name__} has no linear layer {missing[0]!r} below its head; "
            f"it has {', '.join(kinds)}"
        )
    return {name: linear[name] for names in found.values() for name in names}

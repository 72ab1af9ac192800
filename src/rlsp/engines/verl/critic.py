"""A critic with a head for each stream of rewards, in verl's engine and losses. The values of stream 0 are verl's
`values`, those of stream s are `values_s`: fields of rollouts are two-dimensional in verl."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from verl.trainer.ppo.core_algos import compute_value_loss
from verl.utils.metric import AggregationType, Metric
from verl.utils.py_functional import temp_env_var
from verl.workers.engine import EngineRegistry
from verl.workers.engine.fsdp.transformer_impl import FSDPEngineWithValueHead
from verl.workers.engine_workers import TrainingWorker
from verl.workers.utils.padding import no_padding_2_padding

VENDOR = "rlsp"
"""verl looks for an engine by device and vendor first, and by the device alone after that."""


def field(name: str, stream: int) -> str:
    """verl's name of a field of one stream."""
    return f"{name}_{stream}" if stream else name


@EngineRegistry.register(
    model_type="value_model", backend=["fsdp", "fsdp2"], device=["cuda", "npu", "cpu"], vendor=VENDOR
)
class StreamsEngine(FSDPEngineWithValueHead):
    """Its head has a row for each stream, and starts at zero as the native critic's does."""

    @property
    def streams(self) -> int:
        return self.model_config.hf_config.rlsp_streams

    def _build_module(self) -> nn.Module:
        module = super()._build_module()
        given = module.score
        head = nn.Linear(given.in_features, self.streams, device=given.weight.device, dtype=given.weight.dtype)
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)
        module.score = head
        return module

    def prepare_model_outputs(self, output: Any, output_args: Any, micro_batch: Any, logits_processor_func: Any) -> Any:
        logits = output.logits
        values = {}
        for stream in range(self.streams):
            output.logits = logits[..., stream : stream + 1]
            found = super().prepare_model_outputs(output, output_args, micro_batch, logits_processor_func)
            values[field("values", stream)] = found["values"]
        return values


class StreamsWorker(TrainingWorker):
    """verl's worker, with our engine in it."""

    def __init__(self, config: Any) -> None:
        with temp_env_var("VERL_ENGINE_VENDOR", VENDOR):
            super().__init__(config)
        if not isinstance(self.engine, StreamsEngine):
            raise RuntimeError(
                f"verl has made a {type(self.engine).__name__}, not the critic of rlsp: check its version"
            )


def streams_loss(
    config: Any, streams: int, model_output: Any, data: Any, dp_group: Any = None
) -> tuple[torch.Tensor, dict[str, Any]]:
    """The clipped value losses of all streams, added up, each a mean over the minibatch's tokens."""
    names = [field(name, stream) for name in ("values", "returns") for stream in range(streams)]
    padded = data.select("response_mask", *names).to_padded_tensor()
    mask = padded["response_mask"].to(bool)
    losses, clipped = [], []
    for stream in range(streams):
        loss, clipfrac = compute_value_loss(
            vpreds=no_padding_2_padding(model_output[field("values", stream)], data),
            values=padded[field("values", stream)],
            returns=padded[field("returns", stream)],
            response_mask=mask,
            cliprange_value=config.cliprange_value,
            loss_agg_mode=config.loss_agg_mode,
            dp_size=data["dp_size"],
            batch_num_tokens=data["batch_num_tokens"],
            global_batch_size=data["global_batch_size"],
            loss_scale_factor=config.loss_scale_factor,
        )
        losses.append(loss)
        clipped.append(clipfrac)
    total = torch.stack(losses).sum()
    return total, {
        "critic/vf_loss": Metric(value=total, aggregation=AggregationType.SUM),
        "critic/vf_clipfrac": torch.stack(clipped).mean().detach().item(),
    }

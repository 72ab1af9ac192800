"""Which passage of a response the update pushed up, and which down: the advantages of its tokens, on its text."""

from __future__ import annotations

from collections.abc import Sequence

from tokenizers import Tokenizer
from tokenizers.decoders import DecodeStream

from rlsp import model_files
from rlsp.errors import InputError
from rlsp.files import read_records
from rlsp.runs import Run
from rlsp.types import Advantages, Rollout

Passage = tuple[int, float]
"""(the character of the text that it ends before, the advantage of its tokens); it begins where the one before ends."""


def tokenizer_of(run: Run) -> Tokenizer | None:
    """The tokenizer that the run's responses are in; None where it is not there as a file."""
    try:
        base = [model_files.resolve(run.recipe().model.path)]
    except InputError:
        base = []  # a run can outlive the model it began with
    files = (folder / "tokenizer.json" for folder in (run.path("rl", "model"), run.path("sft", "model"), *base))
    found = next((path for path in files if path.is_file()), None)
    if found is None:
        return None
    try:
        return Tokenizer.from_file(str(found))
    except Exception as error:  # tokenizers raises nothing narrower
        raise InputError(f"{found}: no tokenizer: {error!s:.200}; put it back from a copy") from None


def of_step(
    run: Run, step: int, rollouts: Sequence[Rollout], tokenizer: Tokenizer
) -> dict[tuple[str, int], list[Passage]]:
    """The passages of one step's responses, by problem and sample; nothing of a step that holds no advantages or, while
    the critic warmed up, did not update the policy."""
    path = run.step_file("advantages", step)
    if not path.is_file() or step <= run.recipe().rl.actor_waits:
        return {}
    values = {(each.problem_id, each.sample): each.values for each in read_records(path, Advantages)}
    found = {}
    for rollout in rollouts:
        key = (rollout.problem_id, rollout.sample)
        ends = token_ends(tokenizer, rollout)
        if ends is not None and len(values.get(key, ())) == len(ends):
            found[key] = passages(ends, values[key])
    return found


def token_ends(tokenizer: Tokenizer, rollout: Rollout) -> list[int] | None:
    """Where in the text each sampled token ends; None when the tokens do not decode to the text. A closing stop token
    adds nothing to it, nor does part of a character."""
    stream, text, ends = DecodeStream(skip_special_tokens=False), "", []
    for token in rollout.response_ids:
        text += stream.step(tokenizer, token) or ""
        ends.append(len(text))
    if not text.startswith(rollout.text):
        return None
    return [min(end, len(rollout.text)) for end in ends]


def passages(ends: Sequence[int], values: Sequence[float]) -> list[Passage]:
    """Neighbouring tokens of the same advantage are one passage; a token without text counts with the one before."""
    found: list[Passage] = []
    for end, value in zip(ends, values, strict=True):
        if found and end == found[-1][0]:
            continue
        if found and value == found[-1][1]:
            found.pop()
        found.append((end, value))
    return found

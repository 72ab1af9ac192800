"""What a person says of responses: right or wrong, as JSON lines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rlsp.errors import InputError
from rlsp.files import read_lines
from rlsp.rollouts.foreign import Response


def read(path: Path, responses: Sequence[Response]) -> dict[tuple[str, int], bool]:
    """The label of each response that has one, by problem and sample.

    A line holds `correct` (true, false, or null for not yet decided) and names its problem by `problem_id` or by `idx`,
    the problem's number among the responses, from 0; with `sample` where a problem has several. Other keys are notes.

    Raises:
        InputError: a line that is no label, of an unknown response, or the second of one.
    """
    samples: dict[str, list[int]] = {}
    for response in responses:
        samples.setdefault(response.problem_id, []).append(response.sample)
    names = list(samples)
    seen: set[tuple[str, int]] = set()
    labels: dict[tuple[str, int], bool] = {}
    for number, values in read_lines(path):
        where = f"{path}:{number}"
        if not isinstance(values, dict) or not isinstance(values.get("correct", ""), bool | None):
            raise InputError(f"{where}: a label has correct: true, false or null, got {values!r:.80}")
        problem = _problem(values, names, where)
        if problem not in samples:
            raise InputError(
                f"{where}: problem {problem!r:.80} is none of the {len(names)} that were graded, the first of which is "
                f"{names[0]!r:.80}: give the labels of these responses, and the same --verifier"
            )
        key = problem, _sample(values, problem, samples[problem], where)
        if key in seen:
            raise InputError(f"{where}: sample {key[1]} of problem {problem!r:.80} is labelled twice: keep one line")
        seen.add(key)
        if values["correct"] is not None:
            labels[key] = values["correct"]
    return labels


def _problem(values: Mapping[str, Any], names: Sequence[str], where: str) -> str:
    """The id of the problem that a label names."""
    name, number = values.get("problem_id"), values.get("idx")
    if isinstance(name, str):
        return name
    if name is None and type(number) is int and 0 <= number < len(names):
        return names[number]
    raise InputError(
        f"{where}: a label names its problem by problem_id, a text, or by idx, a number from 0 to {len(names) - 1}, "
        f"got {name!r:.60} and {number!r:.60}"
    )


def _sample(values: Mapping[str, Any], problem: str, samples: Sequence[int], where: str) -> int:
    sample = values.get("sample")
    if sample is None and len(samples) == 1:
        return samples[0]
    if type(sample) is int and sample in samples:
        return sample
    raise InputError(
        f"{where}: sample {sample!r:.60} is none of the {len(samples)} of problem {problem!r:.80}: give the right one"
    )

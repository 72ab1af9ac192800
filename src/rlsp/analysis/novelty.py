"""Whether reasoning goes beyond what the model was shown, or could do before: patterns that are in neither.

A pattern is a run of words, or a run of step types (what is done in each step, whatever it is done with). A finite set
of references lacks many patterns by chance alone, so every figure stands beside what the references are to one another.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np

from rlsp.evaluation.benchmark import Estimate
from rlsp.evaluation.resampling import mean_interval

WORDS = 8
"""Words in a run, as in decontamination: shorter ones are common phrases."""
STEPS = 4
"""Step types in a run."""
PERMUTATIONS = 128
"""Of a MinHash: its standard error is √(J(1−J)/128), at most 0.044."""
_PRIME = 4_294_967_311
"""The first above 2³²: a hash of 32 bits times a factor of 31 fits into 64."""
_WORD = re.compile(r"\w+|[^\w\s]")

Pattern = tuple[Hashable, ...]
Patterns = Mapping[str, Sequence[frozenset[Pattern]]]
"""Those of each text, by problem."""


@dataclass(frozen=True, slots=True)
class Novelty:
    """`share`: of a response's distinct patterns, those that no reference of another problem holds, as
    the mean over problems."""

    share: Estimate


def word_patterns(text: str) -> frozenset[Pattern]:
    """The distinct runs of words; a sign of punctuation is a word."""
    return patterns(_WORD.findall(text), WORDS)


def patterns(parts: Sequence[Hashable], length: int) -> frozenset[Pattern]:
    """The distinct runs of `length` parts; all of them as one run, where there are fewer."""
    if len(parts) < length:
        return frozenset([tuple(parts)] if parts else [])
    return frozenset(zip(*(parts[start:] for start in range(length)), strict=False))


def against(responses: Patterns, references: Patterns) -> Novelty | None:
    """What is new in each problem's responses to all references of other problems: an answer to the same question says
    much the same. None when no response holds a pattern, or no reference of another problem does.

    With the same responses on both sides it says how new these are to one another.
    """
    holder: dict[Pattern, str | None] = {}
    for problem, group in references.items():
        for pattern in frozenset().union(*group):
            holder[pattern] = None if holder.get(pattern, problem) != problem else problem
    others = {problem for problem, group in references.items() if any(group)}
    shares: list[float] = []
    for problem, group in responses.items():
        held = [each for each in group if each]
        if held and len(others) > (problem in others):
            fresh = [{pattern for pattern in each if holder.get(pattern, problem) == problem} for each in held]
            shares.append(sum(len(few) / len(every) for few, every in zip(fresh, held, strict=True)) / len(held))
    if not shares:
        return None
    return Novelty(Estimate(sum(shares) / len(shares), mean_interval(shares)))


def nearest(responses: Sequence[frozenset[Pattern]], references: Sequence[frozenset[Pattern]]) -> list[float]:
    """Each response's largest Jaccard similarity to a reference, |A ∩ B| / |A ∪ B|, estimated by MinHash (Broder
    1997); 0 without references, and for a response without a pattern."""
    theirs = _signatures([each for each in references if each])
    found = []
    for held, signature in zip(responses, _signatures(responses), strict=True):
        alike = (theirs == signature).mean(axis=1).max() if held and len(theirs) else 0.0
        found.append(float(alike))
    return found


def _signatures(sets: Sequence[frozenset[Pattern]]) -> np.ndarray:
    """The least hash of each set under each permutation, [sets, PERMUTATIONS]; 0 for an empty one."""
    rng = np.random.default_rng(0)
    factors, shifts = rng.integers(1, 1 << 31, (2, PERMUTATIONS), dtype=np.uint64)
    rows = np.zeros((len(sets), PERMUTATIONS), np.uint64)
    for row, held in zip(rows, sets, strict=True):
        if held:
            hashes = np.fromiter((crc32(repr(pattern).encode()) for pattern in held), np.uint64, len(held))
            row[:] = ((hashes[:, None] * factors + shifts) % np.uint64(_PRIME)).min(axis=0)
    return rows

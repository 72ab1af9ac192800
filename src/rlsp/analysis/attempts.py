"""Does training widen what a model can solve, or only make more likely what it could before? pass@k up to many samples:
a trained model that is ahead at k = 1 and not at large k was sharpened, no more (Yue et al., arXiv 2504.13837)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rlsp.evaluation.benchmark import Estimate, by_problem, powers_of_two, right
from rlsp.evaluation.grading import Graded
from rlsp.evaluation.resampling import mean_interval
from rlsp.evaluation.statistics import pass_at_k


@dataclass(frozen=True, slots=True)
class Attempts:
    """One model's pass@k, k the powers of two up to `samples`, on `problems` problems; `over_base` is what it has over
    the first model at each, paired by problem, empty for that itself. `name` is the evaluation's."""

    name: str
    label: str
    problems: int
    samples: int
    pass_at: dict[int, Estimate]
    over_base: dict[int, Estimate]


def compare(models: Sequence[tuple[str, str, Sequence[Graded]]]) -> list[Attempts]:
    """The curves of models, each with its (name, label, verdicts), the base first; all with as many samples of the same
    problems.

    Raises:
        ValueError: the problems differ.
    """
    found: list[Attempts] = []
    base: dict[int, dict[str, float]] = {}
    for name, label, graded in models:
        groups = by_problem(graded)
        samples = min(map(len, groups.values()))
        solved = {
            k: {problem: pass_at_k(len(group), right(group), k) for problem, group in groups.items()}
            for k in powers_of_two(samples)
        }
        if base and base[1].keys() != groups.keys():
            raise ValueError("the problems differ")
        found.append(
            Attempts(
                name,
                label,
                len(groups),
                samples,
                {k: _mean(list(each.values()), 0.0) for k, each in solved.items()},
                {k: _mean([each[problem] - base[k][problem] for problem in each], -1.0) for k, each in solved.items()}
                if base
                else {},
            )
        )
        base = base or solved
    return found


def _mean(values: Sequence[float], low: float) -> Estimate:
    return Estimate(sum(values) / len(values), mean_interval(values, low=low))

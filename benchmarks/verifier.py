"""Seconds a graded answer takes: rlsp's math verifier beside plain math-verify, in one run.

    python benchmarks/verifier.py RESPONSES.jsonl …

Both grade the same whole responses in one warm worker of the same pool, taking turns; the clock is the worker's own.
Each response is timed `--rounds` times for each grader and counts with the median of its rounds.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import median, quantiles

from rlsp.rollouts import foreign
from rlsp.verifiers.pool import Pool
from rlsp.verifiers.settings import Settings

GRADERS = {"rlsp": "rlsp.verifiers.math.grade:grade", "math-verify": "rlsp.verifiers.plain_math_verify:grade"}


def main(files: list[Path], rounds: int) -> None:
    items = []
    for file in files:
        answers = foreign.read(file)
        by_id = {problem.id: problem for problem in answers.problems}
        items += [(by_id[response.problem_id], response.text) for response in answers.responses]
    seconds: dict[str, list[list[float]]] = {name: [[] for _ in items] for name in GRADERS}
    with Pool(workers=1, preload=["rlsp.verifiers.math.warm", "math_verify"]) as pool:
        for _ in range(rounds):
            for index, (problem, text) in enumerate(items):
                for name, function in GRADERS.items():
                    arguments = {"response": text, "reference": problem.answer}
                    if name == "rlsp":
                        arguments |= {"mode": "lenient", "question": problem.question}
                    outcome = pool.submit(function, arguments, Settings().deadline_seconds).result()
                    seconds[name][index].append(outcome.seconds)
    print(f"{len(items)} responses, {rounds} rounds, one worker; milliseconds a response")
    print(f"{'':12} {'median':>8} {'mean':>8} {'95 %':>8} {'max':>8}")
    for name, timed in seconds.items():
        each = [1000 * median(row) for row in timed]
        figures = (median(each), sum(each) / len(each), quantiles(each, n=20)[-1], max(each))
        print(f"{name:12} " + " ".join(f"{figure:8.2f}" for figure in figures))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    main(given.files, given.rounds)

"""The studies of docs/exploration.md on the nano world: what each exploration reward changes, over seeds.

    python benchmarks/exploration.py alpha          # the length reward over α, from the base and from SFT
    python benchmarks/exploration.py family         # which reward makes search pay
    python benchmarks/exploration.py mix            # adding rewards against adding advantages, at three scales of C
    python benchmarks/exploration.py alarms         # hackable set-ups and the plain ones
    python benchmarks/exploration.py difficulty     # rewards that fit the effort to the difficulty
    python benchmarks/exploration.py schedule       # α over training

Each study is 30 PPO steps of 128 rollouts an arm and seed, evaluated on 1000 held-out problems; arms that studies share
run once. Runs are kept under --out, and a second call goes on where the first one stopped. Intervals are 95 %, over
seeds; differences are taken seed by seed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.box import MARKDOWN
from rich.table import Table
from sweep import BASE, SFT, Arm, Result, Sweep, console

from rlsp.evaluation.statistics import mean_over_seeds, rank_correlation
from rlsp.tasks.countdown import read_question

COMMON = (
    "ppo.steps=30",
    "ppo.prompts_per_step=32",
    "ppo.minibatch_rollouts=32",
    "probe={every = 10, problems = 128}",
    "evaluation.problems=1000",
)
Results = dict[str, list[Result]]
Measure = Callable[[Result], float]


def behaviour(name: str) -> Measure:
    return lambda result: result.summary["behaviours"].get(name, float("nan"))


def accuracy(result: Result) -> float:
    return 100 * result.summary["accuracy"]


def tokens(result: Result) -> float:
    return result.summary["mean_tokens"]


MEASURES: dict[str, Measure] = {
    "accuracy %": accuracy,
    "tokens": tokens,
    "truncated %": lambda result: 100 * result.summary["truncated"],
    "checks": behaviour("checks"),
    "backtracks": behaviour("backtracks"),
    "repeats": behaviour("repeats"),
    "right rejected": behaviour("right_rejected"),
    "wrong accepted": behaviour("wrong_accepted"),
}


def outcome_only(start: str) -> Arm:
    return Arm(f"outcome only from {start}", start, ("reward.alpha=1", "exploration=none"))


def length(start: str, alpha: str = "0.8", name: str = "", settings: Sequence[str] = ()) -> Arm:
    return Arm(name or f"length α {alpha} from {start}", start, (f"reward.alpha={alpha}", *settings))


def alone(name: str, start: str, part: str, alpha: str = "0.8", settings: Sequence[str] = ()) -> Arm:
    """One exploration reward instead of the length."""
    return Arm(f"{name} from {start}", start, (f"exploration={part}", f"reward.alpha={alpha}", *settings))


# (a) the length reward over α


def alpha(sweep: Sweep) -> bool:
    for start in (BASE, SFT):
        arms = [outcome_only(start), *(length(start, each) for each in ("0.9", "0.8", "0.5"))]
        results = sweep.run(arms)
        show(f"The length reward over α, from {start}", results)
        show_differences(results, arms[0].name, ("accuracy %", "tokens", "backtracks", "right rejected"))
    return True


STUDIES: dict[str, Callable[[Sweep], bool]] = {"alpha": alpha}


# Tables


def show(title: str, results: Results, measures: Sequence[str] = tuple(MEASURES)) -> None:
    table = Table("", *measures, title=title, title_justify="left", box=MARKDOWN)
    for name, seeds in results.items():
        table.add_row(name, *(spread([MEASURES[measure](seed) for seed in seeds]) for measure in measures))
    console.print(table)


def show_differences(results: Results, other: str, measures: Sequence[str]) -> None:
    table = Table("", *measures, title=f"Against '{other}', seed by seed", title_justify="left", box=MARKDOWN)
    for name in results:
        if name != other:
            gaps = [difference(results, name, other, MEASURES[measure]) for measure in measures]
            table.add_row(name, *(f"{centre:+.2f} ± {half:.2f}" for centre, half in gaps))
    console.print(table)


def difference(results: Results, name: str, other: str, measure: Measure) -> tuple[float, float]:
    """(mean, half width) of the differences seed by seed."""
    return mean_over_seeds([measure(a) - measure(b) for a, b in zip(results[name], results[other], strict=True)])


def spread(values: Sequence[float]) -> str:
    centre, half = mean_over_seeds(values)
    return f"{centre:.1f} ± {half:.1f}" if abs(centre) >= 10 else f"{centre:.2f} ± {half:.2f}"


def bar(sentence: str, holds: bool) -> bool:
    console.print(f"{'PASS' if holds else 'FAIL'}  {sentence}")
    return holds


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", choices=STUDIES)
    parser.add_argument("--seeds", type=int, default=5, choices=range(2, 12), metavar="2…11")
    parser.add_argument("--jobs", type=int, default=2, help="one-thread processes side by side")
    parser.add_argument("--out", type=Path, default=Path("runs/exploration"))
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="KEY=VALUE")
    arguments = parser.parse_args()
    console.print(f"{arguments.study}: {arguments.seeds} seeds")
    sweep = Sweep(arguments.out, [*COMMON, *arguments.settings], arguments.seeds, arguments.jobs)
    return 0 if STUDIES[arguments.study](sweep) else 1


if __name__ == "__main__":
    sys.exit(main())

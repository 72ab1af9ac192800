"""The README's table: base, SFT, RLSP, outcome-only PPO and self-consistency on the nano world, over seeds.

    python benchmarks/nano.py                 # 5 seeds, 1000 held-out problems each
    python benchmarks/nano.py --seeds 2 --set rl.steps=10 --out runs/shorter

Each seed runs the shipped recipe and two outcome-only runs (α = 1, no exploration reward): one from the same SFT model,
one from the base. Runs are kept, and a second call goes on where the first one stopped.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from rlsp import runs
from rlsp.cli.progress import LiveProgress, console
from rlsp.config import Recipe, load
from rlsp.engines import native, stages
from rlsp.evaluation.evaluate import self_consistency
from rlsp.evaluation.statistics import mean_over_seeds
from rlsp.files import read_records, write_json
from rlsp.runs import Run
from rlsp.tasks import countdown
from rlsp.types import Problem, Rollout, Score, to_json

OUTCOME_ONLY = ("reward.alpha=1.0", "exploration=none", "reward.truncation=keep")
Row = dict[str, Any]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5, choices=range(2, 12), metavar="2…11")
    parser.add_argument("--out", type=Path, default=Path("runs/bench-nano"))
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="KEY=VALUE")
    arguments = parser.parse_args()
    seeds = [_seed_results(seed, arguments.out, arguments.settings) for seed in range(arguments.seeds)]
    write_json(arguments.out / "results.json", seeds)
    _print_table(seeds)
    return 0 if _print_bars(seeds) else 1


def _seed_results(seed: int, out: Path, settings: Sequence[str]) -> dict[str, Row]:
    """Every evaluation of one seed by name."""
    rlsp = load(Recipe, "nano", [*settings, f"seed={seed}"])
    full = _run(rlsp, out / f"seed{seed}" / "rlsp")
    model = str(full.path("sft", "model"))
    outcome = load(Recipe, "nano", [*settings, f"seed={seed}", *OUTCOME_ONLY])
    from_sft = outcome.model_copy(
        update={
            "model": outcome.model.model_copy(update={"path": model}),
            "demonstrations": None,
            "sft": None,
        }
    )
    from_base = outcome.model_copy(update={"demonstrations": None, "sft": None})
    results = full.evaluations() | _other_votes(full)
    results["outcome from SFT"] = _run(from_sft, out / f"seed{seed}" / "outcome-from-sft").evaluations()["rlsp"]
    results["outcome from base"] = _run(from_base, out / f"seed{seed}" / "outcome-from-base").evaluations()["rlsp"]
    return results


def _other_votes(run: Run) -> dict[str, Row]:
    """The base model's samples under two readings that are kinder than a vote over expressions: a vote over the values
    they end with, and the right answer whenever any sample within the budget has it, which no vote can beat."""
    problems = list(read_records(run.path("problems", "test.jsonl"), Problem))
    rollouts = list(read_records(run.path("evaluation", "self-consistency.rollouts.jsonl.zst"), Rollout))
    scores = list(read_records(run.path("evaluation", "self-consistency.scores.jsonl.zst"), Score))
    owners = [problem for problem in problems for _ in range(len(rollouts) // len(problems))]

    def row(name: str, ballots: Sequence[str]) -> Row:
        cast = [
            replace(score, verdict=replace(score.verdict, answer=ballot))
            for score, ballot in zip(scores, ballots, strict=True)
        ]
        return to_json(self_consistency(name, name, problems, rollouts, cast, stages.tokens_of_rlsp(run)))

    values = [
        _final_value(owner, rollout) if score.verdict.answer else ""
        for owner, rollout, score in zip(owners, rollouts, scores, strict=True)
    ]
    right = ["right" if score.verdict.correct else "" for score in scores]
    return {"vote over values": row("vote over values", values), "any right": row("any right", right)}


def _final_value(problem: Problem, rollout: Rollout) -> str:
    """The value that the last line of steps ends with; "" without one."""
    attempts = countdown.replay(problem, rollout.text).attempts
    return str(attempts[-1].line.steps[-1].result) if attempts and attempts[-1].line.steps else ""


def _run(recipe: Recipe, directory: Path) -> Run:
    run = runs.resume(directory, recipe) if runs.exists(directory) else runs.create(directory, recipe)
    console.print(f"== {directory}")
    with LiveProgress() as progress:
        native.run(recipe, run, progress)
    return run


NAMES = {
    "base": "base",
    "self-consistency": "base, majority vote at equal tokens",
    "vote over values": "base, vote over final values at equal tokens",
    "any right": "base, any sample right at equal tokens",
    "sft": "SFT",
    "rlsp": "RLSP",
    "outcome from SFT": "outcome-only PPO from SFT (α = 1)",
    "outcome from base": "outcome-only PPO from base (α = 1)",
}
COLUMNS: dict[str, Callable[[Row], float]] = {
    "accuracy %": lambda row: 100 * row["accuracy"],
    "tokens": lambda row: row["mean_tokens"],
    "checks": lambda row: row["behaviours"]["checks"],
    "honest %": lambda row: 100 * row["behaviours"].get("honest_share", float("nan")),
    "backtracks": lambda row: row["behaviours"]["backtracks"],
    "right rejected": lambda row: row["behaviours"]["right_rejected"],
    "truncated %": lambda row: 100 * row["truncated"],
}


def _print_table(seeds: Sequence[dict[str, Row]]) -> None:
    problems = seeds[0]["base"]["problems"]
    title = f"nano, {len(seeds)} seeds × {problems} held-out problems: mean ± 95 % interval over seeds"
    table = Table(title=title, title_justify="left", caption_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    table.caption = "No vote over the base's samples can beat 'any sample right', which asks the verifier."
    table.add_column("")
    for column in COLUMNS:
        table.add_column(column, justify="right")
    for name, label in NAMES.items():
        cells = []
        for value in COLUMNS.values():
            centre, half = mean_over_seeds([value(results[name]) for results in seeds])
            cells.append(f"{centre:.1f} ± {half:.1f}" if abs(centre) >= 10 else f"{centre:.2f} ± {half:.2f}")
        table.add_row(label, *cells)
    console.print(table)


def _print_bars(seeds: Sequence[dict[str, Row]]) -> bool:
    """RLSP against its three bars, seed by seed on the same problems."""
    passed = True
    for other, points in (("base", 23.0), ("sft", 0.0), ("self-consistency", 11.0)):
        gains = [100 * (results["rlsp"]["accuracy"] - results[other]["accuracy"]) for results in seeds]
        centre, half = mean_over_seeds(gains)
        holds = centre >= points and centre - half > 0
        passed = passed and holds
        wanted = f"at least {points:.0f}" if points else "interval above 0"
        console.print(
            f"RLSP − {NAMES[other]}: {centre:+.1f} ± {half:.1f} points ({wanted}): {'PASS' if holds else 'FAIL'}"
        )
    budgets = [results["self-consistency"]["mean_tokens"] / results["rlsp"]["mean_tokens"] for results in seeds]
    equal = all(abs(budget - 1) <= 0.02 for budget in budgets)
    console.print(f"tokens of the vote / tokens of RLSP: {min(budgets):.4f} … {max(budgets):.4f}")
    return passed and equal


if __name__ == "__main__":
    sys.exit(main())

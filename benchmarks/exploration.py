"""The studies of docs/exploration.md on the nano world: what each exploration reward changes, over seeds.

    python benchmarks/exploration.py alpha          # the length reward over α, from the base and from SFT
    python benchmarks/exploration.py family         # which reward makes search pay
    python benchmarks/exploration.py mix            # adding rewards against adding advantages, at three scales of C
    python benchmarks/exploration.py alarms         # hackable set-ups, and honest ones over the whole recipe
    python benchmarks/exploration.py difficulty     # effort fitted to the difficulty; one also over the whole recipe
    python benchmarks/exploration.py schedule       # α over training

An arm is 30 PPO steps of 128 rollouts (where a study says nothing else), evaluated on 1000 held-out problems; arms that
studies share run once. Runs are kept under --out, and a second call goes on where the first one stopped. Intervals are
95 %, over seeds; differences are taken seed by seed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from measures import (
    accuracy,
    bar,
    difference,
    easiest,
    fit,
    show,
    show_differences,
    spread,
    tokens,
)
from rich.box import MARKDOWN
from rich.table import Table
from sweep import BASE, SFT, Arm, Sweep, console

from rlsp.config import Recipe, TaskRecipe, load
from rlsp.evaluation.statistics import mean_over_seeds
from rlsp.files import write_text
from rlsp.tasks import problems
from rlsp.tasks.splits import Split

COMMON = (
    "rl.steps=30",
    "rl.prompts_per_step=32",
    "rl.minibatch_rollouts=32",
    "probe={every = 10, problems = 128}",
    "evaluation.problems=1000",
)


def outcome_only(start: str) -> Arm:
    return Arm(f"outcome only from {start}", start, ("reward.alpha=1", "exploration=none"))


def length(start: str, alpha: str = "0.8", name: str = "", settings: Sequence[str] = ()) -> Arm:
    return Arm(name or f"length α {alpha} from {start}", start, (f"reward.alpha={alpha}", *settings))


def alone(name: str, start: str, part: str, alpha: str = "0.8", settings: Sequence[str] = ()) -> Arm:
    """One exploration reward instead of the length."""
    return Arm(f"{name} from {start}", start, (f"exploration={part}", f"reward.alpha={alpha}", *settings))


# The length reward over α


def alpha(sweep: Sweep) -> bool:
    for start in (BASE, SFT):
        arms = [outcome_only(start), *(length(start, each) for each in ("0.9", "0.8", "0.5"))]
        results = sweep.run(arms)
        show(f"The length reward over α, from {start}", results)
        show_differences(results, arms[0].name)
    return True


# Which reward makes search pay

EARLY = 16
"""Steps at which search has just begun to spread from the base model."""
FAMILY = {
    "length α 0.8": ("length", "0.8"),
    "length α 0.5": ("length", "0.5"),
    "effective length α 0.5": ("{effective_length = {ngram = 16}}", "0.5"),
    "length and repetition α 0.5": ("{length = {}, repetition = {ngram = 16}}", "0.5"),
    "novelty α 0.5": ("novelty", "0.5"),
    "behaviour α 0.5": ("behaviour", "0.5"),
}


def family(sweep: Sweep) -> bool:
    short = f"rl.steps={EARLY}"
    plain = replace(outcome_only(BASE), name=f"outcome only, {EARLY} steps")
    arms = [replace(plain, settings=(*plain.settings, short))]
    for name, (part, weight) in FAMILY.items():
        settings = (f"exploration={part}", f"reward.alpha={weight}", short)
        arms.append(Arm(f"{name}, {EARLY} steps", BASE, settings))
    results = sweep.run(arms)
    show(f"The family, {EARLY} steps from base", results)
    show_differences(results, plain.name)
    paying = []
    for arm in arms[1:]:
        centre, half = difference(results, arm.name, plain.name, accuracy)
        if centre - half > 0:
            paying.append(f"{arm.name} ({centre:+.1f} ± {half:.1f} points)")
    return bar(f"search pays under: {'; '.join(paying) or 'none of them'}", bool(paying))


# Adding rewards against adding advantages

SCALES = (0.1, 1.0, 10.0)


def mix(sweep: Sweep) -> bool:
    arms = {(way, scale): _scaled(way, scale) for way in ("advantage", "reward") for scale in SCALES}
    results = sweep.run(list(arms.values()))
    show("The length reward at three scales of C, from sft", results)
    holds = True
    for measure, label in ((tokens, "tokens"), (accuracy, "accuracy, points")):
        change = {
            way: [
                max(values) - min(values)
                for values in zip(*(map(measure, results[arms[way, scale].name]) for scale in SCALES), strict=True)
            ]
            for way in ("advantage", "reward")
        }
        less = [a - b for a, b in zip(change["advantage"], change["reward"], strict=True)]
        centre, half = mean_over_seeds(less)
        sentence = f"{label}: spread over the scales {spread(change['advantage'])} against {spread(change['reward'])}"
        holds &= bar(f"{sentence}, difference {centre:+.2f} ± {half:.2f}", centre + half < 0)
    return holds


def _scaled(way: str, scale: float) -> Arm:
    if (way, scale) == ("reward", 1.0):
        return length(SFT)
    name = f"C × {scale:g}, mix {way} from {SFT}"
    settings = (f"exploration.length.c_per_budget={scale * 1000 / 4096}", f"reward.mix={way}")
    return length(SFT, name=name, settings=settings)


# Alarms

BEFORE = 30
"""Alarms of a hackable set-up must come before this step."""
HACKABLE = {
    "every verdict right": {"constant-verdicts"},
    "every verdict wrong": {"constant-verdicts"},
    "length alone": {"dominance", "length"},
}
"""What each set-up must raise, under every seed."""
WHOLE = ("rl.steps=50", "rl.prompts_per_step=64", "rl.minibatch_rollouts=64")
"""The steps of the shipped recipe."""
SHIPPED = Arm("the nano recipe", SFT, WHOLE)
SHIPPED_OUTCOME_ONLY = Arm("the nano recipe, outcome only", SFT, (*WHOLE, "reward.alpha=1", "exploration=none"))


def alarms(sweep: Sweep) -> bool:
    questions = _questions(sweep.out / "countdown.jsonl")
    broken = [Arm(f"every verdict {verdict}", SFT, task=_judged(questions, verdict)) for verdict in ("right", "wrong")]
    results = sweep.run([*broken, length(SFT, "0", "length alone"), SHIPPED, SHIPPED_OUTCOME_ONLY])
    table = Table("", *(f"seed {seed}: alarm (step)" for seed in sweep.seeds), title="Alarms", box=MARKDOWN)
    for name, seeds in results.items():
        table.add_row(name, *(", ".join(f"{each['name']} ({each['step']})" for each in one.alarms) for one in seeds))
    console.print(table)
    holds = True
    for name, seeds in results.items():
        early = [{each["name"] for each in one.alarms if each["step"] < BEFORE} for one in seeds]
        if wanted := HACKABLE.get(name):
            right = all(wanted <= raised for raised in early)
            holds &= bar(f"{name}: {', '.join(sorted(wanted))} before step {BEFORE} under every seed", right)
        else:
            holds &= bar(f"{name}: no alarm under any seed", not any(one.alarms for one in seeds))
    return holds


def _questions(path: Path) -> Path:
    """Countdown's questions as data, which a verifier of one's own may judge."""
    if not path.is_file():
        drawn = problems(load(Recipe, "nano").task, Split.TRAIN, 6000, seed=0)
        rows = (json.dumps({"question": each.question, "answer": each.answer}) for each in drawn)
        write_text(path, "\n".join(rows) + "\n")
    return path


def _judged(questions: Path, verdict: str) -> TaskRecipe:
    return TaskRecipe(name="data", data=str(questions), verifier=f"broken_verifiers:{verdict}")


# Effort fitted to the difficulty

ADAPTIVE = {"alp": (2.0, 3.5), "kimi": (1.0, 4.0), "pass_rate": (2.0, 6.0)}
"""Weights of each, a small and a large one: with either all ranking invariants hold at α = 0.8."""

WHOLE_ADAPTIVE = ("alp", 3.5)
"""The one that also trains for the steps of the shipped recipe."""


def difficulty(sweep: Sweep) -> bool:
    short = [_adaptive(name, weight) for name, weights in ADAPTIVE.items() for weight in weights]
    good = _fitted("30 steps", sweep, length(SFT), [outcome_only(SFT)], short)
    whole = _adaptive(*WHOLE_ADAPTIVE)
    whole = replace(whole, name=f"{whole.name}, whole recipe", settings=(*whole.settings, *WHOLE))
    return _fitted("the whole recipe", sweep, SHIPPED, [SHIPPED_OUTCOME_ONLY], [whole]) or good


def _adaptive(name: str, weight: float) -> Arm:
    return alone(f"{name} × {weight:g}", SFT, f"{{{name} = {{weight = {weight}}}}}")


def _fitted(horizon: str, sweep: Sweep, uniform: Arm, others: Sequence[Arm], adaptive: Sequence[Arm]) -> bool:
    """Whether one of the adaptive rewards saves a fifth of the tokens on the easiest level, is not measurably less
    accurate, and lets length follow the level more closely than `uniform` does."""
    results = sweep.run([uniform, *others, *adaptive])
    measures = {"accuracy %": accuracy, "tokens": tokens, "tokens, easiest level": easiest, "length by level": fit}
    show(f"Effort fitted to the difficulty, from sft, {horizon}", results, measures)
    for arm in (uniform, *others):
        show_differences(results, arm.name, measures)
    good = []
    for arm in adaptive:
        gain, gain_half = difference(results, arm.name, uniform.name, accuracy)
        rise, rise_half = difference(results, arm.name, uniform.name, fit)
        saved = [
            1 - easiest(one) / easiest(other)
            for one, other in zip(results[arm.name], results[uniform.name], strict=True)
        ]
        centre, half = mean_over_seeds(saved)
        sentence = (
            f"{arm.name}: {100 * centre:.0f} ± {100 * half:.0f} % fewer tokens on the easiest level, accuracy "
            f"{gain:+.1f} ± {gain_half:.1f}, rank correlation {rise:+.3f} ± {rise_half:.3f}"
        )
        good.append(bar(sentence, centre >= 0.2 and gain + gain_half >= 0 and rise - rise_half > 0))
    return any(good)


# α over training


def schedule(sweep: Sweep) -> bool:
    arms = [outcome_only(BASE), length(BASE, "0.8"), length(BASE, "0.5")]
    for kind in ("linear", "cosine", "accuracy"):
        settings = [f"reward.schedule.kind={kind}", "reward.schedule.end=1.0"]
        if kind == "accuracy":
            settings.append("reward.schedule.accuracies=[0.4, 0.7]")
        arms.append(length(BASE, "0.5", f"length α 0.5 to 1, {kind} from {BASE}", settings))
    results = sweep.run(arms)
    show("α over training, from base", results)
    for arm in arms[:3]:
        show_differences(results, arm.name)
    return True


STUDIES: dict[str, Callable[[Sweep], bool]] = {
    "alpha": alpha,
    "family": family,
    "mix": mix,
    "alarms": alarms,
    "difficulty": difficulty,
    "schedule": schedule,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", choices=STUDIES)
    parser.add_argument("--seeds", type=int, default=5, choices=range(2, 12), metavar="2…11")
    parser.add_argument("--first-seed", type=int, default=0, metavar="N", help="other seeds check a finding anew")
    parser.add_argument("--jobs", type=int, default=2, help="one-thread processes side by side")
    parser.add_argument("--out", type=Path, default=Path("runs/exploration"))
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="KEY=VALUE")
    arguments = parser.parse_args()
    seeds = range(arguments.first_seed, arguments.first_seed + arguments.seeds)
    console.print(f"{arguments.study}: seeds {seeds.start} to {seeds.stop - 1}")
    sweep = Sweep(arguments.out, [*COMMON, *arguments.settings], seeds, arguments.jobs)
    return 0 if STUDIES[arguments.study](sweep) else 1


if __name__ == "__main__":
    sys.exit(main())

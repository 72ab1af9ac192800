"""`rlsp eval`: how good a model is: on held-out problems of its recipe, over a benchmark, or by stored responses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rlsp import tasks
from rlsp.cli.options import (
    DeadlineOption,
    LenientOption,
    ProblemsOption,
    ReplaceOption,
    SetOption,
    TrustOption,
    VerifierOption,
    judging,
)
from rlsp.cli.progress import LiveProgress, console
from rlsp.cli.tables import print_results
from rlsp.cli.verdicts import print_agreement, print_benchmark
from rlsp.config import Recipe, load, to_toml
from rlsp.errors import InputError
from rlsp.evaluation import grading
from rlsp.rollouts import foreign
from rlsp.runs import check_writable, write_json, write_records, write_text
from rlsp.tasks.splits import Split
from rlsp.types import to_json

if TYPE_CHECKING:
    from rlsp.verifiers.settings import Settings

BENCHMARK_RECIPE = "smollm2-math"
"""How a benchmark is asked unless a recipe says otherwise."""


def evaluate(
    recipe: Annotated[
        str | None, typer.Argument(help=f"A recipe's TOML file or name; with --data by default {BENCHMARK_RECIPE}.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Short for --set model.path=DIR.")] = None,
    data: Annotated[
        str | None, typer.Option(metavar="REF", help="Ask all of these problems: a file, a benchmark, hub:… or gym:….")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first problems of --data.")] = None,
    samples: Annotated[int | None, typer.Option(min=1, help="Responses to each problem of --data; 1.")] = None,
    temperature: Annotated[float | None, typer.Option(min=0, help="Short for --set evaluation.temperature=…")] = None,
    max_response_tokens: Annotated[
        int | None, typer.Option(min=1, help="Short for --set sampling.max_response_tokens=…")
    ] = None,
    rollouts: Annotated[Path | None, typer.Option(help="No model: grade the responses of this file.")] = None,
    verdicts: Annotated[Path | None, typer.Option(help="No model: the verdicts of `rlsp score`.")] = None,
    problems: ProblemsOption = None,
    verifier: VerifierOption = None,
    lenient: LenientOption = False,
    deadline: DeadlineOption = STRICT.deadline_seconds,
    trust: TrustOption = False,
    settings: SetOption = None,
    split: Annotated[Split, typer.Option(help="The split that selects is not the one that reports.")] = Split.TEST,
    out: Annotated[
        Path | None, typer.Option(help="With --data a directory for everything, else the summary as JSON.")
    ] = None,
    overwrite: ReplaceOption = False,
) -> None:
    """pass@1, pass@k, maj@k, length and truncation, each with its interval.

    Three forms: RECIPE, the recipe's model on its held-out problems; --model DIR --data REF --out DIR, a benchmark;
    --rollouts FILE or --verdicts FILE, what is stored.
    """
    stored = rollouts or verdicts
    asking = {
        "RECIPE": recipe, "--model": model, "--data": data, "--limit": limit, "--samples": samples, "--set": settings,
        "--temperature": temperature, "--max-response-tokens": max_response_tokens,
    }  # fmt: skip
    judge = judging(lenient, deadline, trust)
    if stored is not None:
        if rollouts and verdicts:
            raise InputError("--rollouts and --verdicts are two files to look at: give one of them")
        if given := [name for name, value in asking.items() if value is not None]:
            raise InputError(f"{stored} is stored already and needs no model: leave out {', '.join(given)}")
        _stored(stored, problems, verifier, judge, out, overwrite)
        return
    if problems is not None:
        raise InputError("--problems goes with --rollouts; ask other problems by --data REF")
    overrides = [*(settings or []), *_shorthands(model, temperature, max_response_tokens)]
    if data is not None:
        overrides += ["task.name=data", f"task.data={_quoted(data)}", f"task.limit={limit or 0}"]
        overrides += [f"task.verifier={_quoted(verifier)}"] if verifier else []
        _benchmark(load(Recipe, recipe or BENCHMARK_RECIPE, overrides), samples or 1, judge, out, overwrite)
        return
    if recipe is None:
        raise InputError(
            "nothing to evaluate: give a RECIPE, --model DIR --data REF, --rollouts FILE or --verdicts FILE"
        )
    if given := [
        name for name, value in (("--limit", limit), ("--samples", samples), ("--verifier", verifier)) if value
    ]:
        raise InputError(f"{', '.join(given)}: only with --data REF; held-out problems are judged as in training")
    _held_out(load(Recipe, recipe, overrides), split, judge, out, overwrite)


def _held_out(recipe: Recipe, split: Split, judge: Settings, out: Path | None, overwrite: bool) -> None:
    """pass@1 of the recipe's model on held-out problems."""
    if out is not None:
        check_writable(out, overwrite)
    from rlsp.engines import stages

    policy = stages.open_policy(recipe.model.path)
    problems = stages.held_out_problems(recipe, split)
    with LiveProgress() as progress:
        evaluation = stages.evaluate(policy, problems, recipe, progress, recipe.name, recipe.model.path, judge)
    summary = to_json(evaluation.summary)
    print_results(f"{recipe.task.name}, {split} split, {len(problems)} problems", [summary])
    if out is not None:
        write_json(out, summary)


def _benchmark(recipe: Recipe, samples: int, judge: Settings, out: Path | None, overwrite: bool) -> None:
    """Sample, store, judge, store."""
    temperature = recipe.evaluation.temperature
    if out is None:
        raise InputError("a benchmark stores its problems, rollouts and verdicts: give a directory by --out DIR")
    if out.is_file():
        raise InputError(f"{out} is a file, not a directory: give another --out")
    if samples > 1 and not temperature:
        raise InputError(f"{samples} samples at temperature 0 are one and the same: raise --temperature")
    check_writable(out, overwrite)
    from rlsp.engines import stages
    from rlsp.evaluation.benchmark import summarise

    problems = tasks.data_problems(recipe.task)
    policy = stages.open_policy(recipe.model.path)
    with LiveProgress() as progress:
        rollouts = stages.sample(policy, problems, samples, temperature, recipe, progress, "sample")
    write_text(out / "recipe.toml", to_toml(recipe))
    write_records(out / "problems.jsonl", problems)
    write_records(out / "rollouts.jsonl.zst", rollouts)
    graded = grading.grade(foreign.from_rollouts(problems, rollouts), judge)
    write_records(out / "verdicts.jsonl", graded)
    benchmark = summarise(graded)
    write_json(out / "summary.json", to_json(benchmark))
    print_benchmark(f"{recipe.model.path} on {recipe.task.data}, {len(problems)} problems", benchmark)
    console.print(f"stored: {out}", soft_wrap=True)


def _stored(
    path: Path, problems: Path | None, verifier: str | None, judge: Settings, out: Path | None, overwrite: bool
) -> None:
    """The same figures without a model."""
    if out is not None:
        check_writable(out, overwrite)
    from rlsp.evaluation.benchmark import summarise

    graded = grading.read(path, problems, verifier, judge)
    benchmark = summarise(graded)
    print_benchmark(f"{path.name}, {benchmark.overall.problems} problems", benchmark)
    print_agreement(graded)
    if out is not None:
        write_json(out, to_json(benchmark))


def _shorthands(model: str | None, temperature: float | None, max_response_tokens: int | None) -> list[str]:
    values = {
        "model.path": None if model is None else _quoted(model),
        "evaluation.temperature": temperature,
        "sampling.max_response_tokens": max_response_tokens,
    }
    return [f"{key}={value}" for key, value in values.items() if value is not None]


def _quoted(text: str) -> str:
    """As a TOML string."""
    return json.dumps(text, ensure_ascii=False)

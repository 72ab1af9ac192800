"""`rlsp eval`: how good a model is: on held-out problems of its recipe, over a benchmark, or by stored responses."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

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
from rlsp.config import Recipe, load_for_evaluation, override, to_toml
from rlsp.errors import InputError
from rlsp.evaluation import grading
from rlsp.files import check_writable, write_json, write_records, write_text
from rlsp.rollouts import foreign
from rlsp.tasks.splits import Split
from rlsp.types import to_json
from rlsp.verifiers import verify_all
from rlsp.verifiers.settings import STRICT, Settings

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
    split: Annotated[
        Split | None,
        typer.Option(help="Of the held-out problems; test. The split that selects is not the one to report."),
    ] = None,
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
        "--temperature": temperature, "--max-response-tokens": max_response_tokens, "--split": split,
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
    keys = {
        "model.path": model,
        "evaluation.temperature": temperature,
        "sampling.max_response_tokens": max_response_tokens,
    }
    if data is not None:
        if split is not None:
            raise InputError("--split: only of a RECIPE's held-out problems; --data REF asks all of its own")
        keys |= {"task.name": "data", "task.data": data, "task.limit": limit or 0, "task.verifier": verifier}
    overrides = [*(settings or []), *(override(key, value) for key, value in keys.items() if value is not None)]
    if data is not None:
        _benchmark(load_for_evaluation(recipe or BENCHMARK_RECIPE, overrides), samples or 1, judge, out, overwrite)
        return
    if recipe is None:
        raise InputError(
            "nothing to evaluate: give a RECIPE, --model DIR --data REF, --rollouts FILE or --verdicts FILE"
        )
    if given := [
        name for name, value in (("--limit", limit), ("--samples", samples), ("--verifier", verifier)) if value
    ]:
        raise InputError(f"{', '.join(given)}: only with --data REF; held-out problems are judged as in training")
    _held_out(load_for_evaluation(recipe, overrides), split or Split.TEST, judge, out, overwrite)


def _held_out(recipe: Recipe, split: Split, judge: Settings, out: Path | None, overwrite: bool) -> None:
    """pass@1 of the recipe's model on held-out problems. What can't be judged is found before anything is sampled."""
    if out is not None:
        check_writable(out, overwrite)
    from rlsp.engines import drawing, stages

    problems = drawing.held_out_problems(recipe, split)
    verify_all(problems, [""] * len(problems), judge)
    policy = stages.open_policy(recipe.model.path, recipe.sampling.engine)
    with LiveProgress() as progress:
        evaluation = stages.evaluate(policy, problems, recipe, progress, recipe.name, recipe.model.path, judge)
    summary = to_json(evaluation.summary)
    print_results(f"{recipe.task.name}, {split} split, {len(problems)} problems", [summary])
    if out is not None:
        write_json(out, summary)


def _benchmark(recipe: Recipe, samples: int, judge: Settings, out: Path | None, overwrite: bool) -> None:
    """Sample, store, judge, store. What can't be judged is found before anything is sampled."""
    temperature = recipe.evaluation.temperature
    if out is None:
        raise InputError("a benchmark stores its problems, rollouts and verdicts: give a directory by --out DIR")
    if out.is_file():
        raise InputError(f"{out} is a file, not a directory: give another --out")
    if samples > 1 and not temperature:
        raise InputError(f"{samples} samples at temperature 0 are one and the same: raise --temperature")
    check_writable(out, overwrite, directory=True)
    from rlsp.engines import stages
    from rlsp.evaluation.benchmark import summarise

    problems = tasks.data_problems(recipe.task)
    verify_all(problems, [""] * len(problems), judge)
    policy = stages.open_policy(recipe.model.path, recipe.sampling.engine)
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
        check_writable(out, overwrite, (path, problems))
    from rlsp.evaluation.benchmark import summarise

    graded = grading.read(path, problems, verifier, judge)
    benchmark = summarise(graded)
    print_benchmark(f"{path.name}, {benchmark.overall.problems} problems", benchmark)
    print_agreement(graded)
    if out is not None:
        write_json(out, to_json(benchmark))

"""`rlsp analyze`: how anyone's responses reason, alone or beside a base's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rlsp import runs
from rlsp.cli.options import (
    DeadlineOption,
    LenientOption,
    ProblemsOption,
    ReplaceOption,
    TrustOption,
    VerifierOption,
    judging,
)
from rlsp.cli.progress import LiveProgress, console
from rlsp.errors import InputError
from rlsp.evaluation.grading import grade
from rlsp.files import check_writable, read_records, write_records
from rlsp.rollouts import foreign
from rlsp.runs import Run
from rlsp.types import Demonstration
from rlsp.verifiers.settings import STRICT, Settings

if TYPE_CHECKING:
    from rlsp.analysis.analyze import Read
    from rlsp.exploration.judge.client import Client


def analyze(
    responses: Annotated[
        Path, typer.Argument(metavar="ROLLOUTS|RUN", help="JSONL of responses, plain, .zst or .gz; or a run directory.")
    ],
    against: Annotated[
        Path | None, typer.Option("--against", metavar="BASE", help="Responses of the base model to the same problems.")
    ] = None,
    demonstrations: Annotated[
        Path | None, typer.Option(help="JSONL of the demonstrations that the model was trained on.")
    ] = None,
    spans: Annotated[Path | None, typer.Option(help="Where to write every behaviour's place, as JSONL.")] = None,
    page: Annotated[
        Path | None, typer.Option(help="Where to write an HTML page of it, with every response; of a run: its report.")
    ] = None,
    samples: Annotated[
        int | None,
        typer.Option(min=0, help="Of a run: responses sampled on from each side of a behaviour."),
    ] = None,
    attempts: Annotated[
        int | None, typer.Option(min=0, help="Of a run: samples of each model to 200 test problems, for pass@k.")
    ] = None,
    common: Annotated[bool, typer.Option("--common", help="Leave out problems that only one was asked.")] = False,
    annotator: Annotated[
        str | None, typer.Option(metavar="MODEL", help="A language model that labels sentences, too, beside the words.")
    ] = None,
    annotator_url: Annotated[
        str, typer.Option(help="Its endpoint, which speaks OpenAI's protocol; by default OpenAI's own.")
    ] = "",
    annotator_key: Annotated[str, typer.Option(metavar="VARIABLE", help="The environment variable with its key.")] = "",
    annotated: Annotated[int, typer.Option(min=1, help="So many responses are labelled by it, drawn at random.")] = 50,
    problems: ProblemsOption = None,
    verifier: VerifierOption = None,
    lenient: LenientOption = False,
    deadline: DeadlineOption = STRICT.deadline_seconds,
    trust: TrustOption = False,
    overwrite: ReplaceOption = False,
) -> None:
    """What the reasoning does and costs: behaviours, thinking time, novelty; with BASE, what changed. Of a RUN: its
    trained model beside its base, and what each behaviour was worth."""
    if responses.is_dir():
        reading = {
            "--against": against, "--demonstrations": demonstrations, "--spans": spans, "--page": page,
            "--common": common, "--problems": problems, "--verifier": verifier, "--lenient": lenient,
            "--annotator": annotator, "--annotator-url": annotator_url, "--annotator-key": annotator_key,
        }  # fmt: skip
        if given := [option for option, value in reading.items() if value]:
            raise InputError(f"{responses} is a run, which holds what it needs: leave out {', '.join(given)}")
        _analyze_run(Run(responses), samples, attempts, judging(deadline=deadline, trusted_code=trust), overwrite)
        return
    for option, count in (("--samples", samples), ("--attempts", attempts)):
        if count is not None:
            raise InputError(f"{option} needs a model to sample from: give a run directory")
    for option, path in (("--spans", spans), ("--page", page)):
        if path is not None:
            check_writable(path, overwrite, (responses, against, demonstrations, problems), option=option)
    if spans is not None and page is not None and spans.resolve() == page.resolve():
        raise InputError(f"--spans and --page are both {page}: one would replace the other")
    reader = _annotator(annotator, annotator_url, annotator_key)
    settings = judging(lenient, deadline, trust)
    from rlsp.analysis import analyze as analysis
    from rlsp.cli.analysis_tables import print_analysis

    shown = list(read_records(demonstrations, Demonstration)) if demonstrations else []
    names = {path: path.name for path in (responses, against) if path}
    if len(set(names.values())) < len(names):
        names = {path: str(path) for path in names}
    model = _read(responses, names, problems, verifier, settings)
    base = _read(against, names, problems, verifier, settings) if against else None
    models = [model]
    if base:
        model, base = analysis.pair(model, base, common)
        models = [base, model]
    found = analysis.analyze(models, shown)
    print_analysis(found)
    if page is not None:
        from rlsp.report import build_responses

        build_responses(models, found, page)
        console.print(f"page: {page}", soft_wrap=True)
    if spans is not None:
        write_records(spans, analysis.places(model))
    if reader is not None:
        from rlsp.analysis.annotator import annotate
        from rlsp.cli.analysis_tables import print_annotation

        print_annotation(annotate(model, reader, annotated))


def _annotator(name: str | None, url: str, key: str) -> Client | None:
    """Who labels, before anything is done for it. Raises InputError when it can't be asked."""
    if name is None:
        if url or key:
            raise InputError("--annotator-url and --annotator-key are of an annotator: name its model by --annotator")
        return None
    from pydantic import ValidationError

    from rlsp.analysis.annotator import MAX_TOKENS
    from rlsp.config.exploration import JudgeRecipe
    from rlsp.exploration.judge.client import client_for

    try:
        recipe = JudgeRecipe(model=name, base_url=url, api_key_variable=key, max_tokens=MAX_TOKENS)
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(f"--annotator: {first['loc'][-1]}: {first['msg']}, got {first['input']!r:.80}") from None
    try:
        return client_for(recipe)
    except InputError as error:
        raise InputError(f"--annotator speaks to its endpoint as a judge does: {error}") from None


def _analyze_run(run: Run, samples: int | None, attempts: int | None, settings: Settings, overwrite: bool) -> None:
    from rlsp.analysis.stored import FILE
    from rlsp.cli.analysis_tables import print_analysis, print_attempts, print_effects
    from rlsp.engines import analysis
    from rlsp.report import build

    run.manifest()
    if run.path(FILE).exists() and not overwrite:
        raise InputError(
            f"{run.path(FILE)} exists: `rlsp report {run.directory}` shows it; make it anew by --overwrite"
        )
    with runs.locked(run.directory), LiveProgress() as progress:
        each, many = (
            default if given is None else given
            for given, default in ((samples, analysis.SAMPLES), (attempts, analysis.ATTEMPTS))
        )
        found = analysis.of_run(run, each, many, progress, settings)
    print_analysis(found.analysis, [each.name for each in found.analysis.accounts])
    print_effects(found.effects)
    print_attempts(found.attempts)
    console.print(f"analysis: {run.path(FILE)}", soft_wrap=True)
    console.print(f"report: {build(run)}", soft_wrap=True)


def _read(
    path: Path, names: Mapping[Path, str], problems: Path | None, verifier: str | None, settings: Settings
) -> Read:
    from rlsp.analysis.analyze import Read

    answers = foreign.read(path, problems, verifier)
    return Read(names[path], answers, grade(answers, settings))

"""The analysis of a run: its trained model beside what it came from, on the test problems, and what behaviours were
worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from rlsp.analysis import stored
from rlsp.analysis.analyze import Read, analyze
from rlsp.analysis.attempts import Attempts, compare
from rlsp.analysis.counterfactual import effects
from rlsp.analysis.effects import Effect
from rlsp.analysis.stored import RunAnalysis
from rlsp.engines import drawing, stages
from rlsp.engines.progress import Progress
from rlsp.errors import InputError
from rlsp.evaluation.grading import with_verdicts
from rlsp.files import read_records
from rlsp.report.evaluations import BASE, read_scores
from rlsp.rollouts import SamplingSettings, foreign
from rlsp.runs import Run
from rlsp.types import Demonstration, Problem, Rollout
from rlsp.verifiers import verify_all
from rlsp.verifiers.settings import STRICT, Settings

MODELS = {"rlsp": ("rl", "model"), "sft": ("sft", "model")}
SAMPLES = 8
"""Continuations of each side of a cut."""
ATTEMPTS, PROBLEMS = 64, 200
"""Samples of each of so many test problems, for pass@k."""


def of_run(run: Run, samples: int, attempts: int, progress: Progress, judging: Settings = STRICT) -> RunAnalysis:
    """Analyse a run's stored evaluations, sample `samples` continuations of each side of its behaviours, and `attempts`
    responses of each model to test problems, PROBLEMS at most (none: 0). The result is kept in the run, each part as
    soon as it is there.

    Raises:
        InputError: the run has no evaluation of a trained model.
    """
    made = run.evaluations()
    trained = next((name for name in stored.TRAINED if name in made), None)
    if trained is None:
        raise InputError(
            f"{run.directory} has no evaluation of a trained model yet: finish it by `rlsp resume {run.directory}`"
        )
    problems = list(read_records(run.path("problems", "test.jsonl"), Problem))
    model, rollouts = _read(run, trained, made[trained]["label"], problems)
    before = [name for name in (BASE, "sft") if name in made and name != trained]
    models = [*(_read(run, name, made[name]["label"], problems)[0] for name in before), model]
    path = run.path("demonstrations.jsonl")
    shown = list(read_records(path, Demonstration)) if path.is_file() else []
    progress.say(f"{model.name} beside {', '.join(each.name for each in models[:-1]) or 'nothing'}")
    analysis = analyze(models, shown)
    whole = RunAnalysis(trained, analysis, [], [])
    stored.write(run, whole)
    if samples:
        whole = replace(whole, effects=_effects(run, trained, problems, rollouts, samples, progress, judging))
        stored.write(run, whole)
    if attempts:
        labels = {name: made[name]["label"] for name in (*before, trained)}
        whole = replace(whole, attempts=_attempts(run, labels, problems[:PROBLEMS], attempts, progress, judging))
        stored.write(run, whole)
    return whole


def _read(run: Run, name: str, label: str, problems: Sequence[Problem]) -> tuple[Read, list[Rollout]]:
    rollouts = list(read_records(run.path("evaluation", f"{name}.rollouts.jsonl.zst"), Rollout))
    answers = foreign.from_rollouts(problems, rollouts)
    verdicts = {(score.problem_id, score.sample): score.verdict for score in read_scores(run, name)}
    missing = [each for each in rollouts if (each.problem_id, each.sample) not in verdicts]
    if missing:
        raise InputError(
            f"{run.path('evaluation', f'{name}.scores.jsonl.zst')}: no score of sample {missing[0].sample} of problem "
            f"{missing[0].problem_id!r:.80}: put the file back from a copy, or start over by --overwrite"
        )
    found = [verdicts[each.problem_id, each.sample] for each in rollouts]
    return Read(label, answers, with_verdicts(answers, found)), rollouts


def _attempts(
    run: Run,
    labels: Mapping[str, str],
    problems: Sequence[Problem],
    samples: int,
    progress: Progress,
    judging: Settings,
) -> list[Attempts]:
    recipe = run.recipe()
    models = []
    for name, label in labels.items():
        path = str(run.path(*MODELS[name])) if name in MODELS else recipe.model.path
        policy = stages.open_policy(path, recipe.sampling.engine)
        rollouts = stages.sample(
            policy, problems, samples, recipe.varied_temperature, recipe, progress, f"pass@k: {label}"
        )
        by_id = {problem.id: problem for problem in problems}
        verdicts = verify_all([by_id[each.problem_id] for each in rollouts], [each.text for each in rollouts], judging)
        models.append((name, label, with_verdicts(foreign.from_rollouts(problems, rollouts), verdicts)))
    return compare(models)


def _effects(
    run: Run,
    trained: str,
    problems: Sequence[Problem],
    rollouts: Sequence[Rollout],
    samples: int,
    progress: Progress,
    judging: Settings,
) -> list[Effect]:
    recipe = run.recipe()
    policy = stages.open_policy(str(run.path(*MODELS[trained])), recipe.sampling.engine)
    settings = SamplingSettings(
        recipe.varied_temperature, recipe.sampling.max_response_tokens, recipe.sampling.cache_tokens
    )
    ended = 0

    def begin(total: int) -> None:
        progress.stage("counterfactuals", total)

    def advance(some: Sequence[Rollout]) -> None:
        nonlocal ended
        ended += len(some)
        progress.advance(ended)

    return effects(
        {problem.id: problem for problem in problems}, rollouts, policy.sampler, policy.tokenizer, settings, samples,
        seed=drawing.stream(recipe.seed, drawing.EVALUATION_SEED), judging=judging, on_begin=begin, on_ended=advance,
    )  # fmt: skip

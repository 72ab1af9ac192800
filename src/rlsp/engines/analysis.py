"""The analysis of a run: its trained model beside what it came from, on the test problems, and what behaviours were
worth."""

from __future__ import annotations

from collections.abc import Sequence

from rlsp.analysis import stored
from rlsp.analysis.analyze import Read, analyze
from rlsp.analysis.counterfactual import effects
from rlsp.analysis.effects import Effect
from rlsp.analysis.stored import RunAnalysis
from rlsp.engines import stages
from rlsp.engines.progress import Progress
from rlsp.errors import InputError
from rlsp.evaluation.grading import with_verdicts
from rlsp.files import read_records
from rlsp.report.evaluations import BASE, read_scores
from rlsp.rollouts import SamplingSettings, foreign
from rlsp.runs import Run
from rlsp.types import Demonstration, Problem, Rollout
from rlsp.verifiers.settings import STRICT, Settings

MODELS = {"rlsp": ("rl", "model"), "sft": ("sft", "model")}
SAMPLES = 8
"""Continuations of each side of a cut."""


def of_run(run: Run, samples: int, progress: Progress, judging: Settings = STRICT) -> RunAnalysis:
    """Analyse a run's stored evaluations, and sample `samples` continuations of each side of its behaviours (none: 0);
    the result is kept in the run.

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
    before = [
        _read(run, name, made[name]["label"], problems)[0] for name in (BASE, "sft") if name in made and name != trained
    ]
    models = [*before, model]
    path = run.path("demonstrations.jsonl")
    shown = list(read_records(path, Demonstration)) if path.is_file() else []
    progress.say(f"{model.name} beside {', '.join(each.name for each in models[:-1]) or 'nothing'}")
    analysis = analyze(models, shown)
    stored.write(run, RunAnalysis(trained, analysis, []))
    found = _effects(run, trained, problems, rollouts, samples, progress, judging) if samples else []
    whole = RunAnalysis(trained, analysis, found)
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
    temperature = recipe.evaluation.temperature or recipe.sampling.temperature
    settings = SamplingSettings(temperature, recipe.sampling.max_response_tokens, recipe.sampling.cache_tokens)
    ended = 0

    def begin(total: int) -> None:
        progress.stage("counterfactuals", total)

    def advance(some: Sequence[Rollout]) -> None:
        nonlocal ended
        ended += len(some)
        progress.advance(ended)

    return effects(
        {problem.id: problem for problem in problems}, rollouts, policy.sampler, policy.tokenizer, settings, samples,
        seed=stages.stream(recipe.seed, stages.EVALUATION_SEED), judging=judging, on_begin=begin, on_ended=advance,
    )  # fmt: skip

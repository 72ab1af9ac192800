"""A whole run on verl: the stages of the native engine in their order, each a job of verl's, collected into the same
run directory."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from rlsp import report
from rlsp.config import Recipe, to_toml
from rlsp.engines import drawing, stages
from rlsp.engines.progress import Progress
from rlsp.engines.stages import Evaluation
from rlsp.engines.stopping import Stopping
from rlsp.engines.verl import data, jobs, require, settings
from rlsp.engines.verl.files import (
    AGENT_LOOPS,
    CHECKPOINTS,
    DEMONSTRATIONS,
    HELD_OUT,
    LOG,
    PROMPTS,
    RECIPE,
    ROLLOUTS,
    SCORES,
)
from rlsp.errors import JobFailed
from rlsp.evaluation.evaluate import self_consistency, summarise
from rlsp.files import JsonLines, read_records, write_records, write_text
from rlsp.model_files import resolve
from rlsp.models import load_tokenizer
from rlsp.runs import Run, read_metrics
from rlsp.types import Demonstration, Problem, Rollout, Score
from rlsp.verifiers.settings import STRICT, Settings


def run(recipe: Recipe, out: Run, progress: Progress, judging: Settings = STRICT) -> Path:
    """Every stage of the recipe that `out` has not finished yet; SFT and RL go on from verl's newest checkpoints.

    Returns:
        The report's path.

    Raises:
        InputError: verl is not installed, or can't do what the recipe asks for.
        JobFailed: verl ended with an error.
        Stopped: by a signal.
    """
    require()
    settings.check(recipe)
    with Stopping(progress.say):
        return _Stages(recipe, out, progress, judging).run()


class _Stages:
    def __init__(self, recipe: Recipe, out: Run, progress: Progress, judging: Settings) -> None:
        self.trusted = {"rlsp.trusted_code": judging.trusted_code}
        self.recipe, self.out, self.progress, self.judging = recipe, out, progress, judging
        self.base = resolve(recipe.model.path).resolve()
        self.tokenizer = load_tokenizer(recipe.model.path)

    def run(self) -> Path:
        if not self.out.finished("problems"):
            self.out.finish("problems", *drawing.write_problems(self.recipe, self.out))
        self.test = list(read_records(self.out.path("problems", "test.jsonl"), Problem))
        model = self.base
        self.evaluate(model, "base", "Base")
        if self.recipe.sft is not None:
            model = self.finetuned()
            self.evaluate(model, "sft", "SFT")
        model = self.reinforced(model)
        self.evaluate(model, "rlsp", "RLSP")
        self.vote()
        return report.build(self.out)

    def folder(self, name: str, anew: bool = False) -> Path:
        """Where a job works, with the recipe in it."""
        folder = self.out.path("verl", name).resolve()
        if anew:
            shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / RECIPE, to_toml(self.recipe))
        write_text(folder / AGENT_LOOPS, settings.LOOP)
        self.progress.say(f"verl's log: {folder / LOG}")
        return folder

    def prompts(self, path: Path, problems: Sequence[Problem]) -> None:
        data.write_prompts(path, problems, self.tokenizer, self.recipe)

    def evaluate(self, model: Path, name: str, label: str) -> None:
        if self.out.finished(f"evaluation/{name}"):
            return
        rollouts, scores = self.sampled(model, name, f"evaluate {label}", 1, self.recipe.evaluation.temperature)
        summary = summarise(name, label, self.test, rollouts, scores)
        stages.keep(self.out, Evaluation(summary, rollouts, scores))

    def vote(self) -> None:
        """Majority vote of the base model with as many tokens as the trained one used."""
        if self.out.finished("evaluation/self-consistency"):
            return
        budget = stages.tokens_of_rlsp(self.out)
        samples = stages.samples_to_vote(budget, len(self.test), self.out.evaluations()["base"]["mean_tokens"])
        label, temperature = "Base, majority", self.recipe.varied_temperature
        while True:
            rollouts, scores = self.sampled(self.base, "self-consistency", label, samples, temperature)
            if sum(rollout.length for rollout in rollouts) >= budget:
                break
            samples *= 2
        summary = self_consistency("self-consistency", label, self.test, rollouts, scores, budget)
        stages.keep(self.out, Evaluation(summary, rollouts, scores))

    def sampled(
        self, model: Path, name: str, label: str, samples: int, temperature: float
    ) -> tuple[list[Rollout], list[Score]]:
        """Rollouts of the test problems with their scores, by problem and sample."""
        folder = self.folder(f"evaluation-{name}", anew=True)
        self.prompts(folder / HELD_OUT, self.test)
        self.prompts(folder / PROMPTS, self.test[:1])
        jobs.write(folder, settings.evaluation(self.recipe, model, folder, samples, temperature) | self.trusted)
        self.progress.stage(label, len(self.test) * samples)
        jobs.run(folder, jobs.reinforcement(folder), lambda: None)
        places = {problem.id: place for place, problem in enumerate(self.test)}
        rollouts, scores = list(read_records(folder / ROLLOUTS, Rollout)), list(read_records(folder / SCORES, Score))
        order = sorted(range(len(rollouts)), key=lambda row: (places[rollouts[row].problem_id], rollouts[row].sample))
        return [rollouts[row] for row in order], [scores[row] for row in order]

    def finetuned(self) -> Path:
        """The fine-tuned model, made now or by an earlier call."""
        path, model = self.out.path("demonstrations.jsonl"), self.out.path("sft", "model")
        if not self.out.finished("demonstrations"):
            write_records(path, drawing.demonstrate(self.recipe, self.progress, self.judging))
            self.out.finish("demonstrations", path)
        if self.out.finished("sft"):
            return model.resolve()
        shown = list(read_records(path, Demonstration))
        examples = stages.examples(self.tokenizer, shown, self.recipe, self.progress)
        folder, cluster = self.folder("sft"), self.recipe.cluster
        assert cluster is not None
        data.write_demonstrations(folder / DEMONSTRATIONS, examples)
        asked = settings.finetuning(self.recipe, self.base, folder, [len(each.ids) for each in examples])
        jobs.write(folder, asked)
        steps = asked["trainer.total_epochs"] * (len(examples) // asked["data.train_batch_size"])
        self.progress.stage("SFT", steps)
        log = folder / jobs.METRICS.format(len(list(folder.glob(jobs.METRICS.format("*")))))
        command = jobs.finetuning(folder, cluster.gpus_per_node)

        def watch() -> None:
            if told := jobs.sft_metrics(folder, steps):
                self.progress.advance(int(told[-1]["step"]), f"loss {told[-1]['loss']:.3f}")

        jobs.run(folder, command, watch, {"VERL_FILE_LOGGER_PATH": str(log)})
        self.out.clear("sft")
        metrics = JsonLines(self.out.path("sft", "metrics.jsonl"))
        for each in jobs.sft_metrics(folder, steps):
            metrics.write(each)
        self.collect(folder, "", model)
        self.out.finish("sft", metrics.path, model)
        return model.resolve()

    def reinforced(self, start: Path) -> Path:
        """The model after RL, made now or by earlier calls."""
        recipe, model = self.recipe, self.out.path("rl", "model")
        if self.out.finished("rl"):
            return model.resolve()
        folder = self.folder("rl")
        batches = drawing.problems_of_steps(self.out, recipe)
        self.prompts(folder / PROMPTS, [problem for batch in batches for problem in batch])
        self.prompts(folder / HELD_OUT, drawing.probe_problems(recipe) or self.test[:1])
        where = {"rlsp.run": str(self.out.directory.resolve())}
        jobs.write(folder, settings.reinforcement(recipe, start, folder) | where | self.trusted)
        log = self.out.path("rl", "metrics.jsonl")
        self.progress.stage("RL", recipe.rl.steps)

        def watch() -> None:
            if log.exists() and (steps := log.read_text(encoding="utf-8").count("\n")):
                self.progress.advance(steps)

        jobs.run(folder, jobs.reinforcement(folder), watch)
        done = len(read_metrics(log))
        if done < recipe.rl.steps:
            raise JobFailed(f"verl ended after {done} of {recipe.rl.steps} steps; see {folder / LOG}")
        self.collect(folder, "actor", model)
        made = [self.out.path("rl", name) for name in ("metrics.jsonl", "seconds.jsonl", "alarms.jsonl")]
        made += [self.out.path("rl", name) for name in ("rollouts", "scores", "advantages")]
        self.out.finish("rl", *made, model)
        return model.resolve()

    def collect(self, folder: Path, inside: str, model: Path) -> None:
        """The Hugging Face model of verl's newest checkpoint."""
        step = int((folder / CHECKPOINTS / "latest_checkpointed_iteration.txt").read_text(encoding="utf-8"))
        found = folder / CHECKPOINTS / f"global_step_{step}" / inside / "huggingface"
        shutil.rmtree(model, ignore_errors=True)
        shutil.copytree(found, model)

"""Broken run directories, made by harming a small whole one."""

from __future__ import annotations

import functools
import json
import tempfile
from pathlib import Path

import zstandard

from rlsp.config import to_toml
from rlsp.files import write_records, write_text
from rlsp.runs import create
from rlsp.types import Exploration, Finish, Reason, Rollout, Score, Verdict
from tests.broken import Broken, Harm, both, cut, directory, edit, link, remove, write
from tests.test_report import PROBLEMS, RIGHT, WRONG, add_evaluation, add_metrics, minimal_recipe

MANIFEST, BASE = "run/manifest.json", "run/evaluation/base.json"
METRICS, SECONDS, ALARMS = "run/rl/metrics.jsonl", "run/rl/seconds.jsonl", "run/rl/alarms.jsonl"
ROLLOUTS, SCORES = "run/rl/rollouts/000001.jsonl.zst", "run/rl/scores/000001.jsonl.zst"
REPORT, EXPLAIN, RESUME = "report run", "reward explain run", "run r.toml --out run --resume"
OVERWRITE, PLAN = "run r.toml --out run --overwrite", "reward plan r.toml --run run"
COPY, RUNS = "back from a copy", "give a run's|give another --out"


@functools.cache
def _files() -> dict[str, bytes]:
    """Everything in a folder that holds a run and its recipe."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = create(folder / "run", minimal_recipe())
        write_text(folder / "r.toml", to_toml(minimal_recipe()))
        for split in ("train", "test"):
            write_records(run.path("problems", f"{split}.jsonl"), PROBLEMS)
        run.finish("problems", run.path("problems"))
        add_evaluation(run, "base", PROBLEMS, [WRONG] * 4)
        add_evaluation(run, "rlsp", PROBLEMS, [RIGHT, *[WRONG] * 3])
        add_metrics(run, 6)
        rollouts = [Rollout(each.id, 0, (1,), (2, 3), (-1.0, -1.0), RIGHT, Finish.EOS, 1.0, 0) for each in PROBLEMS]
        verdict, exploration = Verdict(False, "", Reason.MISMATCH), Exploration(-0.5, {"length": -0.5})
        write_records(folder / ROLLOUTS, rollouts)
        write_records(folder / SCORES, [Score(each.id, 0, verdict, exploration, 0.8, 0.1) for each in PROBLEMS])
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def whole(folder: Path) -> None:
    """The run, unharmed."""
    for name, content in _files().items():
        write(name, content)(folder)


def run(title: str, command: str, harm: Harm, names: str, fix: str) -> Broken:
    return Broken(f"a run {title}", tuple(command.split()), names, fix, both(whole, harm))


def manifest(title: str, harm: Harm, names: str = "manifest.json", fix: str = RUNS) -> list[Broken]:
    """Under every command that reads a manifest."""
    commands = {"reported": REPORT, "gone on with": RESUME, "started over": OVERWRITE}
    return [run(f"{title}, {verb}", command, harm, names, fix) for verb, command in commands.items()]


def stages(**more: object) -> Harm:
    def harm(folder: Path) -> None:
        known = json.loads((folder / MANIFEST).read_text())["stages"]
        edit(MANIFEST, stages=known | {name.replace("_", "/"): value for name, value in more.items()})(folder)

    return harm


def metrics(title: str, line: str, names: str, fix: str = "remove the line", command: str = REPORT) -> Broken:
    return run(title, command, write(METRICS, line + "\n"), f"metrics.jsonl:1: .*{names}", fix)


MANIFESTS = [
    *manifest("with an empty manifest", write(MANIFEST, ""), "manifest.json: .*Expecting value", "copy|another --out"),
    *manifest(
        "with garbage for a manifest", write(MANIFEST, b"\xff\0"), "manifest.json: .*0xff", "UTF-8|another --out"
    ),
    *manifest("with a nested manifest", write(MANIFEST, "[" * 100_000), "nested too deeply", "copy|another --out"),
    *manifest("with a list for a manifest", write(MANIFEST, "[]")),
    *manifest("with a directory for a manifest", directory(MANIFEST)),
    *manifest("without a manifest", remove(MANIFEST)),
    *manifest("with a number for its recipe", edit(MANIFEST, recipe=5)),
    *manifest("with a list for its stages", edit(MANIFEST, stages=["problems"])),
    *manifest("with a number for its inputs", edit(MANIFEST, inputs=5)),
    *manifest("with a number for its versions", edit(MANIFEST, versions=5)),
    *manifest("with a number for a stage's files", stages(problems=5), "stage 'problems'", COPY),
    *manifest(
        "whose stage leads elsewhere",
        edit(MANIFEST, stages={"evaluation/../../../x": {}}),
        r"stage 'evaluation/\.\./\.\./\.\./x'",
        COPY,
    ),
    *manifest(
        "whose files lead elsewhere",
        edit(MANIFEST, stages={"problems": {"../../etc/passwd": "0"}}),
        "stage 'problems'",
        COPY,
    ),
    run(
        "with half a recipe",
        REPORT,
        edit(MANIFEST, recipe={"name": "x"}),
        "manifest.json: its recipe .*model is missing",
        "rl is missing",
    ),
    run(
        "with a recipe that is wrong",
        EXPLAIN,
        edit(MANIFEST, **{"recipe.rl.steps": "x"}),
        "rl.steps = 'x'",
        "valid integer",
    ),
    run(
        "of another recipe",
        f"{RESUME} --set seed=3",
        write("x", ""),
        "seed was 0 and is 3",
        "start over by --overwrite",
    ),
    run("whose problems are gone", RESUME, remove("run/problems/test.jsonl"), "test.jsonl is missing", COPY),
    run(
        "whose problems have changed",
        RESUME,
        write("run/problems/test.jsonl", ""),
        "test.jsonl is not what it was",
        COPY,
    ),
    run("that exists", "run r.toml --out run", write("x", ""), "run exists", "--resume.*--overwrite"),
]
EVALUATIONS = [
    run("with an empty evaluation", REPORT, write(BASE, ""), "base.json: ", COPY),
    run("with a list for an evaluation", REPORT, write(BASE, "[]"), "base.json: not a Summary", r"got \[\]"),
    run(
        "with an accuracy that is none", REPORT, edit(BASE, accuracy=float("nan")), "base.json: ", "shares from 0 to 1"
    ),
    run("with an accuracy of 7", REPORT, edit(BASE, accuracy=7), "base.json: ", "shares from 0 to 1"),
    run("with text for an accuracy", REPORT, edit(BASE, accuracy="x"), "accuracy: .*got 'x'", "valid number"),
    run("with half an interval", REPORT, edit(BASE, interval=[0.5]), "base.json: .*interval", "Field required"),
    run("without problems", REPORT, edit(BASE, problems=0), "base.json: ", "has problems"),
    run("of endless length", REPORT, edit(BASE, mean_tokens=float("inf")), "base.json: ", "finite length"),
    run("with levels that are none", REPORT, edit(BASE, by_level={"x": {}}), "by_level", "got"),
    run(
        "whose evaluation leads elsewhere",
        REPORT,
        edit(BASE, name="../../x"),
        r"base.json: .*'\.\./\.\./x'",
        "put the right",
    ),
    run("with another's evaluation", REPORT, edit(BASE, name="rlsp"), "base.json: .*'rlsp'", "put the right one back"),
    run(
        "with garbage for rollouts", REPORT, write("run/evaluation/base.rollouts.jsonl.zst", "x"), "base.rollouts", COPY
    ),
    run(
        "with scores cut short", REPORT, cut("run/evaluation/base.scores.jsonl.zst", -9), "base.scores.*cut short", COPY
    ),
    run(
        "with problems cut short",
        REPORT,
        cut("run/problems/test.jsonl", -9),
        "test.jsonl:4: not JSON",
        "one whole object",
    ),
    run(
        "with a directory for its page",
        REPORT,
        directory("run/report.html"),
        "report.html.*Is a directory",
        "elsewhere",
    ),
]
LOGS = [
    run("with metrics cut short", REPORT, cut(METRICS, -9), "metrics.jsonl:6: not JSON", "write one whole object"),
    metrics("with a list for metrics", "[]", r"got \[\]"),
    metrics("with a number for metrics", "5", "got 5"),
    metrics("with metrics of no step", '{"accuracy": 1}', "metrics of a step are needed"),
    metrics("with metrics of half a step", '{"step": 0.5}', "metrics of a step are needed"),
    metrics("with text for a metric", '{"step": 1, "accuracy": "x"}', "'accuracy' is no number: 'x'"),
    metrics("with null for a metric", '{"step": 1, "accuracy": null}', "'accuracy' is no number: None"),
    metrics("with an object for a metric", '{"step": 1, "kl": {}}', "'kl' is no number: {}"),
    metrics("with text for a length", '{"step": 1, "length": "x", "kl": 1}', "'length' is no number", command=PLAN),
    run(
        "without a KL",
        PLAN,
        write(METRICS, '{"step": 1, "length": 5}\n'),
        "metrics.jsonl: no `length` and `kl`",
        "--kl",
    ),
    run("without metrics", PLAN, remove(METRICS), "metrics.jsonl: no `length` and `kl`", "give them by --length"),
    run(
        "with a length below 0",
        PLAN,
        write(METRICS, '{"step": 1, "length": -5, "kl": 0}\n'),
        "length of -5",
        "give a length",
    ),
    run(
        "with a number for SFT's metrics",
        REPORT,
        write("run/sft/metrics.jsonl", "5\n"),
        "sft/metrics.jsonl:1: ",
        "remove",
    ),
    run("with a number for its times", REPORT, write(SECONDS, "5\n"), "seconds.jsonl:1: .*got 5", "remove the line"),
    run(
        "with text for a time",
        REPORT,
        write(SECONDS, '{"step": 1, "update": "x"}\n'),
        "'update' is no number",
        "remove",
    ),
    run("with a number for an alarm", REPORT, write(ALARMS, "5\n"), "alarms.jsonl:1: not a Alarm", "got 5"),
    run(
        "with an alarm cut short", REPORT, write(ALARMS, '{"name": "x"'), "alarms.jsonl:1: not JSON", "one whole object"
    ),
]
EXPLAINED = [
    run("with garbage for a step's rollouts", EXPLAIN, write(ROLLOUTS, "x"), "000001.jsonl.zst: ", COPY),
    run("with no rollouts of a step", EXPLAIN, write(ROLLOUTS, zstandard.compress(b"")), "no rollouts in it", "--step"),
    run("without scores of a step", EXPLAIN, remove(SCORES), "scores/000001.jsonl.zst: .*No such file", COPY),
    run("without the step asked for", f"{EXPLAIN} --step 99", write("x", ""), "step 99", "--step|in rl/rollouts"),
    run("without the problem asked for", f"{EXPLAIN} --id ../../x", write("x", ""), r"'\.\./\.\./x'", "no sample 0"),
    run("without the sample asked for", f"{EXPLAIN} --sample 7", write("x", ""), "no sample 7", "problem"),
    run(
        "without its problems",
        EXPLAIN,
        remove("run/problems/train.jsonl"),
        "problem of .* is missing",
        "changed by hand",
    ),
    Broken("a file for a run", ("report", "r.toml"), "r.toml is no run directory", RUNS, write("r.toml", "")),
    Broken("a run that is nowhere", ("report", "nowhere"), "nowhere is no run directory", RUNS),
    Broken("a run that links to itself to report", ("report", "l"), "l is no run directory", RUNS, link("l", "l")),
    Broken("a run of an endless name to report", ("report", "x" * 5000), "xxx.* is no run directory", RUNS),
    Broken("a quickstart on a file", ("quickstart", "--out", "f"), "f is a file", "give another --out", write("f", "")),
    Broken(
        "a quickstart on other files",
        ("quickstart", "--out", "f"),
        "f is no run directory",
        "another --out",
        directory("f"),
    ),
]
CASES = [*MANIFESTS, *EVALUATIONS, *LOGS, *EXPLAINED]

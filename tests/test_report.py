"""The report: real content from a run directory, hostile text kept harmless, missing parts left out."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from html.parser import HTMLParser
from itertools import pairwise
from math import sqrt
from pathlib import Path
from typing import Any

import pytest
from markupsafe import escape

from rlsp.behaviours.grounded import rates
from rlsp.config import Recipe, load, to_toml
from rlsp.config.exploration import ExplorationRecipe
from rlsp.errors import InputError
from rlsp.files import JsonLines, write_json, write_records
from rlsp.report import build, glossary
from rlsp.report.evaluations import BASE, Summary, difference, read_evaluations
from rlsp.report.examples import QUOTAS, choose
from rlsp.report.traces import MEANINGS, mark, visible
from rlsp.report.training import rl_training
from rlsp.runs import Run, create, read_metrics
from rlsp.tasks.countdown import problem, replay
from rlsp.types import Exploration, Finish, Problem, Rollout, Score, Verdict

RIGHT = "3 * 7 = 21, 21 + 13 = 34; is it 33? no\n7 * 3 = 21, 21 + 12 = 33; is it 33? yes"
WRONG = "3 + 7 = 10, 10 + 12 = 22; is it 33? no"
HOSTILE = "<script>alert(1)</script>"
PROBLEMS = [problem([3, 7, 12], 33, 1), problem([2, 5, 9], 19, 1), problem([1, 4, 6], 10, 2), problem([2, 3, 8], 22, 2)]


def minimal_recipe(**changes: Any) -> Recipe:
    values: dict[str, Any] = {
        "name": "tiny",
        "description": 'Search & "learn" <b>',
        "model": {},
        "task": {"name": "countdown", "levels": [1, 2]},
        "sampling": {"max_prompt_tokens": 16, "max_response_tokens": 64, "cache_tokens": 1024},
        "rl": {
            "steps": 6,
            "prompts_per_step": 2,
            "samples_per_prompt": 2,
            "minibatch_rollouts": 4,
            "actor_learning_rate": 1e-5,
            "critic_learning_rate": 1e-4,
            "microbatch_tokens": 1024,
        },
        "evaluation": {"problems": 4},
    }
    return Recipe.model_validate(values | changes)


def add_evaluation(
    run: Run, name: str, problems: Sequence[Problem], texts: Sequence[str], **summary: Any
) -> dict[str, Any]:
    """Write an evaluation as the evaluation stage does; scores and behaviours come from the texts."""
    rollouts, scores = [], []
    for each, text in zip(problems, texts, strict=True):
        replayed = replay(each, text) if each.task == "countdown" else None
        verdict = (
            Verdict(replayed.correct, replayed.answer, replayed.reason)
            if replayed
            else Verdict(False, "", replay(PROBLEMS[0], "").reason)
        )
        rollouts.append(Rollout(each.id, 0, (1,), (2, 3), (-1.0, -1.0), text, Finish.EOS, 1.0, 0))
        scores.append(Score(each.id, 0, verdict, Exploration(-0.5, {}), 0.8, 0.1))
    accuracy = sum(score.verdict.correct for score in scores) / len(scores)
    values = {
        "name": name,
        "label": f"The {name} model",
        "problems": len(problems),
        "accuracy": accuracy,
        "interval": [max(0.0, accuracy - 0.25), min(1.0, accuracy + 0.25)],
        "mean_tokens": 12.5,
        "truncated": 0.0,
        "votes": None,
        "behaviours": rates(problems, rollouts),
        "by_level": {
            "1": {"problems": 2, "accuracy": accuracy, "interval": [0.0, 1.0], "mean_tokens": 11.0},
            "2": {"problems": 2, "accuracy": accuracy, "interval": [0.0, 1.0], "mean_tokens": 14.0},
        },
    } | summary
    write_json(run.path("evaluation", f"{name}.json"), values)
    run.finish(f"evaluation/{name}")
    write_records(run.path("evaluation", f"{name}.rollouts.jsonl.zst"), rollouts)
    write_records(run.path("evaluation", f"{name}.scores.jsonl.zst"), scores)
    return values


def add_metrics(run: Run, steps: int) -> None:
    log = JsonLines(run.path("rl", "metrics.jsonl"))
    for step in range(1, steps + 1):
        values = {
            "step": step,
            "accuracy": 0.1 * step,
            "exploration": -0.5,
            "reward": 0.08 * step - 0.1,
            "reward_correctness": 0.08 * step,
            "reward_exploration": -0.1,
            "length": 20.0,
        }
        values |= {"kl": 0.01, "behaviour/checks": 1.5, "tokens": 80}
        if step > 2:
            values["length_right"] = 30.0
        log.write(values)
    JsonLines(run.path("sft", "metrics.jsonl")).write({"step": 1, "loss": 1.5, "padding": 0.1, "tokens": 100})


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Base solves one of four problems, RLSP three; the second base response is hostile."""
    run = create(tmp_path / "a-run", minimal_recipe())
    write_records(run.path("problems", "test.jsonl"), PROBLEMS)
    solved = ["2 * 5 = 10, 10 + 9 = 19", "4 * 1 = 4, 4 + 6 = 10", "8 + 3 = 11, 11 * 2 = 22; is it 22? yes"]
    add_evaluation(run, "rlsp", PROBLEMS, [RIGHT, solved[0], solved[1], "8 + 3 = 11, 11 * 2 = 22; is it 22? no"])
    add_evaluation(run, "base", PROBLEMS, [WRONG, HOSTILE, "4 + 6 = 11, 11 - 1 = 10", solved[2]])
    add_metrics(run, steps=6)
    return run


class Page(HTMLParser):
    """What a browser would make of the page: tags with attributes, the text of cells, the scripts."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.scripts: list[str] = []
        self.text = ""
        self._open = ""
        self._in_cell = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._open = tag
        self._in_cell = self._in_cell or tag in ("td", "th")
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th") and self.rows:
            self.rows[-1].append("")
        elif tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self._open = "" if tag in ("script", "style") else self._open
        self._in_cell = self._in_cell and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        if self._open == "script":
            self.scripts[-1] += data
        elif self._open != "style":
            self.text += data
            if self._in_cell:
                self.rows[-1][-1] += f" {data.strip()}"

    def row(self, label: str) -> list[str]:
        return next([" ".join(cell.split()) for cell in row] for row in self.rows if row and label in row[0])


def built(run: Run) -> tuple[str, Page]:
    path = build(run)
    assert path == run.path("report.html")
    html = path.read_text(encoding="utf-8")
    return html, Page(html)


def test_table_headline_and_order(run: Run) -> None:
    _, page = built(run)
    base, rlsp = page.row("The base model"), page.row("The rlsp model")
    assert base[1:3] == ["25.0% 0.0–50.0", "–"]
    assert rlsp[1] == "75.0% 50.0–100.0"
    assert rlsp[2].startswith("+50.0 ") and "†" not in rlsp[2]
    labels = [row[0].strip() for row in page.rows if row and "model" in row[0]]
    assert labels[:2] == ["The base model", "The rlsp model"]
    assert "The rlsp model solves 75.0% (95% interval 50.0–100.0) of 4 held-out problems" in page.text
    assert "0.75 checks (before: 0.50) and 0.25 backtracks (before: 0.00)" in page.text


def test_hostile_text_is_never_markup(run: Run) -> None:
    html, page = built(run)
    assert HOSTILE not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "Search &amp; &#34;learn&#34; &lt;b&gt;" in html
    assert not any("alert(1)" in script for script in page.scripts)


def test_hostile_labels_stay_inside_their_script(run: Run) -> None:
    add_evaluation(run, "other", PROBLEMS, [RIGHT] * 4, label=f"</script>{HOSTILE}")
    html, page = built(run)
    assert HOSTILE not in html
    assert "</script><script>alert" not in html
    figures = [json.loads(script) for script in page.scripts if script.startswith("{")]
    names = {trace["name"] for figure in figures for trace in figure["data"] if "name" in trace}
    assert any("alert(1)" in name for name in names)
    assert not any("<" in name for name in names), "plotly reads labels as markup, so they must come escaped"


def test_page_is_self_contained_and_locked(run: Run) -> None:
    html, page = built(run)
    addresses = [
        value or "" for _, attributes in page.tags for key, value in attributes.items() if key in ("src", "href")
    ]
    assert addresses and all(address.startswith(("#", "data:")) for address in addresses)
    policy = next(a["content"] for _, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert (
        policy and "default-src 'none'" in policy and "unsafe-inline" not in policy.split("script-src")[1].split(";")[0]
    )
    assert policy.count("sha256-") == 3
    assert len(html.encode()) < 6_000_000


def test_page_is_accessible(run: Run) -> None:
    _, page = built(run)
    names = [tag for tag, _ in page.tags]
    assert names.count("h1") == 1
    headings = [int(name[1]) for name in names if re.fullmatch(r"h[1-6]", name)]
    assert all(after - before <= 1 for before, after in pairwise(headings))
    assert names.count("caption") == names.count("table") == 3
    assert all("scope" in attributes for tag, attributes in page.tags if tag == "th")
    pictures = [attributes for _, attributes in page.tags if attributes.get("role") == "img"]
    assert pictures and all(attributes["aria-label"] for attributes in pictures)
    identities = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(identities) == len(set(identities))
    assert {a["href"] for t, a in page.tags if t == "a"} <= {f"#{identity}" for identity in identities}


def test_every_chart_has_its_figure(run: Run) -> None:
    _, page = built(run)
    figures = {a["id"] for tag, a in page.tags if tag == "script" and a.get("type") == "application/json"}
    assert figures == {a["data-figure"] for _, a in page.tags if "data-figure" in a}
    assert {"accuracy-by-stage", "accuracy-by-level", "rl-accuracy", "rl-length", "rl-kl", "sft-loss"} <= figures
    assert "rl-entropy" not in figures, "a metric that was not logged has no chart"


def test_lines_are_marked_by_executing_them() -> None:
    text = f"{RIGHT}\n3 * 7 = 21, 21 + 12 = 33; is it 33? no\n3 + 7 = 11, 11 + 12 = 23\n{HOSTILE}"
    lines = mark(PROBLEMS[0], Rollout("p", 0, (1,), (2, 3), (-1.0, -1.0), text, Finish.EOS, 1.0, 0))
    assert lines is not None
    tags = [set(line.tags) for line in lines]
    assert tags[0] == {"✗ other numbers", "check: honest", "given up"}, "13 is none of the numbers"
    assert tags[1] == {"✓ hits", "backtrack", "check: honest"}
    assert tags[2] == {"✓ hits", "repeat", "check: false", "given up", "✗ right line rejected"}
    assert tags[3] == {"✗ false arithmetic", "backtrack", "alternative"}
    assert {"✗ unreadable", "answer"} <= tags[4]
    assert [line.kind for line in lines] == ["given-up", "right", "harm", "harm", "harm"]
    assert (lines[0].steps, lines[0].check) == ("3 * 7 = 21, 21 + 13 = 34", "; is it 33? no")
    assert set().union(*tags) <= set(MEANINGS)
    cut = mark(PROBLEMS[0], Rollout("p", 0, (1,), (2, 3), (-1.0, -1.0), "3 * 7 = 21, 21 +", Finish.LENGTH, 1.0, 0))
    assert cut is not None and [(line.tags, line.kind) for line in cut] == [(("cut off",), "plain")]


def test_marks_stand_as_text_in_the_page(run: Run) -> None:
    html, _ = built(run)
    for tag in ("✓ hits", "backtrack", "check: honest", "✗ right line rejected", "✗ false arithmetic", "✗ unreadable"):
        assert html.count(f">{tag}</span>") >= 2, f"{tag}: once in the legend, once at a line"


def test_hidden_characters_become_visible() -> None:
    assert visible("a\x00b\u202ec\r\n\td") == "a␀b\ufffdc␍\n\td"
    assert visible("x" * 20_000).endswith("… 8,000 more characters")


def test_examples_show_failures_too(run: Run) -> None:
    html, _ = built(run)
    assert html.count('<article class="example"') == 4
    assert "3 went from wrong to right, 1 from right to wrong, 0 stayed wrong" in html
    for change in ("wrong → right", "right → wrong"):
        assert change in html


def test_examples_are_bounded_and_prefer_gains(tmp_path: Path) -> None:
    run = create(tmp_path / "many", minimal_recipe())
    problems = [Problem(f"p{i}", "countdown", PROBLEMS[0].question, "33", 1 + i % 2) for i in range(60)]
    write_records(run.path("problems", "test.jsonl"), problems)
    before = add_evaluation(run, "base", problems, [RIGHT if i % 3 == 0 else WRONG for i in range(60)])
    after = add_evaluation(run, "rlsp", problems, [RIGHT if i % 4 else WRONG for i in range(60)])
    evaluations = [Summary(**{**each, "by_level": {}}) for each in (before, after)]
    examples = choose(run, evaluations)
    assert examples is not None
    changes = [example.change for example in examples.examples]
    assert changes == ["wrong → right"] * 4 + ["wrong → wrong"] * 2 + ["right → wrong", "right → right"]
    assert len(changes) == sum(QUOTAS.values())
    assert [example.problem.level for example in examples.examples[:4]] == [2, 1, 2, 1]


def test_missing_parts_are_left_out(tmp_path: Path) -> None:
    run = create(tmp_path / "empty", minimal_recipe())
    html, page = built(run)
    assert "This run has no evaluation yet." in page.text
    assert len(page.scripts) == 1 and "<section" not in html and len(html) < 100_000


@pytest.mark.parametrize(
    "drop", ["rl", "sft", "problems", "evaluation/base.json", "evaluation/base.scores.jsonl.zst", "evaluation"]
)
def test_any_part_may_be_missing(run: Run, drop: str) -> None:
    path = run.path(drop)
    for file in sorted(path.rglob("*"), reverse=True) if path.is_dir() else [path]:
        file.unlink()
    built(run)


def test_base_alone_and_unpaired_votes(tmp_path: Path) -> None:
    run = create(tmp_path / "base", minimal_recipe())
    write_records(run.path("problems", "test.jsonl"), PROBLEMS)
    add_evaluation(run, "base", PROBLEMS, [RIGHT, WRONG, WRONG, WRONG])
    _, page = built(run)
    assert "The base model solves 25.0%" in page.text and "Of 4 problems, The base model solved 1" in page.text
    add_evaluation(run, "self-consistency", PROBLEMS, [RIGHT, WRONG, WRONG, WRONG], votes=5)
    run.path("evaluation", "self-consistency.scores.jsonl.zst").unlink()
    _, page = built(run)
    assert page.row("self-consistency")[2].endswith("†")


def test_a_task_that_cannot_be_replayed(tmp_path: Path) -> None:
    source = tmp_path / "problems.jsonl"
    source.touch()
    run = create(tmp_path / "file", minimal_recipe(task={"name": "data", "data": str(source)}))
    problems = [Problem(f"p{i}", "math", "What is <b>2 + 2</b>?", "4") for i in range(3)]
    write_records(run.path("problems", "test.jsonl"), problems)
    add_evaluation(run, "base", problems, [HOSTILE, "", "word " * 400], behaviours={}, by_level={})
    html, page = built(run)
    assert page.row("The base model")[5:] == ["–"] * 9
    assert HOSTILE not in html and "&lt;b&gt;2 + 2&lt;/b&gt;" in html and "(empty response)" in html
    assert "What the marks mean" not in html


def test_no_run_directory_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no run directory"):
        build(Run(tmp_path))


def evaluation(name: str, solved: int, problems: int) -> Summary:
    """With the Wilson interval, written as the roots of (p − π)² = z²π(1 − π)/n."""
    p, squared = solved / problems, 1.959964**2 / problems
    root = sqrt((2 * p + squared) ** 2 - 4 * (1 + squared) * p**2)
    low, high = ((2 * p + squared + sign * root) / (2 * (1 + squared)) for sign in (-1, 1))
    return Summary(name, name, problems, p, (low, high), 10.0, 0.0, None, {}, {})


def test_difference_by_hand() -> None:
    """Newcombe's own example: 56/70 against 48/80 is 0.2 (0.0524 to 0.3339)."""
    base, other = evaluation(BASE, 48, 80), evaluation("rlsp", 56, 70)
    independent = difference(base, other, 0.0, paired=False)
    assert independent.value == pytest.approx(0.2)
    assert independent.interval == pytest.approx((0.0524, 0.3339), abs=5e-5)
    assert independent.clear
    paired = difference(base, other, 0.5, paired=True)
    assert independent.interval[0] < paired.interval[0] and paired.interval[1] < independent.interval[1]


def test_training_numbers_and_reward_parts(run: Run) -> None:
    training = rl_training(run, run.recipe())
    assert training is not None
    assert training.table.steps == [1, 2, 3, 4, 5, 6]
    rows = dict(training.table.rows)
    assert rows["accuracy"] == ["0.1", "0.2", "0.3", "0.4", "0.5", "0.6"]
    assert rows["length, right answers"] == ["–", "–", "30", "30", "30", "30"]
    reward = next(chart for chart in training.main if chart.identity == "rl-reward")
    traces = {trace["name"]: trace["y"] for trace in json.loads(reward.figure)["data"]}
    assert traces["0.8 × accuracy"] == pytest.approx([0.08, 0.16, 0.24, 0.32, 0.4, 0.48])
    assert traces["0.2 × exploration"] == pytest.approx([-0.1] * 6)


def test_long_training_is_smoothed(run: Run) -> None:
    add_metrics(run, steps=60)
    training = rl_training(run, run.recipe())
    assert training is not None and training.window == 5 and len(training.table.steps) == 7


def test_recipe_reads_back(run: Run) -> None:
    recipe = run.recipe()
    assert Recipe.model_validate(tomllib.loads(to_toml(recipe))) == recipe


def test_the_page_says_what_its_models_are(run: Run) -> None:
    assert ExplorationRecipe.model_fields.keys() == glossary.PARTS.keys()
    html, _ = built(run)
    told = {name: meaning for name, _, meaning in glossary.models(run.recipe(), read_evaluations(run))}
    assert set(told) <= {"base", "self-consistency", "sft", "rlsp"} and "base" in told
    for meaning in told.values():
        assert str(escape(meaning)) in html
    paid = minimal_recipe(exploration="length")
    assert "0.8 × (1 if the answer is right, else 0) + 0.2 × exploration" in glossary.reward(paid)
    unpaid = minimal_recipe(exploration="none", reward={"alpha": 1.0, "truncation": "keep"})
    assert "nothing is paid for exploration" in glossary.reward(unpaid)


def test_curves_say_where_they_begin_and_end(run: Run) -> None:
    found = rl_training(run, run.recipe())
    assert found is not None
    accuracy = next(chart for chart in found.main if chart.identity == "rl-accuracy")
    values = [each["accuracy"] for each in read_metrics(run.path("rl", "metrics.jsonl"))]
    assert f"from {values[0]:.1%} to {values[-1]:.1%}" in accuracy.trend
    cost = next(chart for chart in found.main if chart.identity == "rl-cost")
    assert "tokens for each right answer from" in cost.trend


def test_report_needs_neither_torch_nor_rl() -> None:
    code = (
        "import sys, rlsp.report; print('torch' in sys.modules or any(m.startswith('rlsp.rl.') for m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_every_part_of_the_exploration_reward_is_drawn_in_a_style_told_without_its_colour(tmp_path: Path) -> None:
    names = list(ExplorationRecipe.model_fields)
    given = {
        "length": {},
        "l1": {"weight": 0.0, "minimum": 20, "maximum": 20},
        "overlong": {"weight": 0.0, "buffer": 20},
    }
    every = Recipe.model_validate(
        load(Recipe, "nano", []).model_dump()
        | {"exploration": {name: given.get(name, {"weight": 0.0}) for name in names}}
    )
    run = create(tmp_path / "run", every)
    JsonLines(run.path("rl", "metrics.jsonl")).write({"step": 1} | {f"exploration/{name}": 0.1 for name in names})
    training = rl_training(run, every)
    assert training is not None
    chart = next(each for each in training.main if each.identity == "rl-exploration")
    assert [key.label for key in chart.keys] == names
    assert len(names) == 15
    assert len({(key.style.dash, key.symbol and key.style.symbol) for key in chart.keys}) == 15
    assert len({(key.style.dash, key.style.colour) for key in chart.keys}) == 15
    modes = [trace["mode"] for trace in json.loads(chart.figure)["data"]]
    assert modes == ["lines+markers" if key.symbol else "lines" for key in chart.keys]

"""Puts the page together: data in, one HTML text out."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from rlsp.config import to_toml
from rlsp.evaluation.evaluate import Summary
from rlsp.report import explorer, glossary, reasoning, wording
from rlsp.report.alarms import none_raised, read_alarms
from rlsp.report.evaluations import BASE, Difference, compare, read_evaluations
from rlsp.report.examples import choose
from rlsp.report.explorer import Explorer
from rlsp.report.figures import Chart, accuracy_against_tokens, accuracy_by_stage, by_level, styles
from rlsp.report.traces import MEANINGS
from rlsp.report.training import rl_training, sft_chart
from rlsp.runs import Run

FOLDER = Path(__file__).parent
AFTER = ("rlsp", "sft")
"""What the headline compares with the base: the first of these that the run holds."""

SHAPES = {
    "circle": Markup('<circle r="5" stroke="none"/>'),
    "diamond": Markup('<path d="M0-6 6 0 0 6-6 0z" stroke="none"/>'),
    "square": Markup('<path d="M-4.5-4.5h9v9h-9z" stroke="none"/>'),
    "triangle-up": Markup('<path d="M0-5 5.5 5h-11z" stroke="none"/>'),
    "cross": Markup('<path d="M-5 0h10M0-5v10" stroke-width="3"/>'),
    "x": Markup('<path d="M-4-4 4 4M-4 4 4-4" stroke-width="3"/>'),
}
"""Plotly's symbols as SVG."""

BEHAVIOURS = {
    "attempts": "Attempts",
    "true_share": "True lines",
    "checks": "Checks",
    "honest_share": "Honest checks",
    "backtracks": "Back\u00adtracks",
    "alternatives": "Alter\u00adnatives",
    "repeats": "Repeats",
    "right_rejected": "Right rejected",
    "wrong_accepted": "Wrong accepted",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One evaluation in the table. `difference` is None for the base, and without one."""

    evaluation: Summary
    difference: Difference | None


def render(run: Run, live: str = "") -> str:
    """The page's HTML. `live`: the version of a page that a server watches over; none for a file.

    Raises:
        InputError: a directory that is no run, or a broken file in it.
    """
    manifest, recipe = run.manifest(), run.recipe()
    rows = _rows(run)
    evaluations = [row.evaluation for row in rows]
    last = _last(rows)
    base = next((each for each in evaluations if each.name == BASE), None)
    with_levels = [each for each in evaluations if any(each.by_level)]
    look = styles([each.name for each in evaluations])
    result_charts = [accuracy_by_stage(evaluations)] if evaluations else []
    if len(evaluations) > 1:
        result_charts.append(accuracy_against_tokens([(each.label, each, look[each.name]) for each in evaluations]))
    if with_levels:
        told = glossary.levels(recipe.task)
        result_charts += [by_level(with_levels, tokens, told) for tokens in (False, True)]
    training, sft, reasons = (
        rl_training(run, recipe),
        sft_chart(run),
        reasoning.read(run, [each.name for each in evaluations]),
    )
    charts = [*result_charts, *(training.main + training.health if training else []), *([sft] if sft else [])]
    charts += reasons.charts if reasons else []
    return page(
        "run.html.jinja",
        charts,
        explorer.of_run(run, evaluations),
        live,
        name=run.name,
        recipe=recipe,
        recipe_toml=to_toml(recipe),
        manifest=manifest,
        headline=wording.headline(base, last.evaluation if last else None, last.difference if last else None),
        part_of_rl=_part_of_rl(run, evaluations),
        models=glossary.models(recipe, evaluations),
        base=base,
        last=last,
        rows=rows,
        with_levels=with_levels,
        levels=sorted({level for each in with_levels for level in each.by_level}),
        behaviours=BEHAVIOURS,
        result_charts=result_charts,
        training=training,
        alarms=read_alarms(run),
        none_raised=none_raised,
        sft=sft,
        reasons=reasons,
        samples=choose(run, evaluations),
        meanings=MEANINGS,
        look=look,
        words=wording,
    )


def page(template: str, charts: Sequence[Chart], responses: Explorer | None, live: str = "", **values: Any) -> str:
    """The HTML of a page of this layout: with plotly.js where there are charts, with the explorer where there are
    responses, and asking its own server for newer versions where it has one."""
    plotly = Markup(get_plotlyjs()) if charts else Markup("")
    script, explorer_script, live_script = (
        Markup((FOLDER / name).read_text(encoding="utf-8")) for name in ("page.js", "explorer.js", "live.js")
    )
    return (
        _environment()
        .get_template(template)
        .render(
            charts=charts,
            explorer=responses,
            all_behaviours=[str(behaviour) for behaviour in explorer.BEHAVIOURS],
            explorer_script=explorer_script,
            shapes=SHAPES,
            plotly=plotly,
            script=script,
            live=live,
            live_script=live_script,
            policy=_content_security_policy(bool(live), plotly, script, explorer_script, live_script if live else ""),
            **values,
        )
    )


def _rows(run: Run) -> list[Row]:
    evaluations = read_evaluations(run)
    base = next((each for each in evaluations if each.name == BASE), None)
    return [Row(each, compare(run, base, each) if base and each is not base else None) for each in evaluations]


def _part_of_rl(run: Run, evaluations: Sequence[Summary]) -> str:
    """What RL added to SFT; "" for a run that lacks one of them."""
    by_name = {each.name: each for each in evaluations}
    if not {"sft", "rlsp"} <= by_name.keys():
        return ""
    change = wording.part_of_rl(compare(run, by_name["sft"], by_name["rlsp"]))
    return f"{change} Besides: {glossary.part_of_rl(by_name['sft'], by_name['rlsp'])}"


def _last(rows: list[Row]) -> Row | None:
    """The stage that the headline is about."""
    by_name = {row.evaluation.name: row for row in rows}
    return next((by_name[name] for name in (*AFTER, *by_name) if name in by_name), None)


def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _content_security_policy(live: bool, *scripts: str) -> str:
    """No request of any kind (but for a live page's to its own server), and no script but ours: a second wall behind
    the escaping of model text."""
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"
        for script in scripts
        if script
    )
    allowed, connect = hashes or "'none'", "; connect-src 'self'" if live else ""
    return f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; img-src data:{connect}"

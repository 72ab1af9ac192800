"""Plotly figures that read on light and dark paper: no background, mid-tone colours, and a dash or a symbol beside
every colour. Text and grid take their colour from the page's style sheet, and the key stands in the page too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import Any

import plotly.graph_objects as go
from markupsafe import Markup

from rlsp.evaluation.benchmark import Estimate
from rlsp.evaluation.evaluate import Summary
from rlsp.report import wording

GREY, PURPLE, ORANGE, BLUE, GREEN, RED = "#7f8791", "#9168d2", "#cb7017", "#2a84d2", "#2b9565", "#d9534f"
HEIGHT = 240
DASHES = {"solid": "", "dot": "2 3", "dash": "7 4", "dashdot": "7 3 2 3", "longdash": "10 4", "longdashdot": "10 3 2 3"}
"""Plotly's dashes as SVG writes them, for the key."""


@dataclass(frozen=True, slots=True)
class Style:
    """`marked`: a line has the symbol on it, as its dash is another line's, too."""

    colour: str
    dash: str
    symbol: str
    marked: bool = False

    @property
    def dasharray(self) -> str:
        return DASHES[self.dash]


STAGE_STYLES = {
    "base": Style(GREY, "dot", "circle"),
    "self-consistency": Style(PURPLE, "dashdot", "diamond"),
    "sft": Style(ORANGE, "dash", "square"),
    "rlsp": Style(BLUE, "solid", "triangle-up"),
}
OTHER_STYLES = (Style(GREEN, "longdash", "cross"), Style(RED, "longdashdot", "x"))
PLAIN_LINES = (
    Style(BLUE, "solid", "circle"),
    Style(ORANGE, "dash", "square"),
    Style(GREY, "dot", "diamond"),
    Style(GREEN, "dashdot", "triangle-up"),
    Style(PURPLE, "longdash", "cross"),
    Style(RED, "longdashdot", "x"),
)
LINE_STYLES = PLAIN_LINES + tuple(
    Style(PLAIN_LINES[position - shift].colour, plain.dash, PLAIN_LINES[position - shift].symbol, marked=True)
    for shift in (1, 2)
    for position, plain in enumerate(PLAIN_LINES)
)
"""More lines than one chart has. Each is told without its colour: by its dash, and by the symbols on it or none."""
MARKS = 12
"""Symbols on a marked line, at most."""


@dataclass(frozen=True, slots=True)
class Series:
    """One line; `points` are drawn as markers, not joined by smoothing."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    style: Style
    points: bool = False


@dataclass(frozen=True, slots=True)
class Key:
    """One entry of a chart's key; `line` and `symbol` say what the chart draws."""

    label: str
    style: Style
    line: bool
    symbol: bool


@dataclass(frozen=True, slots=True)
class Chart:
    """A figure with its words. `description` stands in for the picture; `figure` is JSON, safe inside a script;
    `trend`: where its curves begin and end."""

    identity: str
    title: str
    caption: str
    description: str
    keys: Sequence[Key]
    figure: Markup
    height: int
    trend: str = ""


def styles(names: Sequence[str]) -> dict[str, Style]:
    """Each evaluation's style, the same on the whole page."""
    others = [name for name in names if name not in STAGE_STYLES]
    extra = {name: OTHER_STYLES[position % len(OTHER_STYLES)] for position, name in enumerate(others)}
    return {name: (STAGE_STYLES | extra)[name] for name in names}


def lines(
    identity: str,
    title: str,
    caption: str,
    series: Sequence[Series],
    window: int = 1,
    percent: bool = False,
    height: int = HEIGHT,
) -> Chart:
    """Curves over steps. With a `window` above 1 the steps are pale and their running mean stands out."""
    figure = _figure(height)
    for each in series:
        common: dict[str, Any] = {"x": list(each.x), "name": escape(each.label)}
        line = {"color": each.style.colour, "dash": each.style.dash, "width": 2.2}
        if each.points:
            marker = {"color": each.style.colour, "symbol": each.style.symbol, "size": 8}
            figure.add_scatter(**common, y=list(each.y), mode="lines+markers", line=line, marker=marker)
            continue
        if window > 1:
            pale = {"color": each.style.colour, "width": 1}
            figure.add_scatter(**common, y=list(each.y), mode="lines", line=pale, opacity=0.35, hoverinfo="skip")
        if each.style.marked:
            common["marker"] = {"symbol": each.style.symbol, "size": 8, "maxdisplayed": MARKS}
        mode = "lines+markers" if each.style.marked else "lines"
        figure.add_scatter(**common, y=smooth(each.y, window), mode=mode, line=line)
    figure.update_xaxes(title="step", tickformat=",d")
    figure.update_yaxes(hoverformat=".1%" if percent else ".4~g", exponentformat="power", separatethousands=True)
    if percent:
        figure.update_yaxes(tickformat=".0%")
    entries = [Key(each.label, each.style, True, each.points or each.style.marked) for each in series]
    keys = entries if len(series) > 1 else []
    trend = "; ".join(_trend(each, window, percent) for each in series)
    return replace(_chart(identity, title, caption, trend, keys, figure), trend=trend)


def accuracy_by_stage(evaluations: Sequence[Summary]) -> Chart:
    """One row an evaluation: accuracy with its interval, the base as a dotted line across."""
    figure = _figure(70 + 38 * len(evaluations))
    look = styles([each.name for each in evaluations])
    for each in evaluations:
        _points(figure, look[each.name], each.label, {escape(each.label): (each.accuracy, each.interval)}, across=True)
    if evaluations[0].name == "base":
        figure.add_vline(x=evaluations[0].accuracy, line={"color": GREY, "dash": "dot", "width": 1})
    figure.update_xaxes(tickformat=".0%", rangemode="tozero", showgrid=True)
    figure.update_yaxes(autorange="reversed", showgrid=False, type="category", tickfont={"size": 13})
    figure.update_layout(hovermode="closest")
    described = "; ".join(f"{each.label}: {each.accuracy:.1%}" for each in evaluations)
    caption = "Bars are 95% intervals; the dotted line is the base. Look for bars that clear it."
    return _chart("accuracy-by-stage", "Accuracy by stage", caption, described, [], figure)


def accuracy_against_tokens(entries: Sequence[tuple[str, Summary, Style]]) -> Chart:
    """One point an evaluation, (label, evaluation, style): what is spent and what it buys."""
    figure = _figure(300)
    for label, each, style in entries:
        _points(figure, style, label, {each.mean_tokens: (each.accuracy, each.interval)})
    figure.update_xaxes(title="tokens a problem", rangemode="tozero", tickformat="~g")
    figure.update_yaxes(tickformat=".0%", rangemode="tozero")
    figure.update_layout(hovermode="closest")
    described = "; ".join(
        f"{label}: {each.accuracy:.1%} at {each.mean_tokens:.0f} tokens" for label, each, _ in entries
    )
    caption = "Up is more problems solved, right is more tokens spent. Look for points above others at the same cost."
    keys = [Key(label, style, False, True) for label, _, style in entries]
    return _chart("accuracy-against-tokens", "Accuracy against tokens", caption, described, keys, figure)


def by_level(evaluations: Sequence[Summary], tokens: bool, told: str = "") -> Chart:
    """Accuracy with intervals, or tokens a problem, level by level, the evaluations side by side; `told`: what makes a
    level."""
    figure = _figure(280)
    look = styles([each.name for each in evaluations])
    levels = sorted({level for each in evaluations for level in each.by_level})
    for position, each in enumerate(evaluations):
        shift = 0.13 * (position - (len(evaluations) - 1) / 2)
        values = {
            levels.index(level) + shift: (result.mean_tokens, None) if tokens else (result.accuracy, result.interval)
            for level, result in each.by_level.items()
        }
        _points(figure, look[each.name], each.label, values, tokens=tokens)
    ticks = list(range(len(levels)))
    figure.update_xaxes(title="level", tickvals=ticks, ticktext=[str(level) for level in levels], zeroline=False)
    figure.update_xaxes(range=[-0.5, len(levels) - 0.5])
    figure.update_yaxes(tickformat="~g" if tokens else ".0%", rangemode="tozero")
    figure.update_layout(hovermode="closest")
    described = "the same numbers stand in the table by level below"
    keys = [Key(each.label, look[each.name], tokens, True) for each in evaluations]
    if tokens:
        caption = f"{told} Look for time spent where it is needed: more tokens where accuracy is low, not everywhere."
        return _chart("tokens-by-level", "Tokens a problem by level", caption, described, keys, figure)
    caption = f"{told} Bars are 95% intervals. Look for gains where the base is weak, and for losses where it is not."
    return _chart("accuracy-by-level", "Accuracy by level", caption, described, keys, figure)


def pass_at_k(curves: Sequence[tuple[str, str, Mapping[int, Estimate]]]) -> Chart:
    """pass@k with intervals, (evaluation's name, label, pass@k by k), k doubling from left to right."""
    figure = _figure(280)
    look = styles([name for name, *_ in curves])
    ks = sorted({k for *_, curve in curves for k in curve})
    for position, (name, label, curve) in enumerate(curves):
        shift = 0.08 * (position - (len(curves) - 1) / 2)
        values = {ks.index(k) + shift: (each.value, each.interval) for k, each in curve.items()}
        _points(figure, look[name], label, values, joined=True)
    figure.update_xaxes(title="k samples a problem", tickvals=list(range(len(ks))), ticktext=[str(k) for k in ks])
    figure.update_yaxes(tickformat=".0%", rangemode="tozero")
    figure.update_layout(hovermode="closest")
    described = "; ".join(
        f"{label}: " + ", ".join(f"{each.value:.1%} at {k}" for k, each in curve.items()) for _, label, curve in curves
    )
    keys = [Key(label, look[name], True, True) for name, label, _ in curves]
    caption = "Problems that at least one of k samples solves. Look whether the curves meet on the right."
    return _chart("pass-at-k", "Wider, or only sharper?", caption, described, keys, figure)


def heat(
    identity: str,
    title: str,
    caption: str,
    columns: Sequence[str],
    rows: Mapping[str, Sequence[float | None]],
    most: float,
) -> Chart:
    """A heat map from 0 to `most` with its numbers written into it, so that nobody needs the colours."""
    figure = _figure(60 + 56 * len(rows))
    figure.add_heatmap(
        x=list(columns),
        y=list(rows),
        z=[list(values) for values in rows.values()],
        zmin=0,
        zmax=most,
        colorscale=[[0, "rgba(42,132,210,0.05)"], [1, "rgba(42,132,210,0.6)"]],
        showscale=False,
        xgap=3,
        ygap=3,
        text=[["" if value is None else wording.count(value) for value in values] for values in rows.values()],
        hovertemplate="%{y}, %{x}: %{text}<extra></extra>",
        texttemplate="%{text}",
        hoverongaps=False,
        textfont={"size": 14},
    )
    figure.update_xaxes(side="top", type="category")
    figure.update_yaxes(autorange="reversed", showgrid=False, type="category", tickfont={"size": 13})
    figure.update_layout(hovermode="closest")
    described = "; ".join(
        f"{name}: "
        + ", ".join(f"{column} {value:,.0f}" for column, value in zip(columns, values, strict=True) if value)
        for name, values in rows.items()
    )
    return _chart(identity, title, caption, described, [], figure)


def smooth(values: Sequence[float], window: int) -> list[float]:
    """Centred running mean over `window` (odd) values, over fewer at the ends."""
    half = window // 2
    spans = [values[max(0, position - half) : position + half + 1] for position in range(len(values))]
    return [sum(span) / len(span) for span in spans]


def _points(
    figure: go.Figure,
    style: Style,
    label: str,
    values: Mapping[Any, tuple[float, tuple[float, float] | None]],
    across: bool = False,
    tokens: bool = False,
    joined: bool = False,
) -> None:
    places, heights = list(values), [value for value, _ in values.values()]
    error = None
    if all(interval for _, interval in values.values()):
        error = {
            "array": [interval[1] - value for value, interval in values.values() if interval],
            "arrayminus": [value - interval[0] for value, interval in values.values() if interval],
            "thickness": 2,
            "width": 4,
            "color": style.colour,
        }
    axes = {"x": heights, "y": places, "error_x": error} if across else {"x": places, "y": heights, "error_y": error}
    marker = {"color": style.colour, "symbol": style.symbol, "size": 10}
    value = "x" if across else "y"
    hover = f"{escape(label)}: %{{{value}:{',.1f' if tokens else '.1%'}}}<extra></extra>"
    line = {"color": style.colour, "dash": style.dash, "width": 1.2}
    figure.add_scatter(
        **axes,
        name=escape(label),
        mode="lines+markers" if tokens or joined else "markers",
        marker=marker,
        line=line,
        hovertemplate=hover,
    )


def _figure(height: int) -> go.Figure:
    figure = go.Figure()
    figure.update_layout(
        template="none",
        height=height,
        margin={"l": 8, "r": 12, "t": 8, "b": 8, "pad": 4},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": "system-ui, -apple-system, 'Segoe UI', Roboto, Arial, sans-serif", "size": 12, "color": GREY},
        showlegend=False,
        dragmode=False,
        hovermode="x unified",
        hoverlabel={"namelength": -1},
    )
    figure.update_xaxes(showgrid=False, zeroline=False, fixedrange=True, automargin=True, title={"standoff": 6})
    figure.update_yaxes(gridcolor=GREY, gridwidth=1, zerolinecolor=GREY, fixedrange=True, automargin=True, nticks=6)
    return figure


def _chart(identity: str, title: str, caption: str, description: str, keys: Sequence[Key], figure: go.Figure) -> Chart:
    content = Markup(figure.to_json().replace("<", "\\u003c"))
    return Chart(identity, title, caption, f"{title}: {description}.", keys, content, figure.layout.height)


def _trend(series: Series, window: int, percent: bool) -> str:
    means = list(series.y) if series.points else smooth(series.y, window)
    form = ".1%" if percent else ".3g"
    return f"{series.label} from {means[0]:{form}} to {means[-1]:{form}}"

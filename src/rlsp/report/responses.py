"""One page for responses that somebody made somewhere: how they reason, and all of them to be read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rlsp.analysis.analyze import Analysis, Read
from rlsp.evaluation.benchmark import Estimate
from rlsp.report import explorer, reasoning, wording
from rlsp.report.explorer import Response
from rlsp.report.page import page
from rlsp.types import Finish, Verdict


def render(models: Sequence[Read], analysis: Analysis) -> str:
    """The page's HTML.

    Args:
        models: the responses, in the analysis's order.
    """
    reasons = reasoning.of_analysis(analysis)
    unit = analysis.accounts[-1].ledger.unit
    return page(
        "responses.html.jinja",
        reasons.charts,
        explorer.pack([each for read in models for each in _responses(read, unit)], unit),
        name=models[-1].name,
        beside=[read.name for read in models[:-1]],
        headline=_headline(analysis),
        reasons=reasons,
    )


def _responses(read: Read, unit: str) -> Iterator[Response]:
    problems = {problem.id: problem for problem in read.answers.problems}
    for response, graded in zip(read.answers.responses, read.graded, strict=True):
        verdict = Verdict(graded.correct, graded.answer, graded.reason, graded.reference, graded.detail)
        length = graded.tokens if unit == "tokens" else len(response.text)
        cut = None if response.finish is None else response.finish is Finish.LENGTH
        yield Response(
            problems[response.problem_id], read.name, response.sample, verdict, length or 0, cut, response.text
        )


def _headline(analysis: Analysis) -> str:
    told = []
    for each in analysis.accounts:
        row = each.figures.overall
        told.append(
            f"{each.name}: {_accuracy(row.accuracy)} right of {row.responses:,} responses to {row.problems:,} problems"
        )
    return f"{'; '.join(told)}."


def _accuracy(estimate: Estimate) -> str:
    ends = f" ({wording.percent_interval(estimate.interval)})" if estimate.interval else ""
    return f"{wording.percent(estimate.value)}{ends}"

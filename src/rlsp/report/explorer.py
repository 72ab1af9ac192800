"""The sample explorer's data: every response that the page holds, with its behaviours, packed for the browser.

The text was written by a model and is hostile: it travels as JSON in base64, is shown as text and never as markup, and
characters that could reorder or hide text become visible.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

from markupsafe import Markup
from tokenizers import Tokenizer

from rlsp.behaviours.detectors import spans
from rlsp.behaviours.spans import Behaviour
from rlsp.evaluation.evaluate import Summary
from rlsp.files import read_records
from rlsp.report import advantages
from rlsp.report.advantages import Passage
from rlsp.report.evaluations import read_scores
from rlsp.report.traces import MAX_CHARACTERS, visible
from rlsp.runs import Run
from rlsp.tasks import countdown
from rlsp.types import Problem, Rollout, Score, Verdict

MOST = 20_000
"""Responses on a page."""
SIDE_BY_SIDE = 12
"""Responses to one problem that are shown beside each other."""
BEHAVIOURS = tuple(Behaviour)
DERIVED = (countdown.NAME,)
"""Tasks whose answer is the derivation itself, which nobody wants to read in its canonical form."""


@dataclass(frozen=True, slots=True)
class Response:
    """`group` is what a reader calls where it comes from: a model, or a step of training. `length` is in the page's
    unit, `cut`: the budget ended it (None: unknown). `advantages` are of the update that it was part of."""

    problem: Problem
    group: str
    sample: int
    verdict: Verdict
    length: int
    cut: bool | None
    text: str
    advantages: Sequence[Passage] = ()


@dataclass(frozen=True, slots=True)
class Explorer:
    """What the template needs. `left_out`: responses that the page has no room for; `advantages`: whether some of them
    have any."""

    packed: Markup
    groups: list[str]
    levels: list[int]
    behaviours: list[str]
    shown: int
    left_out: int
    unit: str
    advantages: bool


def of_run(run: Run, evaluations: Sequence[Summary]) -> Explorer | None:
    """Everything that the run's models answered on held-out problems, then as many steps of its training as there is
    room for, the same distance apart; None when the run holds no responses."""
    responses = [response for each in evaluations for response in of_evaluation(run, each, each.label)]
    steps = run.step_files("rollouts")
    total = len(responses)
    if steps:
        training = {problem.id: problem for problem in _problems(run, "train", "reserve")}
        per_step = sum(1 for _ in read_records(steps[0], Rollout))
        total += per_step * len(steps)
        room = max(0, MOST - len(responses)) // max(1, per_step)
        tokenizer = advantages.tokenizer_of(run)
        for step in _spread(range(1, len(steps) + 1), room):
            responses += _of_step(run, step, training, tokenizer)
    return pack(responses, "tokens", total) if responses else None


def pack(responses: Sequence[Response], unit: str, total: int | None = None) -> Explorer:
    """At most MOST responses, of `total`: of each group the same number, or all that it has."""
    kept = _even(responses)
    problems = list({response.problem.id: response.problem for response in kept}.values())
    groups = list(dict.fromkeys(response.group for response in kept))
    reasons = list(dict.fromkeys(str(response.verdict.reason) for response in kept))
    place = {problem.id: number for number, problem in enumerate(problems)}
    marks = [_marks(response) for response in kept]
    found = {kind for each in marks for kind in each[2::3]}
    sizes = sorted(abs(value) for each in kept for _, value in each.advantages)
    data = {
        "problems": [
            {
                "id": visible(each.id),
                "question": visible(each.question),
                "answer": visible(each.answer),
                "level": each.level,
            }
            for each in problems
        ],
        "groups": groups,
        "reasons": reasons,
        "behaviours": [str(behaviour) for behaviour in BEHAVIOURS],
        "unit": unit,
        "most": SIDE_BY_SIDE,
        "large": round(100 * sizes[int(0.9 * len(sizes))]) if sizes else 0,
        "responses": {
            "problem": [place[each.problem.id] for each in kept],
            "group": [groups.index(each.group) for each in kept],
            "sample": [each.sample for each in kept],
            "correct": [int(each.verdict.correct) for each in kept],
            "reason": [reasons.index(str(each.verdict.reason)) for each in kept],
            "answer": ["" if each.problem.task in DERIVED else visible(each.verdict.answer)[:200] for each in kept],
            "length": [each.length for each in kept],
            "cut": [int(bool(each.cut)) for each in kept],
            "text": [visible(each.text) for each in kept],
            "marks": marks,
            "advantages": [_passages(each) for each in kept],
        },
    }
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    packed = base64.b64encode(gzip.compress(text.encode(), 6, mtime=0)).decode()
    return Explorer(
        Markup(packed),
        groups,
        sorted({problem.level for problem in problems} - {0}),
        [str(behaviour) for number, behaviour in enumerate(BEHAVIOURS) if number in found],
        len(kept),
        max(len(responses), total or 0) - len(kept),
        unit,
        bool(sizes),
    )


def _even(responses: Sequence[Response]) -> list[Response]:
    counts = Counter(response.group for response in responses)
    room, share = MOST, 0
    for left, count in zip(range(len(counts), 0, -1), sorted(counts.values()), strict=True):
        share = room // left
        room -= min(count, share)
    taken: Counter[str] = Counter()
    kept = []
    for response in responses:
        taken[response.group] += 1
        if taken[response.group] <= share or len(responses) <= MOST:
            kept.append(response)
    return kept


def _marks(response: Response) -> list[int]:
    """(start, end, behaviour) of each span, one after the other, in the UTF-16 units that a browser counts in."""
    places, marks = _units(response.text), []
    for span in spans(response.problem, response.text[:MAX_CHARACTERS]):
        marks += [places[span.start], places[span.end], BEHAVIOURS.index(span.behaviour)]
    return marks


def _passages(response: Response) -> list[int]:
    """(end, advantage in hundredths) of each passage, one after the other."""
    if not response.advantages:
        return []
    places, found = _units(response.text), list[int]()
    for end, value in response.advantages:
        found += [places[min(end, len(places) - 1)], round(100 * value)]
        if end >= len(places):
            break
    return found


def _units(text: str) -> Sequence[int]:
    """How many of a browser's UTF-16 units stand before each character that the page shows of the text, and before its
    end."""
    shown = visible(text[:MAX_CHARACTERS])
    if shown.isascii() or max(shown) <= "\uffff":
        return range(len(shown) + 1)
    return list(accumulate((1 + (each > "\uffff") for each in shown), initial=0))


def of_evaluation(run: Run, evaluation: Summary, group: str) -> Iterator[Response]:
    """What one model answered; nothing of a vote, and nothing where the run does not hold it."""
    path = run.path("evaluation", f"{evaluation.name}.rollouts.jsonl.zst")
    scores = read_scores(run, evaluation.name)
    if evaluation.votes is not None or not path.is_file() or not scores:
        return
    problems = {problem.id: problem for problem in _problems(run, "test")}
    yield from _joined(read_records(path, Rollout), scores, problems, group)


def _of_step(run: Run, step: int, problems: dict[str, Problem], tokenizer: Tokenizer | None) -> Iterator[Response]:
    files = [run.step_file(kind, step) for kind in ("rollouts", "scores")]
    if not all(path.is_file() for path in files):
        return
    rollouts, scores = list(read_records(files[0], Rollout)), list(read_records(files[1], Score))
    passages = advantages.of_step(run, step, rollouts, tokenizer) if tokenizer is not None else {}
    for each in _joined(rollouts, scores, problems, f"RL step {step}"):
        yield replace(each, advantages=passages.get((each.problem.id, each.sample), ()))


def _joined(
    rollouts: Iterable[Rollout], scores: Sequence[Score], problems: dict[str, Problem], group: str
) -> Iterator[Response]:
    verdicts = {(score.problem_id, score.sample): score.verdict for score in scores}
    for each in rollouts:
        problem, verdict = problems.get(each.problem_id), verdicts.get((each.problem_id, each.sample))
        if problem is not None and verdict is not None:
            yield Response(problem, group, each.sample, verdict, each.length, each.truncated, each.text)


def _problems(run: Run, *names: str) -> Iterator[Problem]:
    for name in names:
        path = run.path("problems", f"{name}.jsonl")
        if path.is_file():
            yield from read_records(path, Problem)


def _spread(steps: range, room: int) -> list[int]:
    """As many steps as there is room for, the first and the last among them."""
    if room >= len(steps):
        return list(steps)
    if room < 2:
        return list(steps[-1:]) * room
    return sorted({steps[round(place * (len(steps) - 1) / (room - 1))] for place in range(room)})

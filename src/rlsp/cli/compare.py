"""`rlsp compare`: two models on the same problems."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rlsp.cli.options import DeadlineOption, LenientOption, ProblemsOption, TrustOption, VerifierOption, judging
from rlsp.cli.progress import console
from rlsp.cli.terminal import say
from rlsp.cli.verdicts import print_comparison
from rlsp.evaluation import grading
from rlsp.evaluation.grading import Graded
from rlsp.verifiers.settings import STRICT

if TYPE_CHECKING:
    from rlsp.evaluation.paired import Comparison

FILE_HELP = "Verdicts, scores of a run, or responses, which are then graded."


def compare(
    first: Annotated[Path, typer.Argument(metavar="A", help=FILE_HELP)],
    second: Annotated[Path, typer.Argument(metavar="B", help=FILE_HELP)],
    published: Annotated[
        bool, typer.Option("--published", help="Only under the publisher's verdicts that the files hold.")
    ] = False,
    common: Annotated[bool, typer.Option("--common", help="Leave out problems that only one was asked.")] = False,
    problems: ProblemsOption = None,
    verifier: VerifierOption = None,
    lenient: LenientOption = False,
    deadline: DeadlineOption = STRICT.deadline_seconds,
    trust: TrustOption = False,
) -> None:
    """The paired difference in accuracy, and whether the data are enough to speak of one."""
    from rlsp.evaluation.paired import survival

    settings = judging(lenient, deadline, trust)
    mine, yours = (grading.read(path, problems, verifier, settings, published) for path in (first, second))
    if published:
        _compare("Under the published verdicts", mine, yours, first, second, common)
        return
    ours = _compare("Under rlsp's verdicts", mine, yours, first, second, common)
    if all(each.published_correct is not None for each in (*mine, *yours)):
        mine, yours = grading.under_publisher(mine, first), grading.under_publisher(yours, second)
        theirs = _compare("Under the published verdicts", mine, yours, first, second, common)
        strict = settings.extraction == "strict" and not any(map(grading.holds_verdicts, (first, second)))
        say(survival(theirs, ours, "strict: only marked answers count; see --lenient" if strict else ""))


def _compare(
    title: str, mine: Sequence[Graded], yours: Sequence[Graded], first: Path, second: Path, common: bool
) -> Comparison:
    """One comparison on the screen, its conclusion below."""
    from rlsp.evaluation.paired import by_level, compare, conclusion, pair

    before, after = pair(mine, yours, common)
    comparison = compare(before, after)
    names = (first.name, second.name) if first.name != second.name else (str(first), str(second))
    print_comparison(title, *names, comparison, by_level(before, after))
    say(conclusion(comparison, "A", "B"))
    console.print()
    return comparison

"""`rlsp score`: judge responses, anyone's, again if you like."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from rlsp import reward
from rlsp.cli.options import (
    DeadlineOption,
    LenientOption,
    OutFile,
    ProblemsOption,
    ReplaceOption,
    SetOption,
    TrustOption,
    VerifierOption,
    judging,
)
from rlsp.cli.progress import console
from rlsp.cli.terminal import say
from rlsp.cli.verdicts import print_agreement, print_reasons
from rlsp.config import Recipe, load
from rlsp.errors import InputError
from rlsp.evaluation.grading import grade
from rlsp.exploration import explorer_for
from rlsp.files import check_writable, read_records, write_records
from rlsp.rollouts import foreign
from rlsp.types import Problem, Rollout
from rlsp.verifiers.settings import STRICT, Settings


def score(
    responses: Annotated[Path, typer.Argument(metavar="ROLLOUTS", help="JSONL of responses, plain, .zst or .gz.")],
    out: OutFile,
    problems: ProblemsOption = None,
    verifier: VerifierOption = None,
    lenient: LenientOption = False,
    deadline: DeadlineOption = STRICT.deadline_seconds,
    trust: TrustOption = False,
    recipe: Annotated[
        str | None, typer.Option(help="Score rollouts of rlsp by this recipe's reward: exploration and total, too.")
    ] = None,
    settings: SetOption = None,
    overwrite: ReplaceOption = False,
) -> None:
    """The verdict on every response; docs/evaluation.md shows the schemas that are read."""
    check_writable(out, overwrite, (responses, problems))
    if recipe is not None:
        if verifier or lenient:
            raise InputError("--recipe judges as training does: leave out --verifier and --lenient")
        judge = judging(deadline=deadline, trusted_code=trust)
        _score_by_recipe(load(Recipe, recipe, settings or []), responses, problems, judge, out)
        return
    if settings:
        raise InputError("--set overrides a recipe's keys: give the recipe by --recipe")
    from rlsp.evaluation.benchmark import summarise

    answers = foreign.read(responses, problems, verifier)
    graded = grade(answers, judging(lenient, deadline, trust))
    write_records(out, graded)
    print_reasons(graded, summarise(graded))
    print_agreement(graded, out)
    console.print(f"verdicts: {out}", soft_wrap=True)


def _score_by_recipe(recipe: Recipe, rollouts: Path, problems: Path | None, judge: Settings, out: Path) -> None:
    """Verdict, exploration reward and total of every rollout, under the recipe's reward."""
    if problems is None:
        raise InputError("rollouts of rlsp lack their questions: give them by --problems FILE")
    asked, answered = list(read_records(problems, Problem)), list(read_records(rollouts, Rollout))
    if not answered:
        raise InputError(f"{rollouts}: no rollouts in it; give a file that rlsp sample has written")
    known = {problem.id for problem in asked}
    if strangers := [rollout.problem_id for rollout in answered if rollout.problem_id not in known]:
        raise InputError(
            f"{rollouts}: {len(strangers)} rollouts of problems that {problems} lacks: {strangers[0]!r:.80} …; "
            "give the problems that were asked"
        )
    times = Counter((rollout.problem_id, rollout.sample) for rollout in answered)
    for (name, number), count in times.most_common(1):
        if count > 1:
            raise InputError(f"{rollouts}: sample {number} of problem {name!r:.80} is there {count} times; keep one")
    for warning in reward.warnings(recipe):
        console.print(f"warning: {warning}", soft_wrap=True)
    scores = reward.score(asked, answered, explorer_for(recipe), recipe.reward, judge)
    write_records(out, scores)
    right = sum(each.verdict.correct for each in scores)
    console.print(f"{right} of {len(scores)} right, at α = {recipe.reward.alpha:g}")
    for name, values in reward.named_means(scores).items():
        console.print(f"  {name}: {values:.4g} on average")
    lost = Counter(f"{name}: {why}" for each in scores for name, why in each.exploration.missing.items())
    for reason, count in lost.most_common():
        say(f"  missing in {count} of {len(scores)}: {reason}")
    console.print(f"scores: {out}", soft_wrap=True)

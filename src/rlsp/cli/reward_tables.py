"""X-rays on the terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from shlex import quote

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from rlsp.cli.progress import console
from rlsp.cli.terminal import clean, clean_lines, say
from rlsp.config import Recipe
from rlsp.config.exploration import GROUPED
from rlsp.reward import parts, share
from rlsp.types import Score
from rlsp.xray.cast import SAYS, Cast
from rlsp.xray.explain import Explained, by_token, spans
from rlsp.xray.plan import Plan, Pull
from rlsp.xray.ranking import Ranking
from rlsp.xray.tokens import CHARACTERS_PER_TOKEN

BAR = 40
CELLS_PER_DOUBLING = 4
"""Pay is drawn in logarithms, the tax in the middle."""
CURVE = (0.25, 0.5, 0.75, 1.0, 1.3, 1.6, 2.0, 3.0, 4.0)
"""The mean lengths, as multiples of the present one, at which the pay is drawn."""
TOKENS_WIDTH = 72
STATUS = {"pass": ("PASS", "green"), "fail": ("FAIL", "bold red")}


def _table(*left: str) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for heading in left:
        table.add_column(heading)
    return table


def print_ranking(recipe: Recipe, cast: Cast, ranking: Ranking) -> None:
    """The cast from the best paid to the worst, then every invariant with both numbers."""
    say(f"{recipe.name} at α = {ranking.alpha:g}, on: {cast.problem.question}")
    if cast.estimated:
        say(f"no model in {recipe.model.path}: lengths are estimated at {CHARACTERS_PER_TOKEN} characters a token")
    names = list(recipe.exploration.parts)
    table = _table("character")
    for heading in ("tokens", "verdict", *names, "R_ex", "reward", "rank"):
        table.add_column(heading, justify="left" if heading == "verdict" else "right", no_wrap=True)
    totals = [score.total for score in ranking.scores.values()]
    for name, score in ranking.scores.items():
        values = score.exploration.parts
        place = "–" if score.total is None else str(1 + sum(each is not None and each > score.total for each in totals))
        table.add_row(
            str(name),
            f"{'~' if cast.estimated else ''}{cast.rollouts[name].length}",
            "right" if score.verdict.correct else str(score.verdict.reason),
            *(_number(values.get(each)) for each in names),
            _number(score.exploration.value),
            _number(score.total),
            place,
        )
    console.print(table)
    for finding in ranking.findings:
        if finding.status not in STATUS:
            continue
        word, style = STATUS[finding.status]
        console.print(Text.assemble((f"{word:<8}", style), str(finding)), soft_wrap=True)
    if absent := [finding.invariant.name for finding in ranking.findings if finding.status == "absent"]:
        say(f"not asked, as the task, its budget or reward.truncation has no such response: {'; '.join(absent)}")
    for why in ranking.missing:
        say(f"missing: {why}")
    if ranking.unknown:
        say(f"UNKNOWN {len(ranking.unknown)} invariants, as a paid part is missing: mend it and rank again")
    if recipe.reward.mix == "advantage":
        say("reward.mix = 'advantage' normalises each signal over a batch; these are the rewards before that")
    if ranking.failed:
        say("what these are:")
    sides = [name for each in ranking.failed for name in (*each.invariant.better, each.invariant.worse)]
    for name in dict.fromkeys(sides):
        say(f"  {name}: {SAYS[name]}")


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:+.4f}"


def print_score(recipe: Recipe, found: Explained) -> None:
    """Eq. 1, or the authors' code, with its numbers."""
    score, rollout = found.score, found.rollout
    say(f"problem: {found.problem.question}")
    say(f"verdict: {_verdict(score)}")
    say(f"length:  {rollout.length} tokens{', cut off by the budget' if rollout.truncated else ', EOS included'}")
    console.print(_paper_code(score) if recipe.reward.mode == "paper_code" else _eq1(recipe, score))
    if recipe.reward.mode == "paper_code" and (judge := recipe.exploration.paid.get("judge")):
        say(f"reward = α × (sum of the paper_code pieces) + (1 − α) × {judge.weight:g} × judge; an exception is 0")
    if score.exploration.value is not None and score.total is not None:
        unclamped = sum(parts(score.verdict, score.exploration.value, score.alpha))
        if not math.isclose(unclamped, score.total):
            say(f"{unclamped:+.4f} is clamped to ±{recipe.reward.clamp:g}")
    if recipe.reward.mix == "advantage":
        say("reward.mix = 'advantage': training normalises each signal over a batch; this is Eq. 1 before that")
    if rollout.truncated:
        say(f"reward.truncation = {recipe.reward.truncation!r}")
    for name, why in score.exploration.missing.items():
        say(f"{name} is missing: {why}")
    if not found.stored and (grouped := [name for name in GROUPED if name in recipe.exploration.parts]):
        say(f"{', '.join(grouped)}: scored alone, without siblings; in training it compares")


def _eq1(recipe: Recipe, score: Score) -> Table:
    table = _table("part")
    for heading in ("value", "weight", "× α or 1 − α", "earns"):
        table.add_column(heading, justify="right", no_wrap=True)
    alpha, values = score.alpha, score.exploration.parts
    right, _ = parts(score.verdict, 0.0, alpha)
    table.add_row("correctness", str(int(score.verdict.correct)), "", f"{alpha:g}", _number(right))
    for name, part in recipe.exploration.parts.items():
        value = values.get(name)
        earned = None if value is None else share(alpha, part.weight, value)
        table.add_row(name, _number(value), f"{part.weight:g}", f"{1 - alpha:.4g}", _number(earned))
    table.add_row("reward", "", "", "", _number(score.total))
    return table


def _paper_code(score: Score) -> Table:
    """The pieces as the authors' code adds them, metrics among them."""
    table = _table("piece")
    table.add_column("value", justify="right", no_wrap=True)
    for name, value in score.exploration.parts.items():
        table.add_row(name, _number(value))
    table.add_row("reward", _number(score.total))
    return table


def _verdict(score: Score) -> str:
    verdict = score.verdict
    told = f"answer {verdict.answer!r}" if verdict.answer else "no answer found"
    why = f"{verdict.reason}, {verdict.detail}" if verdict.detail else str(verdict.reason)
    return f"{'right' if verdict.correct else 'wrong'} ({why}), {told}"


def print_tokens(recipe: Recipe, found: Explained) -> None:
    """The response token by token, each line led by its first token's position; what a dense part punishes is
    underlined and red, what it pays is bold and green, and both are listed."""
    rewards, pieces = by_token(recipe, found), found.pieces
    line, start, width = Text(), 0, 0
    for position, (piece, reward) in enumerate(zip(pieces, rewards, strict=True)):
        shown = clean(piece.replace("\n", "↵"))
        if width + len(shown) > TOKENS_WIDTH or (position and pieces[position - 1].endswith("\n")):
            _print_line(start, line)
            line, start, width = Text(), position, 0
        line.append(shown, style="underline red" if reward < 0 else "bold green" if reward > 0 else "")
        width += len(shown)
    _print_line(start, line)
    _print_spans(rewards, "underlined: tokens that a dense part punishes; bold: that it pays")


def print_stored(recipe: Recipe, found: Explained) -> None:
    """A stored response whole, and the positions of what dense parts punish or pay: its tokenizer is not needed."""
    for row in clean_lines(found.rollout.text).split("\n"):
        say(f"  {row}")
    _print_spans(by_token(recipe, found), "tokens that a dense part punishes or pays, counted from 0")


def _print_spans(rewards: Sequence[float], heading: str) -> None:
    if stretches := spans(rewards):
        say(heading)
        for first, last, reward in stretches:
            say(f"  tokens {first}–{last}: {reward:+g} each")
    else:
        say("no paid part gives single tokens a reward: all of it falls due at the last one")


def _print_line(start: int, line: Text) -> None:
    console.print(Text.assemble((f"{start:>6}  ", "dim"), line), soft_wrap=True)


def print_pull(forces: Pull) -> None:
    """Pay and tax of one more token over lengths; the column of the tax is where both meet."""
    say(
        f"mean length {forces.length:g} tokens; one more token is paid {forces.pay(forces.length):.3e} and taxed "
        f"β·KL = {forces.beta:g} × {forces.kl:.3g} = {forces.tax:.3e}"
    )
    lengths = [length for each in CURVE if 1 <= (length := each * forces.length) <= forces.budget]
    if math.isinf(forces.equilibrium):
        say("no tax holds length: the reward pays for every token up to the budget")
        return
    for length in lengths:
        now = "  now" if length == forces.length else ""
        say(f"{length:8.0f} tokens  {_bar(forces.pay(length), forces.tax)}  {forces.pay(length):.2e}{now}")
    say(f"█ pay of one more token, {CELLS_PER_DOUBLING} cells a doubling; ┃ its tax; length grows while █ passes ┃")
    at = forces.equilibrium
    say(f"both meet at {at:.1f} tokens{f', beyond the budget of {forces.budget}' if at > forces.budget else ''}")


def _bar(pay: float, tax: float) -> str:
    middle = BAR // 2
    end = middle + CELLS_PER_DOUBLING * math.log2(pay / tax) if pay > 0 else 0
    return "".join("┃" if place == middle else "█" if place < end else " " for place in range(BAR + 1))


def print_plan(recipe: Recipe, forces: Pull, made: Plan, growth: float) -> None:
    """What to set, and that its ranking was checked."""
    if forces.equilibrium >= made.target:
        say("the recipe as it is pays for more than that already; this pays for just so much:")
    say(f"for {growth:+.0%}, at rest at {made.target:.1f} tokens:")
    for each in made.overrides:
        say(f"  --set {quote(each)}")
    if made.alpha != recipe.reward.alpha:
        say(
            f"α goes from {recipe.reward.alpha:g} to {made.alpha:g}: with the C that this growth needs, a smaller α "
            "ranks standard responses wrongly"
        )
    say(f"`rlsp reward rank` passes with it: {sum(each.status == 'pass' for each in made.ranking.findings)} invariants")
    say(
        "Left out: accuracy's own pull on length, either way; that KL changes as the policy moves; how far a run gets "
        "towards the equilibrium in its steps."
    )

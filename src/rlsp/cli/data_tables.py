"""What is in your data, on the terminal. Data are not to be trusted: control characters are not printed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from rlsp.cli.progress import console
from rlsp.cli.terminal import clean, clean_lines, head, tail
from rlsp.tasks.data import Item
from rlsp.tasks.filters import Dropped
from rlsp.types import Problem

WIDTH = min(console.width, 80)
LONGEST_PROMPT = 600
"""A longer prompt is cut when it is shown, in characters."""

Rendered = tuple[str, int]
"""(a prompt as text, its length in tokens, or in words without a model)"""


def print_names(title: str, names: Mapping[str, str]) -> None:
    """A list of names with what they stand for."""
    console.print(Text(title, style="bold"))
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True, min_width=12)
    table.add_column()
    for name, what in names.items():
        table.add_row(f"  {name}", Text(what))
    console.print(table, width=WIDTH, highlight=False)
    console.print()


def print_prompts(problems: Sequence[Problem], render: Callable[[Problem], Rendered], how: str) -> None:
    """The first three prompts as the model would get them."""
    console.print(Text(f"Prompts ({how})", style="bold"))
    for problem in problems[:3]:
        shown = clean_lines(render(problem)[0])
        more = f" … ({len(shown) - LONGEST_PROMPT} more characters)" if len(shown) > LONGEST_PROMPT else ""
        level = f", level {problem.level}" if problem.level else ""
        console.print(Text(f"── {problem.id}{level} ".ljust(WIDTH, "─"), style="dim"))
        console.print(Text(shown[:LONGEST_PROMPT].rstrip("\n") + more), width=WIDTH)
    console.print(Text("─" * WIDTH + "\n", style="dim"))


def print_references(items: Sequence[Item]) -> None:
    """What was read as the answer beside what is written: the first three, the shortest and the longest."""
    with_answer = [item for item in items if item.problem.answer]
    if not with_answer:
        return
    by_length = sorted(with_answer, key=lambda item: len(item.problem.answer))
    table = Table(title="References", title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("", no_wrap=True)
    table.add_column("read as", overflow="fold", max_width=26)
    table.add_column("written as")
    for label, item in (
        *((f"{number}.", item) for number, item in enumerate(with_answer[:3], 1)),
        ("shortest", by_length[0]),
        ("longest", by_length[-1]),
    ):
        table.add_row(label, Text(head(item.problem.answer, 50)), Text(tail(item.reference, 76)))
    console.print(table, width=WIDTH)


def print_lengths(lengths: Sequence[int], unit: str) -> None:
    """Minimum, median, 95th percentile (nearest rank) and maximum."""
    if not lengths:
        return
    lengths = sorted(lengths)
    at = {share: lengths[-(-share * len(lengths) // 100) - 1] for share in (50, 95)}
    console.print(Text("Prompt length", style="bold"), end="")
    console.print(f"  {unit}: min {lengths[0]}, median {at[50]}, 95 % {at[95]}, max {lengths[-1]}\n", highlight=False)


def print_dropped(dropped: Sequence[Dropped], kept: int) -> None:
    """Counts by reason, each with its first example."""
    console.print(Text("Left out", style="bold"), end="")
    console.print(f"  {len(dropped)}, kept {kept}", highlight=False)
    if not dropped:
        return
    reasons: dict[str, list[Dropped]] = {}
    for each in dropped:
        reasons.setdefault(each.reason, []).append(each)
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("reason")
    table.add_column("count", justify="right")
    table.add_column("for example")
    for reason, examples in reasons.items():
        first = examples[0]
        example = Text(clean(first.name))
        if first.detail:
            example.append(f", {clean(first.detail)}")
        if first.question.strip():
            example.append(f"\n{head(first.question, 48)}", style="dim")
        table.add_row(reason, str(len(examples)), example)
    console.print(table, width=WIDTH, highlight=False)


def print_unread(unread: Sequence[tuple[Problem, str]]) -> None:
    """References that the math verifier does not understand: only an answer written just so matches them."""
    if not unread:
        return
    console.print(Text("\nMatched only letter by letter", style="bold"), end="")
    count = "1 reference that is" if len(unread) == 1 else f"{len(unread)} references that are"
    console.print(f"  {count} no mathematics to the verifier", highlight=False)
    for problem, obstacle in unread[:5]:
        console.print(Text(f"  {head(problem.answer, 40)}  ({head(obstacle, 60)})"), width=WIDTH)

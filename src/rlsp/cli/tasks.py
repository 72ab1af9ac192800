"""`rlsp tasks`: what can be asked, and what is in your data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.text import Text

from rlsp import tasks as sources
from rlsp.cli.data_tables import (
    WIDTH,
    Rendered,
    print_dropped,
    print_lengths,
    print_names,
    print_prompts,
    print_references,
    print_unread,
)
from rlsp.cli.options import OutFile, ReplaceOption
from rlsp.cli.progress import console
from rlsp.config import ColumnsRecipe, FilterRecipe, TaskRecipe
from rlsp.demonstrations.search import unroll
from rlsp.errors import InputError
from rlsp.files import check_writable, write_records
from rlsp.tasks.benchmarks import BENCHMARKS
from rlsp.tasks.data import COLUMNS, Item
from rlsp.tasks.filters import Dropped
from rlsp.tasks.readers import READERS
from rlsp.tasks.splits import Split
from rlsp.types import Problem
from rlsp.verifiers import math, verifier_for

app = typer.Typer(help="What can be asked, and what is in your data.", no_args_is_help=True)

DataArgument = Annotated[str, typer.Argument(metavar="DATA", help="A file, a benchmark, hub:… or gym:….")]
VerifierOption = Annotated[str, typer.Option(help="Judges the answers: math, exact, choice, code, module:function.")]
ColumnOption = Annotated[
    list[str] | None, typer.Option("--column", metavar="KEY=NAME", help=f"KEY is {', '.join(COLUMNS)}.")
]
AgainstOption = Annotated[
    list[str] | None, typer.Option("--against", metavar="DATA", help="A test set to keep away from; may be repeated.")
]
NgramOption = Annotated[int, typer.Option(min=1, help="Words in a row that make an overlap.")]
SolvedOption = Annotated[
    Path | None, typer.Option(metavar="VERDICTS", help="Leave out what these verdicts or scores say is solved.")
]
RateOption = Annotated[float, typer.Option(min=0.0, max=1.0, help="… from this solve rate on.")]
ModelOption = Annotated[
    str | None, typer.Option(help="Its chat template and tokens; without it, plain text and words.")
]
InstructionOption = Annotated[str, typer.Option(help="The user's turn, as model.instruction.")]
LongestOption = Annotated[int | None, typer.Option(min=1, help="Leave out longer prompts; needs --model.")]


@app.command("list")
def list_tasks() -> None:
    """What there is: generated tasks, benchmarks, readers of files."""
    generated = {
        name: f"{(module.__doc__ or '').partition(chr(10))[0]} Levels {', '.join(map(str, module.LEVELS))}."
        for name, module in sources.GENERATED.items()
    }
    benchmarks = {
        name: f"{each.about}; {', '.join(f'@{split} {count}' for split, count in each.splits.items())}; {each.hub}"
        for name, each in BENCHMARKS.items()
    }
    print_names("Generated tasks: task.name", generated)
    print_names("Benchmarks: task.data (the first split unless @ names another)", benchmarks)
    print_names(
        "Your data: task.data",
        {
            "a file": ", ".join(READERS),
            "hub:…": "hub:OWNER/NAME[/SUBSET][@SPLIT], a data set on the Hugging Face Hub",
            "gym:…": "gym:TASK, a reasoning-gym task",
        },
    )


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="A generated task.")],
    level: Annotated[int, typer.Option(min=1)] = 1,
    count: Annotated[int, typer.Option(min=1, help="How many problems.")] = 3,
    split: Annotated[Split, typer.Option()] = Split.TRAIN,
    seed: Annotated[int, typer.Option()] = 0,
    out: Annotated[Path | None, typer.Option(help="Write the problems as JSONL.")] = None,
    overwrite: ReplaceOption = False,
) -> None:
    """Problems of a generated task, each with a demonstration."""
    if name not in sources.GENERATED:
        raise InputError(
            f"no generated task {name!r}; there are {', '.join(sources.GENERATED)}; look at data by `rlsp tasks check`"
        )
    recipe = TaskRecipe.model_validate({"name": name, "levels": (level,)})
    problems = sources.problems(recipe, split, count, seed)
    if out is not None:
        check_writable(out, overwrite)
        write_records(out, problems)
        console.print(f"{len(problems)} problems: {out}", soft_wrap=True)
        return
    for problem in problems:
        console.print(f"[bold]{problem.question}[/bold]  ({problem.id})", highlight=False)
        console.print(unroll(problem, Random(seed), 0.5, 8) or "(no demonstration)", highlight=False)


@app.command()
def check(
    data: DataArgument,
    verifier: VerifierOption = "math",
    column: ColumnOption = None,
    against: AgainstOption = None,
    ngram: NgramOption = 13,
    solved: SolvedOption = None,
    solved_rate: RateOption = 1.0,
    model: ModelOption = None,
    instruction: InstructionOption = "{question}",
    max_prompt_tokens: LongestOption = None,
) -> None:
    """Look at data: three prompts, references as read and as written, lengths, what would be left out and why."""
    task = _task(data, verifier, column, against, ngram, solved, solved_rate)
    render = _renderer(model, instruction, max_prompt_tokens)
    items, kept, dropped = _survey(task)
    unread = _unreadable(kept)
    rows, rendered = len(kept) + len(dropped), [render(problem) for problem in kept]
    kept, too_long = _short_enough(kept, rendered, max_prompt_tokens)
    verifiers = ", ".join(sorted({item.problem.task for item in items}))
    title = f"{data}: {rows} rows, {len(items)} usable, verifier {verifiers or verifier}\n"
    console.print(Text(title, style="bold"), width=WIDTH)
    print_prompts(kept, render, f"in the chat template of {model}" if model else "plain text; --model DIR renders it")
    print_references(items)
    print_lengths([length for _, length in rendered], "words" if model is None else "tokens")
    print_dropped([*dropped, *too_long], len(kept))
    print_unread(unread)


@app.command("filter")
def filter_data(
    data: DataArgument,
    out: OutFile,
    verifier: VerifierOption = "math",
    column: ColumnOption = None,
    against: AgainstOption = None,
    ngram: NgramOption = 13,
    solved: SolvedOption = None,
    solved_rate: RateOption = 1.0,
    model: ModelOption = None,
    instruction: InstructionOption = "{question}",
    max_prompt_tokens: LongestOption = None,
    overwrite: ReplaceOption = False,
) -> None:
    """Write the problems that are usable, different, in no test set, not yet solved and short enough, as JSONL."""
    if not out.name.endswith((".jsonl", ".jsonl.zst", ".jsonl.gz")):
        raise InputError(f"--out {out}: problems are written as JSONL; end the name in .jsonl, .jsonl.zst or .jsonl.gz")
    check_writable(out, overwrite, (Path(data), solved))
    task = _task(data, verifier, column, against, ngram, solved, solved_rate)
    render = _renderer(model, instruction, max_prompt_tokens)
    _, kept, dropped = _survey(task)
    if max_prompt_tokens is not None:
        kept, too_long = _short_enough(kept, [render(problem) for problem in kept], max_prompt_tokens)
        dropped += too_long
    print_dropped(dropped, len(kept))
    if not kept:
        first = dropped[0]
        detail = f" ({first.detail:.200})" if first.detail else ""
        raise InputError(
            f"{data}: nothing is left to write: all {len(dropped)} rows are left out, the first for "
            f"{first.reason}{detail}; correct them, or filter less"
        )
    write_records(out, kept)
    console.print(f"{len(kept)} problems: {out}", soft_wrap=True)


def _task(
    data: str,
    verifier: str,
    column: list[str] | None,
    against: list[str] | None,
    ngram: int,
    solved: Path | None,
    solved_rate: float,
) -> TaskRecipe:
    """Raises InputError for columns that are no columns and a verifier that there is none of."""
    verifier_for(verifier)
    columns = {}
    for each in column or []:
        key, separator, name = each.partition("=")
        if key not in COLUMNS or not separator or not name:
            raise InputError(f"--column {each!r}: write it as KEY=NAME, with {', '.join(COLUMNS)} as KEY")
        columns[key] = name
    try:
        return TaskRecipe(
            name="data",
            data=data,
            verifier=verifier,
            columns=ColumnsRecipe(**columns),
            filters=FilterRecipe(
                deduplicate=True,
                decontaminate=tuple(against or ()),
                ngram=ngram,
                solved=str(solved or ""),
                solved_rate=solved_rate,
            ),
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(f"{'.'.join(map(str, first['loc'])) or 'DATA'}: {first['msg']}") from None


def _survey(task: TaskRecipe) -> tuple[list[Item], list[Problem], list[Dropped]]:
    """As `tasks.survey`. Raises InputError, too, when a problem names a verifier that there is none of."""
    surveyed = sources.survey(task)
    for name in sorted({item.problem.task for item in surveyed[0]}):
        verifier_for(name)
    return surveyed


def _renderer(model: str | None, instruction: str, max_prompt_tokens: int | None) -> Callable[[Problem], Rendered]:
    """Raises InputError when a length in tokens is asked for without a model that has any."""
    if "{question}" not in instruction:
        raise InputError("--instruction must contain {question}, or every prompt is the same")
    if model is None:
        if max_prompt_tokens is not None:
            raise InputError("--max-prompt-tokens counts a model's tokens: give --model DIR, too")

        def as_text(problem: Problem) -> Rendered:
            text = instruction.replace("{question}", problem.question)
            return text, len(text.split())

        return as_text
    from rlsp.models import load_tokenizer
    from rlsp.prompts import encode_prompt

    tokenizer = load_tokenizer(model)

    def as_prompt(problem: Problem) -> Rendered:
        ids = list(encode_prompt(tokenizer, problem, instruction).ids)
        return str(tokenizer.decode(ids, clean_up_tokenization_spaces=False)), len(ids)

    return as_prompt


def _unreadable(problems: list[Problem]) -> list[tuple[Problem, str]]:
    """The problems whose reference the math verifier can only match letter by letter, and why."""
    asked = [problem for problem in problems if problem.task == "math"]
    obstacles = math.unreadable([problem.answer for problem in asked])
    return [(problem, obstacle) for problem, obstacle in zip(asked, obstacles, strict=True) if obstacle]


def _short_enough(
    problems: list[Problem], rendered: list[Rendered], longest: int | None
) -> tuple[list[Problem], list[Dropped]]:
    """(the problems whose prompts are, the others)"""
    kept, dropped = [], []
    for problem, (_, length) in zip(problems, rendered, strict=True):
        if longest is not None and length > longest:
            dropped.append(Dropped(problem.id, problem.question, "prompt too long", f"{length} tokens"))
        else:
            kept.append(problem)
    return kept, dropped

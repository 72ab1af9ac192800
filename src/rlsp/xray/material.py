"""What the cast says: one problem of each task, solved, missed, searched, hedged. All of it is written here or unrolled
from the task's own search, so that right and wrong are known beforehand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count, islice
from random import Random

from rlsp import tasks
from rlsp.config import Recipe, TaskRecipe
from rlsp.demonstrations.search import SEARCHES, Steps
from rlsp.tasks import GENERATED
from rlsp.tasks.splits import Split
from rlsp.tasks.traces import write_line
from rlsp.types import Problem

Pieces = tuple[str, ...]
"""A text in pieces that stand on lines of their own."""

SEED = 0
MISSES = 2000
"""So many descents are looked through for different misses."""


@dataclass(frozen=True, slots=True)
class Material:
    """`right`, `wrong`: the shortest honest solution and a miss; `search`: an honest search's attempts, all misses, as
    many as there are; `found`, `missed`: how such a search ends; `loop`: one of its attempts. `hedges`: ends that
    commit to two answers, the wrong one first and the right one first. `answer_first`: `right` with its answer before
    its reasoning; `bare`: a wrong answer alone; both None where a response's last line is its answer.
    `siblings`: a right and a wrong response in other words."""

    problem: Problem
    right: Pieces
    wrong: Pieces
    search: Callable[[], Iterator[str]]
    found: Pieces
    missed: Pieces
    loop: str
    hedges: tuple[Pieces, Pieces]
    siblings: tuple[Pieces, Pieces]
    answer_first: Pieces | None = None
    bare: Pieces | None = None


class NoCast(Exception):
    """No standard cast can be made for the recipe; says why. It is no failure of the reward."""


def material_for(recipe: Recipe, verifier: str | None = None) -> Material:
    """What the cast for a recipe says. `verifier`: the one that the recipe's problems really name, where it is known.

    Raises:
        NoCast: what is right under the recipe's verifier can't be known beforehand.
    """
    if recipe.task.name in GENERATED:
        return _steps(recipe.task)
    verifier = "gym" if recipe.task.data.startswith("gym:") else verifier or recipe.task.verifier
    if verifier not in ("math", "math-verify", "exact", "choice"):
        raise NoCast(f"no response is known to be right under verifier {verifier!r}")
    return _apples(verifier, "####" in recipe.model.instruction)


def _steps(task: TaskRecipe) -> Material:
    """Of a task whose search writes steps that a machine can check, at the recipe's highest level."""
    hardest = task.model_copy(update={"levels": (max(task.levels),)})
    problem = tasks.problems(hardest, Split.TRAIN, 1, SEED)[0]
    search = SEARCHES[task.name]
    attempts = islice(search.descents(problem, Random(SEED), 1.0), 2)
    hits = [steps for steps in attempts if search.checked_line(problem, steps).endswith("yes")]
    missed, hedged, sibling, loop = islice(_misses(problem), 4)
    checked = search.checked_line(problem, hits[0])
    accepted = search.checked_line(problem, hedged).removesuffix("no") + "yes"
    return Material(
        problem=problem,
        right=(write_line(hits[0]),),
        wrong=(write_line(missed),),
        search=lambda: (search.checked_line(problem, steps) + "\n" for steps in islice(_misses(problem), 3, None)),
        found=(checked,),
        missed=(search.checked_line(problem, missed),),
        loop=search.checked_line(problem, loop) + "\n",
        hedges=((accepted + "\n", checked), (checked + "\n", accepted)),
        siblings=((search.checked_line(problem, hits[-1]),), (search.checked_line(problem, sibling),)),
    )


def _misses(problem: Problem) -> Iterator[Steps]:
    """Attempts that do not solve the problem, none twice; the first `MISSES` descents hold them."""
    search, seen = SEARCHES[problem.task], set[Steps]()
    for steps in islice(search.descents(problem, Random(SEED), 0.0), MISSES):
        if steps not in seen and search.checked_line(problem, steps).endswith("no"):
            seen.add(steps)
            yield steps


APPLES = "Tom has 3 bags of 4 apples each. He eats 2 apples and gives 1 apple to Ann. How many apples are left?"
OPTIONS = ("7", "4", "9", "12")


def _apples(verifier: str, after_hashes: bool) -> Material:
    """A word problem whose answer is 9, for verifiers of a marked answer."""
    choice = verifier == "choice"
    right, wrong = ("C", "B") if choice else ("9", "4")
    question = APPLES + (" " + " ".join(f"({letter}) {text}" for letter, text in zip("ABCD", OPTIONS, strict=True))) * (
        choice
    )
    problem = Problem(
        "xray/apples", verifier, question, right, 0, "built in", {"options": list(OPTIONS)} if choice else {}
    )
    reasoning = (
        "There are 3 * 4 = 12 apples in the bags at first.\n",
        "Tom eats 2 of them, so 12 - 2 = 10 apples are left.\n",
        "He gives 1 to Ann, so 10 - 1 = 9 apples are left.\n",
    )
    misread = (
        "There are 3 + 4 = 7 apples in the bags at first.\n",
        "Tom eats 2 of them, so 7 - 2 = 5 apples are left.\n",
        "He gives 1 to Ann, so 5 - 1 = 4 apples are left.\n",
    )

    def mark(answer: str) -> str:
        return f"#### {answer}\n" if after_hashes else f"The answer is \\boxed{{{answer}}}.\n"

    def either(first: str, second: str) -> str:
        if after_hashes:
            return f"#### {first} or {second}\n"
        return f"The answer is \\boxed{{{first}}} or \\boxed{{{second}}}.\n"

    return Material(
        problem=problem,
        right=(*reasoning, mark(right)),
        wrong=(*misread, mark(wrong)),
        search=_guesses,
        found=(*reasoning, mark(right)),
        missed=(*misread, mark(wrong)),
        loop=next(_guesses()),
        hedges=((either(wrong, right),), (either(right, wrong),)),
        siblings=(
            ("3 bags with 4 in each make 12; 2 + 1 = 3 of them go, and 12 - 3 = 9 stay.\n", mark(right)),
            ("Of 4 apples Tom eats 2 and hands over 1, which would be 4 - 2 - 1 = 1; but 1 + 3 = 4.\n", mark(wrong)),
        ),
        answer_first=(mark(right), *reasoning),
        bare=(mark(wrong),) if after_hashes else (f"\\boxed{{{wrong}}}",),
    )


def _guesses() -> Iterator[str]:
    """Other answers, each checked backwards and given up; no two are alike."""
    for left in count(10):
        yield (
            f"Suppose {left} were left: before Ann had hers there were {left + 1}, before Tom ate there were "
            f"{left + 3}, and {left + 3} is not what 3 bags of 4 hold, so {left} is given up.\n"
        )

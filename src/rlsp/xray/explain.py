"""One response under a recipe's reward: a text, or a stored rollout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, groupby
from pathlib import Path

from rlsp.config import Recipe
from rlsp.errors import InputError
from rlsp.exploration import explorer_for
from rlsp.files import read_records
from rlsp.reward import score
from rlsp.runs import Run
from rlsp.tasks import chain_sum, countdown
from rlsp.types import Finish, Problem, Rollout, Score
from rlsp.verifiers.settings import STRICT, Settings
from rlsp.xray.responses import response
from rlsp.xray.tokens import Tokens


@dataclass(frozen=True, slots=True)
class Explained:
    """A response with its score. `pieces` are the texts of its tokens where the tokens were made from a text just now;
    of a stored rollout the text alone is kept."""

    problem: Problem
    rollout: Rollout
    score: Score
    pieces: tuple[str, ...] = ()

    @property
    def stored(self) -> bool:
        """Whether it was scored in training, among its siblings."""
        return not self.pieces


def find_problem(
    recipe: Recipe, question: str | None, answer: str, problems: Path | None, identity: str | None
) -> Problem:
    """The problem that a response is explained on: from a file, or from its question.

    Raises:
        InputError: neither or both are given, the file lacks the problem, the question does not tell its answer, or
            `answer` or `identity` has nothing to say.
    """
    if (question is None) == (problems is None):
        raise InputError("give the question by --problem TEXT, or a file of problems by --problems FILE")
    if problems is not None:
        if answer:
            raise InputError(f"{problems} holds its answers: leave out --answer")
        for problem in read_records(problems, Problem):
            if identity in (None, problem.id):
                return problem
        raise InputError(f"{problems}: no problem {identity or 'in it'}; ids stand under `id`")
    assert question is not None
    if identity is not None:
        raise InputError("--id chooses among --problems FILE: leave it out beside --problem")
    if answer and recipe.task.name in (countdown.NAME, chain_sum.NAME):
        raise InputError(f"a question of {recipe.task.name} tells what is right: leave out --answer")
    if recipe.task.name == countdown.NAME:
        return countdown.problem(*countdown.read_question(question))
    if recipe.task.name == chain_sum.NAME:
        return chain_sum.problem(chain_sum.read_question(question))
    if not answer:
        raise InputError("what is right can't be told from this question: give its answer by --answer")
    return Problem("given", recipe.task.verifier, question, answer)


def read_response(text: str | None, file: Path | None) -> str:
    """Raises InputError when neither or both are given, or the file can't be read."""
    if (text is None) == (file is None):
        raise InputError("give what was answered by --response TEXT or --file FILE")
    if text is not None:
        return text
    assert file is not None
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{file}: can't be read as text: {error}; save it as UTF-8") from None
    except OSError as error:
        raise InputError(f"{file}: can't be read as text: {error.strerror}; give another file") from None


def score_text(recipe: Recipe, problem: Problem, text: str, tokens: Tokens, judging: Settings = STRICT) -> Explained:
    """The text as if the policy had written it and stopped; what exceeds the budget is cut off, with its EOS."""
    budget = recipe.sampling.max_response_tokens
    ids = (*tokens.encode(text), tokens.eos)
    cut = len(ids) > budget
    ids = ids[:budget]
    finish = Finish.LENGTH if cut else Finish.EOS
    rollout = response(problem, ids, tokens, finish, recipe.sampling.temperature, None if cut else text)
    [scored] = score([problem], [rollout], explorer_for(recipe), recipe.reward, judging)
    pieces = [tokens.decode([token]) for token in (ids if cut else ids[:-1])]
    return Explained(problem, rollout, scored, tuple(pieces if cut else [*pieces, "<EOS>"]))


def stored(run: Run, step: int | None, identity: str | None, sample: int) -> Explained:
    """A rollout of the run's RL with the score that it was trained on; by default the last step's first problem.

    Raises:
        InputError: the run has no such step, problem or sample.
    """
    name = f"{step:06d}.jsonl.zst" if step is not None else None
    files = [path for path in run.step_files("rollouts") if name in (None, path.name)]
    if not files:
        raise InputError(f"{run.directory}: no rollouts of step {'any' if step is None else step} in rl/rollouts")
    rollouts = list(read_records(files[-1], Rollout))
    if not rollouts:
        raise InputError(f"{files[-1]}: no rollouts in it; put it back from a copy, or choose another --step")
    wanted = identity or rollouts[0].problem_id
    for rollout in rollouts:
        if (rollout.problem_id, rollout.sample) == (wanted, sample):
            break
    else:
        raise InputError(f"{files[-1]}: no sample {sample} of problem {wanted!r}")
    scores = read_records(run.path("rl", "scores", files[-1].name), Score)
    scored = next((each for each in scores if (each.problem_id, each.sample) == (wanted, sample)), None)
    asked = [run.path("problems", name) for name in ("train.jsonl", "reserve.jsonl")]
    problems = chain.from_iterable(read_records(path, Problem) for path in asked if path.is_file())
    problem = next((each for each in problems if each.id == wanted), None)
    if scored is None or problem is None:
        raise InputError(f"{run.directory}: the score or the problem of {wanted!r} is missing; it was changed by hand")
    return Explained(problem, rollout, scored)


def by_token(recipe: Recipe, found: Explained) -> list[float]:
    """What dense parts give each token, weights included, α not."""
    paid = recipe.exploration.paid
    sums = [0.0] * found.rollout.length
    for name, rewards in found.score.exploration.tokens.items():
        if name in paid:
            sums = [total + paid[name].weight * each for total, each in zip(sums, rewards, strict=True)]
    return sums


def spans(rewards: Sequence[float]) -> list[tuple[int, int, float]]:
    """(first token, last token, reward a token) of each stretch of equal rewards that are not 0.

    >>> spans([0, -1, -1, 0, 2])
    [(1, 2, -1), (4, 4, 2)]
    """
    found = []
    for reward, group in groupby(enumerate(rewards), key=lambda each: each[1]):
        positions = [position for position, _ in group]
        if reward:
            found.append((positions[0], positions[-1], reward))
    return found

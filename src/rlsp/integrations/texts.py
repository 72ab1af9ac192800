"""Trainers that know texts alone: which problem a prompt asks, and what the response to it is, in tokens."""

from __future__ import annotations

import json
from collections.abc import Iterable
from hashlib import sha256
from threading import Lock
from typing import Any

from rlsp.config import Recipe
from rlsp.errors import InputError
from rlsp.integrations.scorer import Answered
from rlsp.prompts import user_text
from rlsp.tasks import GENERATED
from rlsp.types import Problem, from_json


class Texts:
    """Reads queries (a prompt and its response, decoded) as one recipe's policy writes them.

    Args:
        tokenizer: the policy's.
        problems: what may be asked, for trainers that send no label.
    """

    def __init__(self, recipe: Recipe, tokenizer: Any, problems: Iterable[Problem] = ()) -> None:
        self._recipe, self._tokenizer = recipe, tokenizer
        self.task = recipe.task.verifier if recipe.task.name == "data" else recipe.task.name
        self._budget = recipe.sampling.max_response_tokens
        self._tokenizing = Lock()
        self._known = {prompt: problem for problem in problems for prompt in self._prompts(problem)}

    def read(self, query: str, prompt: str, label: str | None) -> Answered:
        """The response within a query.

        Args:
            label: the problem as JSON, or its answer; None: the problem is one of those that may be asked.

        Raises:
            InputError: the prompt does not begin the query, or nobody knows the answer.
        """
        if not query.startswith(prompt):
            with self._tokenizing:
                ids = self._tokenizer(prompt, add_special_tokens=False).input_ids
                prompt, sent = self._tokenizer.decode(ids), prompt
            if query.startswith(prompt):  # decoding does not give back every text
                return self.answered(self._problem(sent, label), query.removeprefix(prompt))
            raise InputError(f"the query does not begin with its prompt: {query!r:.60}, {prompt!r:.60}")
        return self.answered(self._problem(prompt, label), query.removeprefix(prompt))

    def answered(self, problem: Problem, text: str, truncated: bool | None = None) -> Answered:
        """A response by its text.

        Args:
            truncated: None: where it fills the budget without an EOS.
        """
        stop = self._tokenizer.eos_token or ""
        ended = bool(stop) and text.endswith(stop)
        body = text.removesuffix(stop) if ended else text
        with self._tokenizing:
            ids = tuple(self._tokenizer(body, add_special_tokens=False).input_ids)
        if truncated is None:
            truncated = not ended and len(ids) >= self._budget
        if not truncated:
            ids = (*ids, self._tokenizer.eos_token_id)
        return Answered(problem, body, ids, truncated)

    def _problem(self, prompt: str, label: str | None) -> Problem:
        if label is None:
            found = self._known.get(prompt) or self._known.get(prompt.strip())
            if found is None:
                raise InputError(f"no problem asks {prompt!r:.80}: send its label, or give the problems by --problems")
            return found
        if label.lstrip().startswith("{"):
            try:
                values = json.loads(label)
            except ValueError as error:
                raise InputError(f"the label is no JSON: {error}") from None
            return self.allowed(from_json(Problem, values, "label"))
        return self.asked(prompt, label)

    def asked(self, question: str, answer: str) -> Problem:
        """A problem by its words. Raises InputError for a task whose problems are more than that."""
        if self.task in (*GENERATED, "code", "gym"):
            raise InputError(f"task {self.task!r} needs the whole problem, in JSON, got the answer {answer!r:.80}")
        return Problem(sha256(f"{self.task}\n{question}".encode()).hexdigest()[:16], self.task, question, answer)

    def allowed(self, problem: Problem) -> Problem:
        """Raises InputError when it is for another verifier than the recipe's: a name can be that of any function."""
        if problem.task != self.task:
            raise InputError(f"a problem of task {problem.task!r:.80}: this reward judges {self.task!r}")
        return problem

    def _prompts(self, problem: Problem) -> list[str]:
        """The ways in which a trainer may send its prompt."""
        text = user_text(problem, self._recipe)
        forms = [problem.question, text]
        if self._tokenizer.chat_template is not None:
            turn = [{"role": "user", "content": text}]
            forms.append(self._tokenizer.apply_chat_template(turn, add_generation_prompt=True, tokenize=False))
        return [form.strip() for form in forms] + forms

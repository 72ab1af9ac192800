"""What flows through the pipeline: small frozen records, JSON in and out, no torch.

Facts come first and judgements after: a `Rollout` carries no reward, so any reward can be computed again on old
rollouts, and on rollouts that another program made.
"""

from __future__ import annotations

import dataclasses
import math
from enum import StrEnum
from typing import Any, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from rlsp.errors import InputError

T = TypeVar("T")


class Finish(StrEnum):
    """Why a rollout ended: the policy emitted EOS, or it ran into the response budget (truncated)."""

    EOS = "eos"
    LENGTH = "length"


class Reason(StrEnum):
    """Why a verdict came out as it did."""

    MATCH = "match"
    MISMATCH = "mismatch"
    NO_ANSWER = "no answer"
    UNPARSABLE = "unparsable"
    FALSE_STEP = "false step"
    WRONG_NUMBERS = "wrong numbers"
    GIVEN_UP = "given up"
    FAILED_TEST = "failed test"
    TOO_COMPLEX = "too complex"
    TIMEOUT = "timeout"
    CRASHED = "crashed"
    OUT_OF_MEMORY = "out of memory"

    @property
    def unjudged(self) -> bool:
        """The verifier itself gave up: such a verdict is not correct, and is counted and listed by name."""
        return self in (Reason.TIMEOUT, Reason.CRASHED, Reason.OUT_OF_MEMORY)


class _Record:
    """A field that the type does not know is an error when a record is read."""

    __slots__ = ()
    __pydantic_config__ = ConfigDict(extra="forbid")


@dataclasses.dataclass(frozen=True, slots=True)
class Problem(_Record):
    """A question with what is needed to judge an answer to it. `task` names its verifier; `grading` holds what that
    verifier needs beyond the answer: unit tests, a puzzle's metadata.

    >>> Problem(id="countdown/3-7-12/33", task="countdown", question="Use 3, 7, 12 to make 33.", answer="33",
    ...         level=1, source="generated").level
    1
    """

    id: str
    task: str
    question: str
    answer: str
    level: int = 0
    source: str = ""
    grading: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        checked_identity(self.id)
        if not is_text(self.question):
            raise ValueError("the question holds half of a surrogate pair, which is no text")
        if not 0 <= self.level < 10**6:
            raise ValueError(f"level {self.level!r:.40} is none: levels are 1 to 999999, and 0 where there are none")


@dataclasses.dataclass(frozen=True, slots=True)
class Demonstration(_Record):
    """A verified trace that solves a problem. `origin` names what made it, e.g. `search`."""

    problem: Problem
    trace: str
    origin: str


@dataclasses.dataclass(frozen=True, slots=True)
class Rollout(_Record):
    """One response sampled by a policy: the token ids are the truth, `text` is their decoding.

    `logprobs[i]` is log π(response_ids[i] | prompt, response_ids[:i]) at `temperature`, in nats. The length of a
    response is counted in sampled tokens, EOS included.
    """

    problem_id: str
    sample: int
    prompt_ids: tuple[int, ...]
    response_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    text: str
    finish: Finish
    temperature: float
    policy_version: int

    def __post_init__(self) -> None:
        checked_identity(self.problem_id)
        if not self.response_ids:
            raise ValueError("a rollout has at least one sampled token")
        if len(self.logprobs) != len(self.response_ids):
            raise ValueError(f"{len(self.logprobs)} logprobs for {len(self.response_ids)} sampled tokens")
        if min(self.response_ids) < 0 or min(self.prompt_ids, default=0) < 0 or self.sample < 0:
            raise ValueError("token ids and samples count from 0")
        if not (all(map(math.isfinite, self.logprobs)) and math.isfinite(self.temperature)):
            raise ValueError("logprobs and temperature are finite numbers")

    @property
    def length(self) -> int:
        return len(self.response_ids)

    @property
    def truncated(self) -> bool:
        return self.finish is Finish.LENGTH


@dataclasses.dataclass(frozen=True, slots=True)
class Verdict(_Record):
    """The outcome verifier's judgement, `Ver(q, o)` of the paper. `answer` is the canonical extracted answer:
    equal strings are equivalent answers, "" means that none was found. `reference` is the problem's answer in the same
    form, "" where there is none; `detail` says more about the reason."""

    correct: bool
    answer: str
    reason: Reason
    reference: str = ""
    detail: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class Exploration(_Record):
    """The exploration reward `R_ex(q, o)`: `value` is the weighted sum of `parts`, each of which stands under its name
    as it is before its weight. `tokens` holds the token rewards of dense parts; they add up to the part. `missing` says
    why a part could not be had; `value` is None when such a part has a weight."""

    value: float | None
    parts: dict[str, float]
    tokens: dict[str, tuple[float, ...]] = dataclasses.field(default_factory=dict)
    missing: dict[str, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True)
class Score(_Record):
    """Eq. 1 applied to one rollout: total = α·1[correct] + (1−α)·exploration, clamped; None when there is no
    exploration to add."""

    problem_id: str
    sample: int
    verdict: Verdict
    exploration: Exploration
    alpha: float
    total: float | None


@dataclasses.dataclass(frozen=True, slots=True)
class Advantages(_Record):
    """A_t of each sampled token of one rollout, as the policy's loss takes it, to four decimals; 0 where a rollout is
    left out of the loss."""

    problem_id: str
    sample: int
    values: tuple[float, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class Proof(_Record):
    """A rollout that shows what an alarm means; it stands in `rl/rollouts` under its step. `why` says what to see in
    it, `excerpt` is its text or both ends of that."""

    step: int
    problem_id: str
    sample: int
    why: str
    excerpt: str


@dataclasses.dataclass(frozen=True, slots=True)
class Alarm(_Record):
    """A sign that the policy learns to please the reward instead of reasoning, found at `step`: over the steps of
    `window`, both included, `metric` went from `before` to `after`. `before` is None when not a change but the level is
    the sign."""

    name: str
    step: int
    metric: str
    window: tuple[int, int]
    before: float | None
    after: float
    sentence: str
    proof: tuple[Proof, ...]


def checked_identity(name: str) -> str:
    """A problem's id.

    Raises:
        ValueError: it is no plain text, or could lead out of a directory that files named by ids are put into.
    """
    if not is_text(name) or any(ord(each) < 32 for each in name):
        raise ValueError(f"the id {name!r:.80} is no line of text")
    if ".." in name.replace("\\", "/").split("/"):
        raise ValueError(f"the id {name!r:.80} has a part '..', as paths that lead elsewhere have: leave it out")
    return name


def is_text(text: str) -> bool:
    """Whether it can be encoded: JSON can carry half of a surrogate pair, which no program can."""
    return text.isascii() or text.encode(errors="ignore").decode() == text


_ADAPTERS: dict[type, TypeAdapter[Any]] = {}


def to_json(record: Any) -> dict[str, Any]:
    """The record as plain JSON values."""
    return dataclasses.asdict(record)


def from_json(cls: type[T], values: Any, where: str = "") -> T:
    """Build and check a record; `where` (a file and line) leads the error.

    Raises:
        InputError: a field is missing, unknown to the type, or of the wrong type.
    """
    if cls not in _ADAPTERS:
        _ADAPTERS[cls] = TypeAdapter(cls)
    try:
        return _ADAPTERS[cls].validate_python(values)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]) or "record"
        raise InputError(
            f"{where + ': ' if where else ''}not a {cls.__name__}: {field}: {first['msg']}, got {first['input']!r:.80}"
        ) from None

"""The exploration reward: any number of parts, each with its weight; docs/exploration.md has their formulas."""

from __future__ import annotations

import hashlib
import ipaddress
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, SerializerFunctionWrapHandler, field_validator, model_serializer, model_validator

from rlsp.config.section import Positive, Section, Share

NONE = "none"
LENGTH_TARGET = "{length_target}"
"""Where model.instruction tells a problem's target of `l1`."""
Amount = Annotated[float, Field(gt=0)]
Weight = Annotated[float, Field(ge=0)]


class PartRecipe(Section):
    """`weight` multiplies the part in R_ex; 0 makes it a metric. `gamma` is the discount of its stream of token
    rewards; by default rl.gamma."""

    weight: Weight = 1.0
    gamma: Annotated[float, Field(gt=0, le=1)] | None = None


class LengthRecipe(PartRecipe):
    """−C/|o| with C = `c_per_budget` × sampling.max_response_tokens. The paper's C = 1000 at a budget of 4096 is 0.244
    of it."""

    c_per_budget: Amount = 1000 / 4096


class LengthSqrtRecipe(PartRecipe):
    """−C/√|o| with C = `c_per_budget` × √sampling.max_response_tokens: as much as `length` at the budget."""

    c_per_budget: Amount = 1000 / 4096


class LengthExpRecipe(PartRecipe):
    """−C·e^(−√|o|)."""

    c: Amount = 10.0


class CosineRecipe(PartRecipe):
    """Right and wrong answers at length 0 and at `max_length` (0: the response budget), a cosine between; `exceeded` at
    `max_length` and beyond."""

    right: tuple[float, float] = (2.0, 1.0)
    wrong: tuple[float, float] = (-10.0, 0.0)
    exceeded: float = -10.0
    max_length: Annotated[int, Field(ge=0)] = 0


class RepetitionRecipe(PartRecipe):
    """−`penalty` for every token inside an n-gram that the response held before."""

    gamma: Annotated[float, Field(gt=0, le=1)] = 0.99
    ngram: Positive = 40
    penalty: Amount = 0.05


class EffectiveLengthRecipe(PartRecipe):
    """As `length`, but tokens inside an n-gram that the response held before do not count."""

    c_per_budget: Amount = 1000 / 4096
    ngram: Positive = 20


class NoveltyRecipe(PartRecipe):
    """The share of a response's n-grams of words that none of its siblings holds, averaged with the share that no
    demonstration holds."""

    ngram: Positive = 4


BEHAVIOURS = (
    "attempts",
    "unreadable",
    "true_attempts",
    "hits",
    "checks",
    "honest_checks",
    "backtracks",
    "alternatives",
    "repeats",
    "searched",
    "right_rejected",
    "wrong_accepted",
)
"""What `behaviours.grounded.Behaviours` counts."""
PRICES = {"searched": 0.25, "repeats": -0.25, "right_rejected": -1.0, "wrong_accepted": -1.0}


class BehaviourRecipe(PartRecipe):
    """Grounded behaviours at a price each, by their names in `BEHAVIOURS`; the sum is cut to ±1."""

    prices: Annotated[dict[str, float], Field(min_length=1)] = Field(default_factory=lambda: dict(PRICES))

    @model_validator(mode="after")
    def _prices_have_behaviours(self) -> BehaviourRecipe:
        if unknown := [name for name in self.prices if name not in BEHAVIOURS]:
            raise ValueError(f"no behaviour {unknown[0]!r} to price; there are {', '.join(BEHAVIOURS)}")
        return self


class JudgeRecipe(PartRecipe):
    """An LLM's grade of the effort, 0 … 1, from an endpoint that speaks OpenAI's protocol: `base_url`, by default
    OpenAI's own. `api_key_variable` names the environment variable with the key: by default OPENAI_API_KEY for OpenAI,
    and no key for other endpoints. At most `concurrency` requests at once, each given `timeout_seconds` and, where it
    may help, `retries` further tries. A reply has at most `max_tokens`; all requests and replies of a run have at most
    `token_budget` (0: no limit). More failures than the share `max_failures` stop the run. `cache`: the directory that
    keeps grades; by default ~/.cache/rlsp, none with "none"."""

    model: Annotated[str, Field(min_length=1)] = "gpt-4o-mini"
    base_url: str = ""
    api_key_variable: str = ""
    concurrency: Positive = 16
    timeout_seconds: Amount = 60.0
    retries: Annotated[int, Field(ge=0)] = 4
    max_tokens: Positive = 400
    token_budget: Annotated[int, Field(ge=0)] = 0
    max_failures: Share = 0.2
    cache: str = ""

    @property
    def local(self) -> bool:
        """Whether requests stay on this machine."""
        return is_loopback(urlsplit(self.base_url).hostname or "")

    @field_validator("base_url")
    @classmethod
    def _safe_to_send(cls, given: str) -> str:
        if not given:
            return given
        parts = urlsplit(given)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("not an address: give http://127.0.0.1:8000/v1 or https://host/v1")
        if "@" in parts.netloc:
            raise ValueError("a recipe holds no secrets: take out what stands before '@' and name api_key_variable")
        if parts.scheme == "http" and not is_loopback(parts.hostname):
            raise ValueError(f"{given!r} would send the key and all text in clear: use https, or a loopback address")
        return given


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, as seen by itself alone."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class AlpRecipe(PartRecipe):
    """−max(p, 1/K)·|o|/budget, p the solve rate of the problem's K rollouts; the weight is the formula's β."""


class L1Recipe(PartRecipe):
    """−| |o| − target |/budget (`exact`) or −max(0, |o| − target)/budget (`max`); a problem's target is drawn from
    `minimum` … `maximum` tokens and stands where model.instruction has {length_target}."""

    minimum: Positive
    maximum: Positive
    mode: Literal["exact", "max"] = "exact"

    def target(self, problem_id: str) -> int:
        """A problem's target in tokens, EOS included: uniform over `minimum` … `maximum`, the same in every run."""
        digest = hashlib.sha256(problem_id.encode()).digest()
        return self.minimum + int.from_bytes(digest) % (self.maximum - self.minimum + 1)

    @model_validator(mode="after")
    def _targets_in_order(self) -> L1Recipe:
        if self.minimum > self.maximum:
            raise ValueError(f"minimum = {self.minimum} exceeds maximum = {self.maximum}: swap them")
        return self


class KimiRecipe(PartRecipe):
    """½ − how far the length lies from the shortest (0) to the longest (1) of the problem's rollouts; never positive
    for a wrong answer."""


class PassRateRecipe(PartRecipe):
    """(`threshold` − p)·|o|/budget, p the solve rate of the problem's rollouts: hard problems are paid for length, easy
    ones taxed."""

    threshold: Share = 0.5


class OverlongRecipe(PartRecipe):
    """0 up to the response budget less `buffer` tokens, from there down to −1 at the budget."""

    buffer: Positive


class FormatRecipe(PartRecipe):
    """1 for `<think>reasoning</think>` and then a marked answer, within `<answer>…</answer>` or bare; else 0."""


DENSE = ("repetition",)
"""They pay token by token."""
GROUPED = ("novelty", "alp", "kimi", "pass_rate")
"""They compare a rollout with its siblings, and need some."""

MARKED = ("format",)
"""They read a marked answer."""

OUTCOME_AWARE = ("cosine", "alp", "kimi", "pass_rate")
"""They see what was right, and vary with it."""


class ExplorationRecipe(Section):
    """One table for each part; `exploration = "cosine"` is that part alone as it is by default, `"none"` is
    R_ex = 0."""

    length: LengthRecipe | None = None
    length_sqrt: LengthSqrtRecipe | None = None
    length_exp: LengthExpRecipe | None = None
    effective_length: EffectiveLengthRecipe | None = None
    repetition: RepetitionRecipe | None = None
    novelty: NoveltyRecipe | None = None
    behaviour: BehaviourRecipe | None = None
    judge: JudgeRecipe | None = None
    cosine: CosineRecipe | None = None
    alp: AlpRecipe | None = None
    l1: L1Recipe | None = None
    kimi: KimiRecipe | None = None
    pass_rate: PassRateRecipe | None = None
    overlong: OverlongRecipe | None = None
    format: FormatRecipe | None = None

    @model_validator(mode="before")
    @classmethod
    def _by_name(cls, given: Any) -> Any:
        if not isinstance(given, str):
            return given
        if given != NONE and given not in cls.model_fields:
            raise ValueError(f"no exploration reward {given!r}; there are {', '.join([*cls.model_fields, NONE])}")
        return {} if given == NONE else {given: {}}

    @model_serializer(mode="wrap")
    def _nothing_has_a_name(self, serialise: SerializerFunctionWrapHandler) -> Any:
        return serialise(self) if self.parts else NONE

    @property
    def parts(self) -> dict[str, PartRecipe]:
        """The parts that there are, by name."""
        named = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: part for name, part in named.items() if part is not None}

    @property
    def paid(self) -> dict[str, PartRecipe]:
        """The parts that are more than metrics."""
        return {name: part for name, part in self.parts.items() if part.weight > 0}

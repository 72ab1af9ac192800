"""How the first process asks and the others follow."""

from __future__ import annotations

import pickle
import signal
import sys
import traceback
import weakref
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar, cast

from rlsp.errors import JobFailed
from rlsp.parallel import wire

if TYPE_CHECKING:
    from torch import nn

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Request:
    """What all processes do together. `makes` is the number of the mirrored object that comes of it; `weights` names
    parameters by their places in a module; `gone` are mirrored objects that nobody needs any more.

    All answer; then the first process tells which parameters of `gradients` have a gradient anywhere, None when
    somebody failed, and those are added up."""

    call: Callable[..., Any]
    arguments: tuple[Any, ...]
    weights: list[tuple[nn.Module, list[int]]]
    gradients: list[nn.Module]
    makes: int | None
    gone: list[int]

    @property
    def learning(self) -> Iterator[nn.Parameter]:
        return (each for module in self.gradients for each in module.parameters())


@dataclass(frozen=True, slots=True)
class _Answer:
    """What a process came to; `has_gradient` of every parameter of the modules that were asked for."""

    result: Any
    error: Exception | None
    has_gradient: list[bool]


@dataclass
class Team:
    """The processes of a training, as one of them sees them."""

    rank: int
    size: int
    objects: dict[int, Any] = field(default_factory=dict)
    """Followers: the mirrored objects by their numbers."""
    numbers: dict[int, int] = field(default_factory=dict)
    """The first process: of living mirrored objects, by id."""
    gone: list[int] = field(default_factory=list)
    made: int = 0
    broken: bool = False

    def __post_init__(self) -> None:
        from torch.utils.weak import WeakIdKeyDictionary

        self.sent = WeakIdKeyDictionary()  # parameters, with the version that the others have

    def mirrored(self, make: Callable[..., T], *arguments: Any) -> T:
        self.made += 1
        number = self.made
        made = self._ask(make, arguments, (), (), number)[0]
        self.numbers[id(made)] = number
        weakref.finalize(made, self._forget, id(made), number).atexit = False
        return cast(T, made)

    def everywhere(
        self,
        call: Callable[..., T],
        *arguments: Any,
        weights: Sequence[nn.Module],
        gradients: Sequence[nn.Module],
    ) -> list[T]:
        return self._ask(call, arguments, weights, gradients, None)

    def leave(self) -> None:
        """Send the followers home."""
        from torch import distributed

        if self.broken:
            return
        if self.rank == 0:
            try:
                wire.tell(None, {})
            except JobFailed:  # they are gone already, and nothing is left to ask of them
                return
        distributed.destroy_process_group()

    # The first process

    def _ask(
        self,
        call: Callable[..., Any],
        arguments: tuple[Any, ...],
        weights: Sequence[nn.Module],
        gradients: Sequence[nn.Module],
        makes: int | None,
    ) -> list[Any]:
        if self.broken:
            raise RuntimeError("the processes of this training are out of step: start it again with --resume")
        if unknown := [type(module).__name__ for module in (*weights, *gradients) if id(module) not in self.numbers]:
            raise ValueError(f"{unknown[0]} is not mirrored: the other processes have none")
        stale = [(module, self._stale(module)) for module in weights]
        gone, self.gone = self.gone, []
        request = _Request(call, arguments, stale, list(gradients), makes, gone)
        try:
            answers = self._answers(request)
        except BaseException:  # in the middle of an exchange, by a signal too: no request would be understood now
            self.broken = True
            raise
        for answer in answers:
            if answer.error is not None:
                raise answer.error
        return [answer.result for answer in answers]

    def _answers(self, request: _Request) -> list[_Answer]:
        """Everybody's, by rank."""
        wire.tell(request, self.numbers)
        _spread(request)
        answers: list[_Answer] = [self._done(request), *wire.given(self.size)]
        failed = any(answer.error is not None for answer in answers)
        having = zip(*(answer.has_gradient for answer in answers), strict=not failed)
        summed = None if failed else [any(each) for each in having]
        wire.tell(summed, {})
        _add_up(request, summed or [])
        return answers

    def _stale(self, module: nn.Module) -> list[int]:
        """The places of the parameters that the others have not as they are."""
        places = []
        for place, parameter in enumerate(module.parameters()):
            if self.sent.get(parameter) != parameter._version:
                places.append(place)
                self.sent[parameter] = parameter._version
        return places

    def _forget(self, identity: int, number: int) -> None:
        del self.numbers[identity]
        self.gone.append(number)

    # The others

    def follow(self) -> None:
        """Do what the first process asks for until it is done. It alone heeds Ctrl-C and SIGTERM: what it has begun, it
        needs everybody to finish."""
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.SIG_IGN)
        try:
            while (request := wire.told(self.objects)) is not None:
                self._answer(request)
                del request
        except JobFailed as error:
            self.broken = True
            sys.exit(f"rank {self.rank}: {error}")

    def _answer(self, request: _Request) -> None:
        for number in request.gone:
            del self.objects[number]
        _spread(request)
        for module in request.gradients:
            module.zero_grad(set_to_none=True)
        mine = self._done(request)
        wire.give(
            self._pickled(_Answer(None if request.makes is not None else mine.result, mine.error, mine.has_gradient))
        )
        if (summed := wire.told(self.objects)) is None:
            return
        if request.makes is not None:
            self.objects[request.makes] = mine.result
        _add_up(request, summed)
        for parameter in request.learning:
            parameter.grad = None

    def _pickled(self, answer: _Answer) -> bytes:
        """The answer for the first process; what can't be pickled is told in words."""
        try:
            if answer.error is not None:
                pickle.loads(pickle.dumps(answer.error))  # some can be written and not read
            return wire.pickled(answer, {})
        except Exception as reason:
            words = "".join(traceback.format_exception(answer.error or reason))
            return wire.pickled(_Answer(None, RuntimeError(f"rank {self.rank}: {words}"), []), {})

    # Everybody

    def _done(self, request: _Request) -> _Answer:
        """This process's answer."""
        try:
            result = request.call(*request.arguments)
        except Exception as error:  # everybody waits for an answer; the first process raises what this one could not do
            if self.rank:
                error.add_note(f"In the process of rank {self.rank}:\n{traceback.format_exc()}")
            return _Answer(None, error, [])
        return _Answer(result, None, [each.grad is not None for each in request.learning])


def _spread(request: _Request) -> None:
    for module, places in request.weights:
        parameters = list(module.parameters())
        for place in places:
            wire.spread(parameters[place])


def _add_up(request: _Request, summed: Sequence[bool]) -> None:
    """The first process's gradients become the sums."""
    import torch

    for parameter, has_gradient in zip(request.learning, summed, strict=False):
        if has_gradient:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            wire.add_up(parameter.grad)

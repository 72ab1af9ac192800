"""Several processes of one training on one machine, one for each device, begun by torchrun.

The first runs the program. The others follow: they hold copies of its models and do their part of what it asks of all,
to sample and to compute gradients. So there is one run directory, one verifier pool and one optimizer, and before every
question whatever weights have changed are sent out: the copies can't drift apart. Alone, a process asks nobody.

Requests are pickled between processes of one user over the loopback device; nothing else is ever unpickled.
"""

from __future__ import annotations

import io
import os
import pickle
import signal
import sys
import traceback
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar, cast

from rlsp.errors import InputError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

T = TypeVar("T")

PATIENCE = timedelta(days=7)
"""How long followers wait for a request: as long as verifiers and judges take."""


def rank() -> int:
    return _team.rank if _team else 0


def size() -> int:
    """How many processes there are; 1 alone."""
    return _team.size if _team else 1


def share(items: T) -> T:
    """This process's part of a sequence or tensor that all processes have: every n-th of its items, so that neighbours
    of similar cost are spread."""
    return cast(T, cast(Any, items)[rank() :: size()])


def mirrored(make: Callable[..., T], *arguments: Any) -> T:
    """`make(*arguments)` in every process. The result stands for each process's own wherever it is among the arguments
    of a later call, as long as it lives here."""
    return _team.mirrored(make, *arguments) if _team else make(*arguments)


def everywhere(
    call: Callable[..., T],
    *arguments: Any,
    weights: Sequence[nn.Module] = (),
    gradients: Sequence[nn.Module] = (),
) -> list[T]:
    """`call(*arguments)` in every process at once.

    Args:
        call: a function or method that pickle knows by its name.
        arguments: mirrored objects, or what can be pickled; tensors come onto the device of each process.
        weights: mirrored modules whose weights the others are to have as they are here.
        gradients: mirrored modules whose gradients are to be the sum of everybody's here.

    Returns:
        The results by rank.

    Raises:
        Exception: the first by rank that a process raised; then no gradients were added up.
    """
    if _team is None:
        return [call(*arguments)]
    return _team.everywhere(call, *arguments, weights=weights, gradients=gradients)


@contextmanager
def joined() -> Iterator[bool]:
    """Join the processes that torchrun began along with this one; without torchrun nothing happens.

    Yields:
        Whether this process is to run the program. A follower has followed to the end by then.

    Raises:
        InputError: they are on several machines, or more than there are GPUs.
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ or int(os.environ["WORLD_SIZE"]) == 1:
        yield True
        return
    global _team
    _team = _join(*(int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")))
    try:
        if _team.rank:
            _team.follow()
        yield _team.rank == 0
    finally:
        _team.leave()
        _team = None


def _join(rank: int, size: int, here: int) -> _Team:
    import torch
    from torch import distributed

    if here != size:
        raise InputError(
            f"torchrun began {size} processes, {here} of them on this machine: the native engine runs on the devices "
            "of one; for more there is --engine verl"
        )
    backend = "gloo"
    if torch.cuda.is_available():
        if (found := torch.cuda.device_count()) < here:
            raise InputError(f"torchrun began {here} processes for {found} GPUs: --nproc-per-node={found}")
        torch.cuda.set_device(rank)
        backend = "cpu:gloo,cuda:nccl"
    if sys.platform == "linux":
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    distributed.init_process_group(backend, timeout=PATIENCE)
    return _Team(rank, size)


@dataclass(frozen=True, slots=True)
class _Request:
    """What all processes do together. `makes` is the number of the mirrored object that comes of it; `weights` names
    parameters by their places in a module; `gone` are mirrored objects that nobody needs any more."""

    call: Callable[..., Any]
    arguments: tuple[Any, ...]
    weights: list[tuple[nn.Module, list[int]]]
    gradients: list[nn.Module]
    makes: int | None
    gone: list[int]


@dataclass(frozen=True, slots=True)
class _Answer:
    """What a process came to; `has_gradient` of every parameter of the modules that were asked for."""

    result: Any
    error: Exception | None
    has_gradient: list[bool]


@dataclass
class _Team:
    rank: int
    size: int
    objects: dict[int, Any] = field(default_factory=dict)
    """Mirrored objects by their numbers; here, in the first process, weak references to them."""
    numbers: dict[int, int] = field(default_factory=dict)
    """Of living mirrored objects, by id."""
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

    def follow(self) -> None:
        """Do what the first process asks for until it is done. It alone heeds Ctrl-C and SIGTERM: what it has begun, it
        needs everybody to finish."""
        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, signal.SIG_IGN)
        try:
            self._follow()
        except RuntimeError as error:  # of the exchange: what a request came to is an answer
            self.broken = True
            sys.exit(f"rank {self.rank}: ended, since the others can't be reached: {str(error).splitlines()[0][:200]}")

    def _follow(self) -> None:
        while (request := self._told()) is not None:
            for number in request.gone:
                del self.objects[number]
            answers = self._together(request)
            if request.makes is not None and all(answer.error is None for answer in answers):
                self.objects[request.makes] = answers[self.rank].result
            del request, answers

    def leave(self) -> None:
        """Send the followers home."""
        from torch import distributed

        if self.rank == 0 and not self.broken:
            self._tell(None)
        if not self.broken:
            distributed.destroy_process_group()

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
            self._tell(request)
            answers = self._together(request)
        except BaseException:  # in the middle of an exchange, by a signal too: no request would be understood now
            self.broken = True
            raise
        for answer in answers:
            if answer.error is not None:
                raise answer.error
        return [answer.result for answer in answers]

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

    def _together(self, request: _Request) -> list[_Answer]:
        """The part of a request that every process does; the answers by rank, of the followers' to the first alone."""
        from torch import distributed

        for module, places in request.weights:
            parameters = list(module.parameters())
            for place in places:
                distributed.broadcast(parameters[place].data, 0)
        if self.rank:
            for module in request.gradients:
                module.zero_grad(set_to_none=True)
        mine = self._done(request)
        answers = self._collected(mine, request.makes is not None)
        if any(answer.error is not None for answer in answers):
            return answers
        learning = [each for module in request.gradients for each in module.parameters()]
        for place, parameter in enumerate(learning):
            if any(answer.has_gradient[place] for answer in answers):
                _add_up(parameter)
        return answers

    def _done(self, request: _Request) -> _Answer:
        """This process's answer."""
        try:
            result = request.call(*request.arguments)
        except Exception as error:  # everybody waits for an answer; the first process raises what this one could not do
            return _Answer(None, error, [])
        learning = [each for module in request.gradients for each in module.parameters()]
        return _Answer(result, None, [each.grad is not None for each in learning])

    def _collected(self, mine: _Answer, kept_here: bool) -> list[_Answer]:
        """Everybody's answers at the first process; at the others all but the results."""
        from torch import distributed

        told = [b""] * self.size if self.rank == 0 else None
        theirs = _Answer(None if kept_here else mine.result, mine.error, mine.has_gradient)
        distributed.gather_object(b"" if self.rank == 0 else _pickled(theirs), told)
        if told is not None:
            answers = [mine, *(cast(_Answer, pickle.loads(each)) for each in told[1:])]
            self._tell([_Answer(None, each.error, each.has_gradient) for each in answers])
            return answers
        answers = self._told()
        answers[self.rank] = mine
        return answers

    def _tell(self, request: Any) -> None:
        import torch
        from torch import distributed

        buffer = io.BytesIO()
        _Pickler(buffer, self.numbers).dump(request)
        distributed.broadcast_object_list([buffer.getvalue()], 0, device=torch.device("cpu"))

    def _told(self) -> Any:
        import torch
        from torch import distributed

        received: list[Any] = [None]
        distributed.broadcast_object_list(received, 0, device=torch.device("cpu"))
        return _Unpickler(io.BytesIO(received[0]), self.objects).load()


class _Pickler(pickle.Pickler):
    """Mirrored objects by their numbers, tensors of a device as ones that come onto the reader's."""

    def __init__(self, file: io.BytesIO, numbers: Mapping[int, int]) -> None:
        super().__init__(file, protocol=pickle.HIGHEST_PROTOCOL)
        self.numbers = numbers

    def persistent_id(self, each: Any) -> int | None:
        return self.numbers.get(id(each))

    def reducer_override(self, each: Any) -> Any:
        import torch

        if isinstance(each, torch.Tensor) and each.device.type == "cuda":
            return _to_device, (each.detach().cpu(),)
        return NotImplemented


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BytesIO, objects: Mapping[int, Any]) -> None:
        super().__init__(file)
        self.objects = objects

    def persistent_load(self, number: int) -> Any:
        return self.objects[number]


def _to_device(tensor: Tensor) -> Tensor:
    return tensor.to("cuda")


def _pickled(answer: _Answer) -> bytes:
    """The answer for the first process; an error that can't be pickled is told in words."""
    buffer = io.BytesIO()
    try:
        _Pickler(buffer, {}).dump(answer)
        pickle.loads(buffer.getvalue())
    except Exception:
        told = "".join(traceback.format_exception(answer.error)) if answer.error else traceback.format_exc()
        return pickle.dumps(_Answer(None, RuntimeError(f"rank {rank()}: {told}"), []))
    return buffer.getvalue()


def _add_up(parameter: torch.nn.Parameter) -> None:
    """The first process's gradient becomes the sum; the others' are dropped."""
    import torch
    from torch import distributed

    if parameter.grad is None:
        parameter.grad = torch.zeros_like(parameter)
    distributed.reduce(parameter.grad, 0)
    if rank():
        parameter.grad = None


_team: _Team | None = None

"""What the processes of one training say to each other: requests and answers as pickles, weights and gradients as
tensors.

Whoever can speak to them can have them run what he likes, as with everything on torch.distributed. On
Linux gloo's connections, which carry the pickles, stay on the loopback device; torchrun's rendezvous listens on every
one, and NCCL's may: a machine in a network you do not trust needs a firewall.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rlsp.errors import JobFailed

if TYPE_CHECKING:
    from torch import Tensor, nn


def tell(what: Any, numbers: Mapping[int, int]) -> None:
    """Send to the others; mirrored objects go as their `numbers`, by id.

    Raises:
        JobFailed: they can't be reached.
    """
    import torch
    from torch import distributed

    message = [pickled(what, numbers)]
    with _exchange():
        distributed.broadcast_object_list(message, 0, device=torch.device("cpu"))


def told(objects: Mapping[int, Any]) -> Any:
    """What the first process tells; `objects` are the mirrored ones by number.

    Raises:
        JobFailed: it can't be reached.
    """
    import torch
    from torch import distributed

    received: list[Any] = [None]
    with _exchange():
        distributed.broadcast_object_list(received, 0, device=torch.device("cpu"))
    return _Unpickler(io.BytesIO(received[0]), objects).load()


def give(message: bytes) -> None:
    """Answer the first process."""
    from torch import distributed

    with _exchange():
        distributed.gather_object(message, None)


def given(size: int) -> list[Any]:
    """What the others give, by rank."""
    from torch import distributed

    received = [b""] * size
    with _exchange():
        distributed.gather_object(b"", received)
    return [pickle.loads(each) for each in received[1:]]


def spread(parameter: nn.Parameter) -> None:
    """The first process's values become everybody's."""
    from torch import distributed

    with _exchange():
        distributed.broadcast(parameter.data, 0)


def add_up(gradient: Tensor) -> None:
    """The first process's gradient becomes the sum; the others' are of no use any more."""
    from torch import distributed

    with _exchange():
        distributed.reduce(gradient, 0)


def pickled(what: Any, numbers: Mapping[int, int]) -> bytes:
    buffer = io.BytesIO()
    _Pickler(buffer, numbers).dump(what)
    return buffer.getvalue()


@contextmanager
def _exchange() -> Iterator[None]:
    import torch

    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        said = str(error).partition("\n")[0][:200]
        raise JobFailed(
            f"the processes of this training can't reach each other any more: {said}. What "
            "a checkpoint holds is saved; see above for what ended the first of them, then --resume"
        ) from error


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

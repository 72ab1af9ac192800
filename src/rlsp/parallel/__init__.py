"""Several processes of one training on one machine, one for each device, begun by torchrun.

The first runs the program. The others follow: they hold copies of its models and do their part of what it asks of all,
to sample and to compute gradients. So there is one run directory, one verifier pool and one optimizer, and before every
question whatever weights have changed are sent out: the copies can't drift apart. Alone, a process asks nobody.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar, cast

from rlsp.errors import InputError
from rlsp.parallel.team import Team

if TYPE_CHECKING:
    from torch import nn

T = TypeVar("T")

PATIENCE = timedelta(days=7)
"""How long followers wait for a request: as long as verifiers and judges take."""
SECONDS_TO_REFUSE = 5.0
"""In which the first process says why: torchrun ends them all with the first that ends."""


def rank() -> int:
    return _team.rank if _team else 0


def size() -> int:
    """How many processes there are; 1 alone."""
    return _team.size if _team else 1


def in_step() -> bool:
    """Whether the others would answer: not after an exchange that a signal or an error cut short."""
    return _team is None or not _team.broken


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
        JobFailed: the others can't be reached.
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
        InputError: they are on several machines, or more than there are GPUs; raised in the first of them.
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ or int(os.environ["WORLD_SIZE"]) == 1:
        yield True
        return
    global _team
    number, size, here = (int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE"))
    try:
        _team = _join(number, size, here)
    except InputError:
        if number:
            time.sleep(SECONDS_TO_REFUSE)
            sys.exit(2)
        raise
    try:
        if number:
            _team.follow()
        yield number == 0
    finally:
        _team.leave()
        _team = None


def _join(rank: int, size: int, here: int) -> Team:
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
        os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    distributed.init_process_group(backend, timeout=PATIENCE)
    return Team(rank, size)


_team: Team | None = None

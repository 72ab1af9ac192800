"""The recipe on verl and Ray: our problems, prompts, verifiers, exploration and streams inside verl's trainer, its
results collected into our run directory. Tested with verl 0.9.1, on CPU; no GPU has run it yet (docs/scale.md)."""

from __future__ import annotations

import importlib.util

from rlsp import parallel
from rlsp.errors import InputError


def require() -> None:
    """Raises InputError where verl is not installed, or torchrun has begun several of this process."""
    if parallel.size() > 1:
        raise InputError("engine 'verl' begins its processes itself: leave torchrun out")
    missing = [name for name in ("verl", "ray", "hydra", "transfer_queue") if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(
            f"engine 'verl' needs {', '.join(missing)}: pip install 'rlsp[cluster]' in an environment of its own"
        )

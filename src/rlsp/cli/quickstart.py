"""`rlsp quickstart`: the nano recipe, with nothing to decide."""

from __future__ import annotations

from pathlib import Path

from rlsp import runs
from rlsp.cli.options import OutRun, OverwriteOption, SetOption
from rlsp.cli.progress import console
from rlsp.cli.run import execute
from rlsp.config import Recipe, load


def quickstart(
    out: OutRun = Path("runs/quickstart"),
    settings: SetOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Teach a 0.9M-parameter model to search, on this machine, in minutes. A run that was cut short goes on."""
    recipe = load(Recipe, "nano", settings or [])
    resume = not overwrite and runs.exists(out)
    if resume:
        console.print(f"going on with {out}; --overwrite starts over", soft_wrap=True)
    execute(recipe, out, resume, overwrite)

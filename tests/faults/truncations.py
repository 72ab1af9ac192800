"""Every kind of file of a run, cut short: it goes on and ends the same, or it is refused by name."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from rlsp.errors import InputError
from rlsp.rl.loop import Iteration, Training
from rlsp.types import Problem
from tests.faults.harness import differing, finish, products

SHARES = (0.0, 0.5, 0.99)


class Killed(BaseException):
    """As SIGKILL would, nothing handles it."""


def half_done(directory: Path, stop: int) -> None:
    """A run that died as its RL step of that number began."""
    iterate = Training.iterate

    def dying(self: Training, step: int, problems: Sequence[Problem]) -> Iteration:
        if step == stop:
            raise Killed
        return iterate(self, step, problems)

    with pytest.MonkeyPatch.context() as patched, pytest.raises(Killed):
        patched.setattr(Training, "iterate", dying)
        finish(directory)


def test_whatever_is_cut_short_is_mended_or_refused(tmp_path: Path) -> None:
    finish(tmp_path / "whole")
    wanted = products(tmp_path / "whole")
    half_done(tmp_path / "half", 4)
    kinds: dict[str, Path] = {}
    for path in sorted((tmp_path / "half").rglob("*")):
        if path.is_file():
            name = path.relative_to(tmp_path / "half")
            kinds[re.sub(r"\d+", "N", str(name))] = name  # the last of its kind
    outcomes: dict[str, list[str]] = {}
    for kind, name in kinds.items():
        for share in SHARES:
            copy = tmp_path / "copy"
            shutil.copytree(tmp_path / "half", copy)
            content = (copy / name).read_bytes()
            (copy / name).write_bytes(content[: int(share * len(content))])
            try:
                finish(copy)
            except InputError as error:
                assert str(copy) in str(error), f"{kind}: {error}"
                outcomes.setdefault(kind, []).append("refused")
            else:
                assert differing(copy, wanted) == [], (kind, share)
                outcomes.setdefault(kind, []).append("went on")
            shutil.rmtree(copy)
    print("\n" + "\n".join(f"{kind}: {', '.join(each)}" for kind, each in outcomes.items()))
    went_on = [kind for kind, each in outcomes.items() if "went on" in each]
    assert any("checkpoints" in kind for kind in went_on), "an older checkpoint takes over"

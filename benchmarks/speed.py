"""How fast rollouts, updates and whole GRPO steps are, beside the peers that run on two CPU cores.

    make bench                                     # everything, in the environments that it builds
    .venv-bench/bin/python benchmarks/speed.py rollouts grpo --rounds 3

The programs take turns (A B A B …) on the same work; what counts is the median of the ratios, round by round. An
absolute time says as much about the machine as about the program. A ratio below its bar, or far below its baseline in
contests/baselines.json, fails; --keep makes the ratios of this run the baselines.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import asdict
from math import isfinite
from pathlib import Path

from contests.common import BASELINES, Bar, Setting, console
from contests.curves import curves
from contests.grpo import grpo
from contests.profile import profile
from contests.quality import quality, tune
from contests.rollouts import rollouts
from contests.update import update

from rlsp.files import write_json

SECTIONS: dict[str, Callable[[Setting], list[Bar]]] = {
    "rollouts": rollouts,
    "grpo": grpo,
    "update": update,
    "quality": quality,
    "profile": profile,
    "curves": curves,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", choices=[*SECTIONS, "tune", []], default=[])
    parser.add_argument("--model", default="models/SmolLM2-135M-Instruct")
    parser.add_argument("--python", type=Path, default=Path(".venv-bench/bin/python"))
    parser.add_argument("--vllm-python", type=Path, default=Path(".venv-vllm/bin/python"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("runs/speed"))
    parser.add_argument("--keep", action="store_true", help="make this run's ratios the baselines")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    kept = {key: value for key, value in vars(arguments).items() if key not in ("sections", "keep")}
    setting = Setting(**kept)
    bars: dict[str, list[Bar]] = {}
    for name in arguments.sections or SECTIONS:
        bars[name] = (SECTIONS | {"tune": tune})[name](setting)
        write_json(arguments.out / "bars.json", {name: [_plain(bar) for bar in each] for name, each in bars.items()})
    every = [bar for each in bars.values() for bar in each]
    if arguments.keep:
        measured = {bar.name: round(bar.value, 2) for bar in every if bar.value is not None and isfinite(bar.value)}
        write_json(Path(__file__).parent / "contests" / "baselines.json", BASELINES | measured)
    failed = sum(not bar.holds for bar in every)
    console.print(f"{failed} of {len(every)} bars missed")
    return 1 if failed else 0


def _plain(bar: Bar) -> dict[str, object]:
    """Without infinities, which JSON does not know: a level that was never reached."""
    value = bar.value if bar.value is not None and isfinite(bar.value) else None
    return asdict(bar) | {"value": value}


if __name__ == "__main__":
    sys.exit(main())

"""Cost curves of this project: time against batch, response length and model size, with the exponents of their power
laws."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from peers.protocol import Message, Worker
from rich.box import MARKDOWN
from rich.table import Table

from contests.common import NANO, Bar, Setting, console

SHAPES: dict[str, dict[str, int]] = {
    "0.3M": {"hidden_size": 96, "intermediate_size": 256, "num_hidden_layers": 3, "num_attention_heads": 3},
    "4M": {"hidden_size": 256, "intermediate_size": 768, "num_hidden_layers": 5, "num_attention_heads": 4},
    "34M": {"hidden_size": 512, "intermediate_size": 1536, "num_hidden_layers": 10, "num_attention_heads": 8},
}
LONG = {"hidden_size": 128, "intermediate_size": 384, "num_hidden_layers": 4, "num_attention_heads": 4}
"""The nano model's shape, with room for long responses."""
PROMPT = 20


def curves(setting: Setting) -> list[Bar]:
    with setting.ours() as worker:
        worker.ask(do="load", model=NANO, threads=setting.threads)
        rows = [1, 4, 16, 64, 256, 1024]
        sampling = [_sample(worker, each, 64) for each in rows]
        updating = [_update(worker, each, 64) for each in rows]
        _show("Batch: nano, responses of 64 tokens", "rollouts", rows, sampling, updating)
        worker.ask(do="build", shape=LONG, threads=setting.threads)
        lengths = [64, 128, 256, 512, 1024, 2048]
        sampling = [_sample(worker, 32, each) for each in lengths]
        updating = [_update(worker, 32, each) for each in lengths]
        _show("Response length: nano's shape, 32 rollouts", "tokens", lengths, sampling, updating)
        sizes, sampling, updating = [], [], []
        for load in ({"shape": SHAPES["0.3M"]}, {"model": NANO}, {"shape": SHAPES["4M"]}, {"shape": SHAPES["34M"]}):
            sizes.append(_load(worker, setting, load))
            sampling.append(_sample(worker, 32, 64))
            updating.append(_update(worker, 32, 64))
        sizes.append(_load(worker, setting, {"model": setting.model}))
        sampling.append(_sample(worker, 32, 64))
        updating.append(_update(worker, 32, 64))
        _show("Model: 32 rollouts of 64 tokens", "parameters", sizes, sampling, updating)
    return []


def _load(worker: Worker, setting: Setting, what: Message) -> int:
    job = "build" if "shape" in what else "load"
    return worker.ask(do=job, threads=setting.threads, **what)["parameters"]


def _sample(worker: Worker, rows: int, tokens: int) -> float:
    prompts = [[5 + (row + place) % 50 for place in range(PROMPT)] for row in range(rows)]
    request: dict[str, Any] = {"do": "rollouts", "prompts": prompts, "samples": 1, "ragged": False}
    worker.ask(**request, new_tokens=4, seed=0)
    return _least(lambda: worker.ask(**request, new_tokens=tokens, seed=1))


def _update(worker: Worker, rows: int, tokens: int) -> float:
    worker.ask(do="batch", lengths=[tokens] * rows, prompt=PROMPT, microbatch_tokens=2048, on_policy=False)
    return _least(lambda: worker.ask(do="update"))


def _least(run: Callable[[], Message], repeats: int = 3) -> float:
    return min(run()["seconds"] for _ in range(repeats))


def _show(title: str, name: str, sizes: Sequence[int], sampling: Sequence[float], updating: Sequence[float]) -> None:
    table = Table(name, "rollouts, s", "update, s", title=title, box=MARKDOWN)
    for size, sampled, updated in zip(sizes, sampling, updating, strict=True):
        table.add_row(f"{size:,}", f"{sampled:.3f}", f"{updated:.3f}")
    table.add_row("exponent", *(f"{exponent(sizes, each):.2f}" for each in (sampling, updating)))
    console.print(table)


def exponent(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    """b of seconds = a · sizeᵇ, by least squares of the logarithms, over the larger half of the sizes: below it the
    cost of a call outweighs that of its work."""
    half = len(sizes) // 2
    return float(np.polyfit(np.log(sizes[half:]), np.log(seconds[half:]), 1)[0])

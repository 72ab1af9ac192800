"""What the contests share: who takes part, how turns are taken, and how results are shown and judged."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median, variance

from peers.protocol import Message, Worker
from rich.box import MARKDOWN
from rich.console import Console
from rich.table import Table

from rlsp.model_files import NANO_BASE

NANO = str(NANO_BASE)
console = Console(highlight=False, width=160)
REGRESSED = 0.6
"""A ratio that falls below this share of its baseline is a step back, wherever the bar lies; less of a fall may be the
machine's."""
BASELINES: dict[str, float] = json.loads(Path(__file__).with_name("baselines.json").read_text(encoding="utf-8"))


@dataclass(frozen=True, slots=True)
class Bar:
    """What was asked, whether it holds, and its number if it has one."""

    name: str
    holds: bool
    value: float | None = None


@dataclass(frozen=True, slots=True)
class Setting:
    """What every section needs: the environments' interpreters, the model beside `nano`, and where logs go."""

    python: Path
    vllm_python: Path
    model: str
    rounds: int
    threads: int
    out: Path

    def ours(self) -> Worker:
        return self._worker(self.python, "ours")

    def generate(self) -> Worker:
        return self._worker(self.python, "generate")

    def trl(self) -> Worker:
        return self._worker(self.python, "trl_grpo")

    def vllm(self) -> Worker:
        """Bound to as many cores as the others have: by itself it would keep one of two for its scheduler."""
        cores = f"0-{self.threads - 1}"
        variables = {"VLLM_CPU_KVCACHE_SPACE": "2", "VLLM_CPU_OMP_THREADS_BIND": cores, "VLLM_LOGGING_LEVEL": "ERROR"}
        return self._worker(self.vllm_python, "vllm_cpu", **variables)

    def _worker(self, python: Path, peer: str, **variables: str) -> Worker:
        return Worker(python, peer, self.out / f"{peer}.log", **variables)


def in_turn(workers: dict[str, Worker], request: Message, rounds: int, warmup: int = 1) -> dict[str, list[Message]]:
    """Everyone does the same, one after the other, round by round; what the warm-up said, in which memory is touched
    for the first time, is left out."""
    answers: dict[str, list[Message]] = {name: [] for name in workers}
    for number in range(warmup + rounds):
        for name, worker in workers.items():
            seed = {"seed": number} if "prompts" in request else {}
            answer = worker.ask(**request | seed)
            answers[name].append({"tokens": sum(answer["lengths"])} | answer)
    return {name: each[warmup:] for name, each in answers.items()}


def speed(answers: Sequence[Message]) -> list[float]:
    """Tokens a second, round by round."""
    return [each["tokens"] / each["seconds"] for each in answers]


def ratios(answers: dict[str, list[Message]], peer: str) -> list[float]:
    return [ours / theirs for ours, theirs in zip(speed(answers["ours"]), speed(answers[peer]), strict=True)]


def show(title: str, answers: dict[str, list[Message]], flops_per_token: float = 0, peak: float = 1) -> None:
    table = Table("", "tokens/s", "least … most", "ours ÷ theirs", "tokens", "peak GiB", title=title, box=MARKDOWN)
    if flops_per_token:
        table.add_column("% of peak FLOP/s")
    for name, each in answers.items():
        rates = speed(each)
        row = [
            name,
            f"{median(rates):.0f}",
            f"{min(rates):.0f} … {max(rates):.0f}",
            f"{median(ratios(answers, name)):.2f}",
            f"{median(one['tokens'] for one in each):.0f}",
            "–" if (memory := each[-1]["peak_bytes"]) is None else f"{memory / 2**30:.2f}",
        ]
        table.add_row(*row, *([f"{100 * median(rates) * flops_per_token / peak:.0f}"] if flops_per_token else []))
    console.print(table)


def bar(sentence: str, holds: bool) -> Bar:
    console.print(f"{'PASS' if holds else 'FAIL'}  {sentence}")
    return Bar(sentence, holds)


def at_least(name: str, values: Sequence[float], wanted: float) -> Bar:
    """The median, against what is wanted and against the committed baseline."""
    value, baseline = median(values), BASELINES.get(name)
    sentence = f"{name}: {value:.2f} (wanted {wanted:g}"
    sentence += f", baseline {baseline:g})" if baseline else ", no baseline)"
    return Bar(name, bar(sentence, value >= max(wanted, REGRESSED * (baseline or 0))).holds, value)


def same_work(answers: dict[str, list[Message]], peer: str, samples: int = 8) -> Bar:
    """Whether responses of both are as long, within three standard errors; those to one prompt go together."""
    ours, theirs = (_group_means(answers[name], samples) for name in ("ours", peer))
    mean, other = fmean(ours), fmean(theirs)
    error = (variance(ours) / len(ours) + variance(theirs) / len(theirs)) ** 0.5
    sentence = f"responses as long as {peer}'s: {mean:.1f} and {other:.1f} tokens, difference ± {error:.1f}"
    return bar(sentence, abs(mean - other) <= 3 * error)


def _group_means(answers: Sequence[Message], samples: int) -> list[float]:
    """Mean lengths of the responses to one prompt in one round."""
    return [
        fmean(each["lengths"][first : first + samples])
        for each in answers
        for first in range(0, len(each["lengths"]), samples)
    ]

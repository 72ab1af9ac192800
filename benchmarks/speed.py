"""How fast rollouts, updates and whole GRPO steps are, beside the peers that run on two CPU cores.

    python benchmarks/speed.py                        # everything; `make bench` builds the environments first
    python benchmarks/speed.py rollouts grpo          # some sections
    python benchmarks/speed.py --model DIR --rounds 3

The programs take turns (A B A B …) on the same work; what counts is the median of the ratios, round by round. An
absolute time says as much about the machine as about the program.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

from peers.protocol import Message, Worker
from rich.box import MARKDOWN
from rich.console import Console
from rich.table import Table

from rlsp.runs import write_json

console = Console(highlight=False, width=160)
Bar = tuple[str, bool]


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
        return self._worker(self.vllm_python, "vllm_cpu", VLLM_CPU_KVCACHE_SPACE="2", VLLM_LOGGING_LEVEL="ERROR")

    def _worker(self, python: Path, peer: str, **variables: str) -> Worker:
        return Worker(python, peer, self.out / f"{peer}.log", **variables)


def in_turn(workers: dict[str, Worker], request: Message, rounds: int, warmup: int = 1) -> dict[str, list[Message]]:
    """Everyone does the same, one after the other, round by round; what the warm-up said is left out."""
    answers: dict[str, list[Message]] = {name: [] for name in workers}
    for number in range(warmup + rounds):
        for name, worker in workers.items():
            seed = {"seed": number} if "prompts" in request else {}
            short = {"new_tokens": 8} if "prompts" in request and number < warmup else {}
            answers[name].append(worker.ask(**request | seed | short))
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
            f"{each[-1]['peak_bytes'] / 2**30:.2f}",
        ]
        table.add_row(*row, *([f"{100 * median(rates) * flops_per_token / peak:.0f}"] if flops_per_token else []))
    console.print(table)


def bar(sentence: str, holds: bool) -> Bar:
    console.print(f"{'PASS' if holds else 'FAIL'}  {sentence}")
    return sentence, holds


def at_least(name: str, values: Sequence[float], wanted: float) -> Bar:
    return bar(f"{name}: {median(values):.2f} (wanted {wanted:g})", median(values) >= wanted)


def same_work(answers: dict[str, list[Message]], peer: str) -> Bar:
    """Whether both sampled as many tokens, within what chance does to ragged lengths."""
    ours, theirs = (sum(each["tokens"] for each in answers[name]) for name in ("ours", peer))
    return bar(f"as many tokens as {peer}: {ours} and {theirs}", abs(ours - theirs) <= 0.1 * theirs)


# Rollouts


def rollouts(setting: Setting) -> list[Bar]:
    rng, bars = Random(0), []
    prompts = [[rng.randrange(1000, 40_000) for _ in range(32)] for _ in range(16)]
    with ExitStack() as stack:
        workers = {
            "ours": stack.enter_context(setting.ours()),
            "vllm": stack.enter_context(setting.vllm()),
            "generate": stack.enter_context(setting.generate()),
        }
        for worker in workers.values():
            worker.ask(do="load", model=setting.model, threads=setting.threads)
        request = {"do": "rollouts", "prompts": prompts, "samples": 8, "new_tokens": 128, "ragged": False}
        answers = in_turn(workers, request, setting.rounds)
        allowed = [workers["ours"].ask(do="ceiling", rows=128) for _ in range(10)]
        peak = workers["ours"].ask(do="peak")["flops_per_second"]
    show("SmolLM2-135M, 16 prompts × 8 samples of 128 new tokens", answers, allowed[0]["flops"] / 128, peak)
    share = median(speed(answers["ours"])) / median(speed(allowed))
    bars += [
        at_least("SmolLM2 rollouts ÷ vLLM", ratios(answers, "vllm"), 2),
        at_least("SmolLM2 rollouts ÷ generate", ratios(answers, "generate"), 2.5),
        at_least("share of what the matrix products alone allow", [share], 0.7),
    ]
    with ExitStack() as stack:
        pair = {"ours": stack.enter_context(setting.ours()), "generate": stack.enter_context(setting.generate())}
        for worker in pair.values():
            worker.ask(do="load", model=_nano(), threads=setting.threads)
        request = {"do": "rollouts", "prompts": _nano_prompts(64), "samples": 8, "new_tokens": 136, "ragged": True}
        answers = in_turn(pair, request, setting.rounds)
    show("nano, 512 ragged responses of at most 136 tokens", answers)
    return [*bars, same_work(answers, "generate"), at_least("nano rollouts ÷ generate", ratios(answers, "generate"), 5)]


def _nano() -> str:
    from rlsp.checkpoints import NANO_BASE

    return str(NANO_BASE)


def _nano_prompts(count: int) -> list[list[int]]:
    from rlsp.config import Recipe, load
    from rlsp.engines.stages import encode_prompts, held_out_problems
    from rlsp.models import load_tokenizer

    recipe = load(Recipe, "nano", [f"evaluation.problems={count}"])
    return [list(each.ids) for each in encode_prompts(load_tokenizer("nano"), held_out_problems(recipe), recipe)]


# GRPO steps

LENGTH_REWARD = ("exploration={length = {}}", "reward.alpha=0.5", "rl.kl_coefficient=0")
"""Responses of different lengths earn different rewards: advantages are not 0, and no rollout may be skipped."""


def grpo(setting: Setting) -> list[Bar]:
    common = [*LENGTH_REWARD, "rl.steps=100", "rl.samples_per_prompt=8"]
    nano = [*common, "rl.prompts_per_step=16", "rl.minibatch_rollouts=128", f"model.path={_nano()}"]
    large = [
        *common,
        "rl.prompts_per_step=4",
        "rl.minibatch_rollouts=32",
        f"model.path={setting.model}",
        "sampling.max_prompt_tokens=64",
        "sampling.max_response_tokens=128",
        "rl.actor_learning_rate=1e-6",
    ]
    bars = _grpo(setting, "nano", nano, wanted=4, microbatches=(128, 32), rounds=4 * setting.rounds)
    return bars + _grpo(setting, "SmolLM2-135M", large, wanted=2, microbatches=(16, 4), rounds=setting.rounds)


def _grpo(
    setting: Setting, name: str, settings: list[str], wanted: float, microbatches: Sequence[int], rounds: int
) -> list[Bar]:
    """Against TRL at the micro-batch that suits it best."""
    request = {"recipe": "nano-grpo", "settings": settings, "threads": setting.threads}
    best = max(microbatches, key=lambda each: _trl_speed(setting, request | {"microbatch": each}))
    with setting.ours() as ours, setting.trl() as trl:
        ours.ask(do="grpo", **request)
        trl.ask(**request, microbatch=best)
        answers = in_turn({"ours": ours, "TRL": trl}, {"do": "step"}, rounds)
    show(f"GRPO step of 128 rollouts, {name}; TRL's micro-batch: {best}", answers)
    memory = [answers[each][-1]["peak_bytes"] / 2**30 for each in ("ours", "TRL")]
    return [
        same_work(answers, "TRL"),
        at_least(f"{name} GRPO step ÷ TRL", ratios(answers, "TRL"), wanted),
        bar(f"{name} peak memory {memory[0]:.2f} GiB, TRL {memory[1]:.2f} GiB", memory[0] <= memory[1]),
    ]


def _trl_speed(setting: Setting, request: dict[str, Any]) -> float:
    with setting.trl() as trl:
        trl.ask(**request)
        return median(speed(in_turn({"TRL": trl}, {"do": "step"}, rounds=2)["TRL"]))


# Updates


def update(setting: Setting) -> list[Bar]:
    """Against the bare model on as many tokens, and against TRL's loss on the same batch."""
    rng = Random(0)
    bars = []
    for name, model, prompt, longest, tokens in (
        ("nano", _nano(), 20, 136, 2048),
        ("SmolLM2-135M", setting.model, 40, 128, 1024),
    ):
        lengths = [rng.randint(8, longest) for _ in range(128)]
        with setting.ours() as ours:
            ours.ask(do="load", model=model, threads=setting.threads)
            ours.ask(do="batch", lengths=lengths, prompt=prompt, microbatch_tokens=tokens)
            answers: dict[str, list[Message]] = {"ours": [], "bare": []}
            for _ in range(1 + setting.rounds):
                answers["ours"].append(ours.ask(do="update"))
                answers["bare"].append(ours.ask(do="bare"))
        answers = {each: rounds[1:] for each, rounds in answers.items()}
        show(f"Update on 128 ragged responses, {name}", answers)
        bars.append(at_least(f"{name} update ÷ bare model", ratios(answers, "bare"), 0.8))
    return [*bars, _same_loss(setting)]


def _same_loss(setting: Setting) -> Bar:
    lengths = [7, 31, 2, 18, 25, 1, 12, 30]
    settings = [*LENGTH_REWARD, "rl.prompts_per_step=1", "rl.minibatch_rollouts=8", f"model.path={_nano()}"]
    with setting.ours() as ours, setting.trl() as trl:
        ours.ask(do="load", model=_nano(), threads=setting.threads)
        ours.ask(do="batch", lengths=lengths, prompt=20, microbatch_tokens=200)
        here = ours.ask(do="loss")
        batch = {"lengths": lengths, "prompt": 20}
        request = {"recipe": "nano-grpo", "settings": settings, "threads": setting.threads, "microbatch": 8}
        there = trl.ask(**request, batch=batch)
    close = all(abs(here[each] - there[each]) <= 1e-4 * abs(there[each]) for each in ("loss", "gradient"))
    numbers = ", ".join(f"{each} {here[each]:.6f} and {there[each]:.6f}" for each in ("loss", "gradient"))
    return bar(f"the same loss as TRL on a fixed batch: {numbers}", close)


SECTIONS: dict[str, Callable[[Setting], list[Bar]]] = {"rollouts": rollouts, "grpo": grpo, "update": update}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", choices=[*SECTIONS, []], default=list(SECTIONS))
    parser.add_argument("--model", default="models/SmolLM2-135M-Instruct")
    parser.add_argument("--python", type=Path, default=Path(".venv-bench/bin/python"))
    parser.add_argument("--vllm-python", type=Path, default=Path(".venv-vllm/bin/python"))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("runs/speed"))
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    kept = {key: value for key, value in vars(arguments).items() if key != "sections"}
    setting = Setting(**kept)
    bars = {name: SECTIONS[name](setting) for name in arguments.sections}
    write_json(arguments.out / "bars.json", json.loads(json.dumps(bars)))
    return 0 if all(holds for each in bars.values() for _, holds in each) else 1


if __name__ == "__main__":
    sys.exit(main())

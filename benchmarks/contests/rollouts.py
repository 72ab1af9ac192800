"""Sampling: this project, vLLM's build for CPUs and Hugging Face `generate`."""

from __future__ import annotations

from contextlib import ExitStack
from random import Random
from statistics import median

from contests.common import NANO, Bar, Setting, at_least, console, in_turn, ratios, same_work, show, speed
from rlsp.config import Recipe, load
from rlsp.engines.drawing import held_out_problems
from rlsp.engines.stages import encode_prompts
from rlsp.models import load_tokenizer

CLOSE = 5
"""Rounds of a close race: what else the machine does comes and goes by the minute."""


def rollouts(setting: Setting) -> list[Bar]:
    rng = Random(0)
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
        answers = in_turn(workers, request, max(CLOSE, setting.rounds))
        allowed, packed = (
            [workers["ours"].ask(do="ceiling", rows=128, packed=packed) for _ in range(10)] for packed in (False, True)
        )
        peak = workers["ours"].ask(do="peak")["flops_per_second"]
    show("SmolLM2-135M, 16 prompts × 8 samples of 128 new tokens", answers, allowed[0]["flops"] / 128, peak)
    share, of_packed = (median(speed(answers["ours"])) / median(speed(each)) for each in (allowed, packed))
    console.print(f"of what products of packed matrices alone allow: {of_packed:.2f}; peak {peak / 1e9:.0f} GFLOP/s")
    bars = [
        at_least("SmolLM2 rollouts ÷ vLLM", ratios(answers, "vllm"), 2),
        at_least("SmolLM2 rollouts ÷ generate", ratios(answers, "generate"), 2.5),
        at_least("share of what torch.mm of the matrices alone allows", [share], 0.7),
    ]
    with ExitStack() as stack:
        pair = {"ours": stack.enter_context(setting.ours()), "generate": stack.enter_context(setting.generate())}
        for worker in pair.values():
            worker.ask(do="load", model=NANO, threads=setting.threads)
        request = {"do": "rollouts", "prompts": nano_prompts(64), "samples": 8, "new_tokens": 136, "ragged": True}
        answers = in_turn(pair, request, 4 * setting.rounds)  # each takes a fraction of a second
    show("nano, 512 ragged responses of at most 136 tokens", answers)
    return [
        *bars,
        same_work(answers, "generate"),
        at_least("nano rollouts ÷ generate", ratios(answers, "generate"), 5),
    ]


def nano_prompts(count: int) -> list[list[int]]:
    recipe = load(Recipe, "nano", [f"evaluation.problems={count}"])
    return [list(each.ids) for each in encode_prompts(load_tokenizer("nano"), held_out_problems(recipe), recipe)]

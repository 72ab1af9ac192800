"""Updates against the bare model, and the loss against TRL's."""

from __future__ import annotations

from random import Random

from peers.protocol import Message

from contests.common import NANO, Bar, Setting, at_least, bar, ratios, show
from contests.grpo import LENGTH_REWARD


def update(setting: Setting) -> list[Bar]:
    """Against the bare model on as many tokens, and against TRL's loss on the same batch; what log-probs take."""
    rng = Random(0)
    bars = []
    for name, model, rollouts, prompt, longest, tokens in (
        ("nano", NANO, 256, 20, 136, 2048),
        ("SmolLM2-135M", setting.model, 48, 40, 128, 512),
    ):
        lengths = [rng.randint(8, longest) for _ in range(rollouts)]
        with setting.ours() as ours:
            ours.ask(do="load", model=model, threads=setting.threads)
            made = ours.ask(do="batch", lengths=lengths, prompt=prompt, microbatch_tokens=tokens)
            answers: dict[str, list[Message]] = {"ours": [], "bare": []}
            for _ in range(1 + setting.rounds):
                answers["ours"].append(ours.ask(do="update"))
                answers["bare"].append(ours.ask(do="bare"))
            peak = ours.ask(do="peak")["flops_per_second"]
        answers = {each: rounds[1:] for each, rounds in answers.items()}
        title = f"Update on {rollouts} ragged responses, {name}; {made['padding']:.1%} padding"
        show(title, answers, made["flops_per_token"], peak)
        bars.append(at_least(f"{name} update ÷ bare model", ratios(answers, "bare"), 0.8))
    return [*bars, _same_loss(setting), _logprob_memory(setting)]


def _same_loss(setting: Setting) -> Bar:
    lengths = [7, 31, 2, 18, 25, 1, 12, 30]
    settings = [*LENGTH_REWARD, "rl.prompts_per_step=1", "rl.minibatch_rollouts=8", f"model.path={NANO}"]
    with setting.ours() as ours, setting.trl() as trl:
        ours.ask(do="load", model=NANO, threads=setting.threads)
        ours.ask(do="batch", lengths=lengths, prompt=20, microbatch_tokens=200)
        here = ours.ask(do="loss")
        batch = {"lengths": lengths, "prompt": 20}
        request = {"recipe": "nano-grpo", "settings": settings, "threads": setting.threads, "microbatch": 8}
        there = trl.ask(**request, batch=batch)
    close = all(abs(here[each] - there[each]) <= 1e-4 * abs(there[each]) for each in ("loss", "gradient"))
    numbers = ", ".join(f"{each} {here[each]:.6f} and {there[each]:.6f}" for each in ("loss", "gradient"))
    return bar(f"the same loss as TRL on a fixed batch: {numbers}", close)


VOCABULARY = 50_000


def _logprob_memory(setting: Setting) -> Bar:
    """What four times the tokens add to the log-prob step's peak, forward and backward, against their logits."""
    fewer, more = 2048, 8192
    peaks = []
    for tokens in (fewer, more):
        with setting.ours() as ours:
            peaks.append(ours.ask(do="logprobs", tokens=tokens, vocabulary=VOCABULARY)["peak_bytes"])
    grown, logits = peaks[1] - peaks[0], 4 * VOCABULARY * (more - fewer)
    sentence = (
        f"log-probs of {more} tokens take {grown / 2**20:.0f} MiB more than of {fewer}; logits: {logits / 2**20:.0f}"
    )
    return bar(sentence, grown <= 0.2 * logits)

"""The reward server under load: 64 clients, hostile and slow responses, killed workers, wrong tokens.

make test-integrations
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil

from rlsp.types import Problem, to_json
from tests.test_reward_server import Served

CLIENTS, REQUESTS, ITEMS = 64, 6, 4
SLOW = "\\boxed{" + "\\sin(" * 60 + "x" + ")" * 60 + "}"
"""Compared with \\cos(x), it takes longer than the deadline."""
HOSTILE = (
    "\\boxed{9^{9^{9^{9^9}}}}", "\\boxed{" * 2000, "\x00\u202e\\boxed{-1}", "\\boxed{__import__('os').system('true')}",
    "x" * 100_000, "\\boxed{" + "(" * 5000 + ")" * 5000 + "}",
)  # fmt: skip
MOST_GROWTH_MIB = 50
RECIPE = """
name = "served"
model.path = "nano"
task = {name = "data", data = "none.jsonl"}
sampling = {max_prompt_tokens = 64, max_response_tokens = 64, cache_tokens = 1024}
evaluation.problems = 1

[rl]
steps = 10
prompts_per_step = 1
samples_per_prompt = 2
minibatch_rollouts = 2
actor_learning_rate = 1e-5
critic_learning_rate = 1e-4
microbatch_tokens = 1024
"""


def item(rng: random.Random, name: str) -> tuple[str, bool, dict[str, Any]]:
    """(kind, whether it is right, what is sent): answers that no other request has."""
    answer = rng.randrange(10**6)
    kind = rng.choices(("plain", "hostile", "slow"), (0.8, 0.17, 0.03))[0]
    right = kind == "plain" and rng.random() < 0.5
    given = answer if right else answer + 1 + rng.randrange(9)
    response = f"\\boxed{{{given}}}" if kind == "plain" else SLOW if kind == "slow" else rng.choice(HOSTILE)
    reference = "\\cos(x)" if kind == "slow" else str(answer)
    return kind, right, {"problem": to_json(Problem(name, "math", "Which?", reference)), "response": response}


def test_no_answer_is_lost_or_mixed_up(tmp_path: Path) -> None:
    recipe = tmp_path / "served.toml"
    recipe.write_text(RECIPE)
    served = Served(str(recipe), "--deadline", "0.5")
    process = psutil.Process(served.process.pid)
    ended, killed = threading.Event(), 0

    def kill() -> None:
        """A worker now and then, as the system does when memory runs out."""
        nonlocal killed
        rng = random.Random(0)
        while not ended.wait(1.0):
            try:
                workers = [each for each in process.children(recursive=True) if each.children() == []]
                if workers:
                    rng.choice(workers).kill()
                    killed += 1
            except psutil.NoSuchProcess:  # it was late with an answer, and the pool was faster
                pass

    def client(number: int) -> list[tuple[list[tuple[str, bool, dict[str, Any]]], Any]]:
        rng, seen = random.Random(number), []
        for turn in range(REQUESTS):
            items = [item(rng, f"{number}-{turn}-{place}") for place in range(ITEMS)]
            body = {"items": [sent for *_, sent in items]}
            if rng.random() < 0.1:
                assert served.ask("/score", body, token="wrong" * 4)[0] == 401
            for _ in range(60):
                status, answer = served.ask("/score", body)
                if status != 503:
                    break
                time.sleep(1)
            assert status == 200, answer
            seen.append((items, answer["scores"]))
        return seen

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        with ThreadPoolExecutor(CLIENTS) as clients:
            answers = [each for some in clients.map(client, range(CLIENTS)) for each in some]
            began = process.memory_info().rss  # with everything loaded, and every thread's memory taken
            answers += [each for some in clients.map(client, range(CLIENTS, 2 * CLIENTS)) for each in some]
    finally:
        ended.set()
        killer.join()
    grown = (process.memory_info().rss - began) / 2**20
    judged: Counter[str] = Counter()
    for items, scores in answers:
        assert len(scores) == len(items)
        for (kind, right, sent), score in zip(items, scores, strict=True):
            assert score["problem_id"] == sent["problem"]["id"], "another one's answer"
            verdict = score["verdict"]
            judged[f"{kind}: {verdict['reason']}"] += 1
            if verdict["reason"] not in ("crashed", "timeout"):
                assert verdict["correct"] is right, (sent["response"][:80], verdict)
    print(
        f"\n{judged.total()} responses, {dict(judged.most_common())}; {killed} workers killed; memory +{grown:.0f} MiB"
    )
    assert judged.total() == 2 * CLIENTS * REQUESTS * ITEMS and killed > 0
    assert judged["plain: match"] > 0.3 * judged.total() and judged["slow: timeout"] > 0
    assert served.ask("/health", None, None, "GET")[1]["queued"] == 0
    workers = process.children(recursive=True)
    assert served.end() == 0
    assert psutil.wait_procs(workers, timeout=30)[1] == [], "no worker outlives the server"
    assert grown < MOST_GROWTH_MIB

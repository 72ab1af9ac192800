"""OpenRLHF's own executor calls the file that a recipe was exported to:

make test-integrations
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from openrlhf.utils.agent import SingleTurnAgentExecutor
from typer.testing import CliRunner

from rlsp.cli import app
from rlsp.config import Recipe, load
from rlsp.integrations.scorer import Answered, Scorer
from rlsp.models import load_tokenizer
from rlsp.types import Problem, from_json

TEXTS = ("1 + 1 = 2", "nonsense", "3 * 4 = 12, 12 + 5 = 17; is it 17? yes", "")


class Engine:
    """Says what it is told to, as vLLM would."""

    def __init__(self, ids: list[int], finish: str) -> None:
        self.ids, self.finish = ids, finish

    async def generate(self, *_: Any, **__: Any) -> Any:
        return SimpleNamespace(outputs=[SimpleNamespace(token_ids=self.ids, finish_reason=self.finish, logprobs=None)])


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("export") / "nano"
    done = CliRunner().invoke(app, ["export", "nano", "--engine", "openrlhf", "--out", str(out), "--set", "rl.steps=5"])
    assert done.exit_code == 0, done.output
    assert f"--reward.remote_url {out / 'reward.py'}" in " ".join(done.output.split())
    return out


def test_the_executor_pays_what_the_native_engine_pays(exported: Path) -> None:
    tokenizer = load_tokenizer("nano")
    rows = [json.loads(line) for line in (exported / "prompts.jsonl").read_text().splitlines()]
    assert len(rows) == 5 * 64
    executor = SingleTurnAgentExecutor([str(exported / "reward.py")])
    sampling = SimpleNamespace(max_tokens=136, logprobs=None)
    scorer = Scorer(load(Recipe, "nano", []))
    for row, text in zip(rows, TEXTS, strict=False):
        ids = [*tokenizer(text, add_special_tokens=False).input_ids, tokenizer.eos_token_id]
        found = asyncio.run(executor.execute(row["input"], row["label"], sampling, 256, tokenizer, Engine(ids, "stop")))
        problem = from_json(Problem, json.loads(row["label"]))
        (score,) = scorer.score([Answered(problem, text, tuple(ids), False)])
        assert found["reward"] is not None, "an exception of ours would be logged and lost"
        assert found["reward"].tolist() == pytest.approx([score.total])
        assert found["scores"].tolist() == [float(score.verdict.correct)]
        assert found["extra_logs"]["explore"].tolist() == pytest.approx([score.exploration.value])


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("reward.mix=advantage", "one number a response"),
        ("reward.truncation=mask", "out of the loss"),
        ("exploration=novelty", "compares siblings"),
    ],
)
def test_what_openrlhf_cannot_do_is_refused(tmp_path: Path, setting: str, words: str) -> None:
    out = tmp_path / "out"
    arguments = ["export", "nano", "--engine", "openrlhf", "--out", str(out), "--set", setting]
    refused = CliRunner().invoke(app, arguments)
    assert words in str(refused.exception) and not out.exists()

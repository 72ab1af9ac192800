"""What verl reads: problems as parquet, in the columns of its own data set class."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from transformers import PreTrainedTokenizerBase

from rlsp.config import Recipe
from rlsp.engines.verl.files import HELD_OUT
from rlsp.prompts import encode_prompt, instruct, user_text
from rlsp.sft import Example
from rlsp.types import Problem, to_json


def row(
    problem: Problem, index: int, tokenizer: PreTrainedTokenizerBase, recipe: Recipe, held_out: bool
) -> dict[str, Any]:
    """One prompt. `extra_info.prompt_ids` are the tokens that the policy gets; `ground_truth` is the whole problem."""
    prompt = encode_prompt(tokenizer, problem, instruct(problem, recipe))
    return {
        "data_source": problem.task,
        "prompt": [{"role": "user", "content": user_text(problem, recipe)}],
        "reward_model": {"style": "rule", "ground_truth": json.dumps(to_json(problem), ensure_ascii=False)},
        "extra_info": {"index": index, "prompt_ids": list(prompt.ids), "held_out": held_out},
    }


def write_prompts(path: Path, problems: Sequence[Problem], tokenizer: PreTrainedTokenizerBase, recipe: Recipe) -> None:
    """Prompts in the problems' order; those in a file of the name HELD_OUT are not trained on."""
    rows = [row(problem, index, tokenizer, recipe, path.name == HELD_OUT) for index, problem in enumerate(problems)]
    pq.write_table(pa.Table.from_pylist(rows), path)


def write_demonstrations(path: Path, examples: Sequence[Example]) -> None:
    """Demonstrations as token sequences."""
    rows = [{"input_ids": list(each.ids), "response_start": each.response_start} for each in examples]
    pq.write_table(pa.Table.from_pylist(rows), path)

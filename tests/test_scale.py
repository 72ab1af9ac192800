"""What docs/scale.md says the cluster recipes need is what benchmarks/cluster.py prints, and that is what one gets by
hand."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def tables() -> list[str]:
    """(memory, GPU-hours)"""
    command = [sys.executable, str(ROOT / "benchmarks" / "cluster.py")]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip().split("\n\n")


def test_the_page_has_the_tables_of_the_command(tables: list[str]) -> None:
    page = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
    assert len(tables) == 2 and all(table in page for table in tables)


def test_the_papers_first_experiment_by_hand(tables: list[str]) -> None:
    """8.03 B parameters: policy and critic 16 bytes each and a reference of 4, over 16 GPUs; 102,400 responses of 1000
    tokens to prompts of 130 at 1562 a second, 5/3 of GRPO's work; SFT of 880 M tokens at 6 operations a parameter."""
    memory, hours = (next(row for row in table.splitlines() if "llama31" in row).split(" | ") for table in tables)
    assert memory[2] == f"{36 * 8.03 / 16:.0f}" == "18"
    taught = 6 * 8.03e9 * 880e6 / (989e12 * 0.4) / 3600
    learned = [102_400 * (130 + length) / 1562 / 3600 * 5 / 3 for length in (1000, 4096)]
    assert hours[3:5] == [f"{taught:.0f}", f"{learned[0]:.0f}–{learned[1]:.0f}"]

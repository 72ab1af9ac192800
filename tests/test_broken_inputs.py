"""Every broken input of the corpus ends in one paragraph that names value, reason and fix, and leaves no trace."""

from __future__ import annotations

import hashlib
import io
import logging
import re
import sys
import tempfile
from pathlib import Path

import pytest
from transformers.utils import logging as transformers_logging

from rlsp.cli import main
from tests.broken import Broken, data, models, recipes, responses, runs

CORPUS = [*recipes.CASES, *data.CASES, *responses.CASES, *models.CASES, *runs.CASES]


def contents(folder: Path) -> dict[str, str]:
    """What stands at each path below a folder."""
    found = {}
    for path in folder.rglob("*"):
        if path.is_symlink():
            found[str(path)] = f"link to {path.readlink()}"
        elif path.is_dir():
            found[str(path)] = "directory"
        else:
            found[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def call(command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> tuple[object, str]:
    """(exit code, standard error with the warnings of libraries)"""
    errors = io.StringIO()
    monkeypatch.setattr(sys, "stderr", errors)
    monkeypatch.setattr(sys, "argv", ["rlsp", *command])
    handler = logging.StreamHandler(errors)
    transformers_logging.add_handler(handler)
    try:
        with pytest.raises(SystemExit) as exit:
            main()
    finally:
        transformers_logging.remove_handler(handler)
    return exit.value.code, errors.getvalue()


@pytest.fixture
def folder(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory; temporary files would stand in it, too."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path_factory.getbasetemp() / "inductor"))
    return tmp_path


@pytest.mark.parametrize("broken", CORPUS, ids=lambda broken: broken.title)
def test_it_is_refused_in_one_paragraph_and_leaves_no_trace(
    broken: Broken, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken.harm(folder)
    before = contents(folder)
    code, said = call(broken.command, monkeypatch)
    assert code == 2, said
    assert said.startswith("error: ") and len(re.findall("^error: ", said, re.MULTILINE)) == 1, said
    assert "\n\n" not in said.strip() and "Traceback" not in said, said
    assert len(said) < 1500, "a paragraph can be read"
    assert re.search(broken.names, said, re.DOTALL), said
    assert re.search(broken.fix, said, re.DOTALL), said
    assert contents(folder) == before


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("run", "nano", "--nope"), "No such option: --nope"),
        (("run",), "Missing argument 'recipe'"),
        (("sample", "nano"), "Missing option"),
        (("tasks", "show", "countdown", "--count", "-1"), "greater than or equal to 1"),
        (("tasks", "show", "countdown", "--count", "x"), "a valid integer"),
        (("nope",), "No such command 'nope'"),
    ],
)
def test_a_command_line_that_can_not_be_parsed_exits_alike(
    command: tuple[str, ...], words: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, said = call(command, monkeypatch)
    assert code == 2 and words in said, said


def test_the_corpus_is_large_and_its_titles_differ() -> None:
    titles = [broken.title for broken in CORPUS]
    assert len(set(titles)) == len(titles) >= 390

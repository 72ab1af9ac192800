"""What is written comes back, files appear whole or not at all, broken ones are named."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard

from rlsp import files
from rlsp.errors import InputError
from rlsp.types import Demonstration, Exploration, Finish, Problem, Reason, Rollout, Score, Verdict

PROBLEM = Problem("chain-sum/1+2", "chain-sum", "Compute 1 + 2.", "3", 1, "generated")
ROLLOUT = Rollout("chain-sum/1+2", 0, (1,), (2, 3), (-0.1, -2.5), "1 + 2 = 3\u2028 − é 思\n\r", Finish.EOS, 1.0, 4)
VERDICT = Verdict(False, "", Reason.GIVEN_UP)
EXPLORATION = Exploration(-1 / 3, {"length": -1 / 3})
RECORDS: list[list[Any]] = [
    [PROBLEM, Problem("x", "math", "", "")],
    [ROLLOUT] * 3,
    [VERDICT],
    [EXPLORATION],
    [Score("a", 1, VERDICT, EXPLORATION, 0.8, -0.066)],
    [Demonstration(PROBLEM, "1 + 2 = 3", "search")],
]


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.zst", ".jsonl.gz"])
@pytest.mark.parametrize("records", RECORDS, ids=lambda records: type(records[0]).__name__)
def test_records_come_back(tmp_path: Path, records: list[Any], suffix: str) -> None:
    path = tmp_path / "deep" / f"records{suffix}"
    files.write_records(path, records)
    assert list(files.read_records(path, type(records[0]))) == records


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.zst", ".jsonl.gz"])
def test_no_records_come_back_as_none(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"records{suffix}"
    files.write_records(path, [])
    assert list(files.read_records(path, Problem)) == []


def test_zst_and_gz_are_compressed_and_plain_is_one_object_a_line(tmp_path: Path) -> None:
    records = [ROLLOUT] * 200
    for suffix in ("", ".zst", ".gz"):
        files.write_records(tmp_path / f"a.jsonl{suffix}", records)
    plain = (tmp_path / "a.jsonl").read_bytes()
    assert plain.count(b"\n") == 200
    assert json.loads(plain.split(b"\n")[7])["text"] == ROLLOUT.text
    assert (tmp_path / "a.jsonl.zst").stat().st_size < len(plain) / 10
    packed = (tmp_path / "a.jsonl.gz").read_bytes()
    assert len(packed) < len(plain) / 10
    assert gzip.decompress(packed) == plain


def test_records_of_several_zst_blocks_come_back(tmp_path: Path) -> None:
    records = [Problem(str(number), "math", f"{number} " * 50, "1") for number in range(3000)]
    files.write_records(tmp_path / "a.jsonl.zst", records)
    assert list(files.read_records(tmp_path / "a.jsonl.zst", Problem)) == records


SKIPPABLE = b"\x50\x2a\x4d\x18\x03\x00\x00\x00pad"
"""A frame that decoders pass over, as parallel compressors write them."""


def frames_of(count: int) -> list[bytes]:
    return [zstandard.compress(b'{"number": %d}\n' % number) for number in range(count)]


def test_every_frame_of_zst_is_read(tmp_path: Path) -> None:
    path, count = tmp_path / "a.jsonl.zst", 3000
    path.write_bytes(SKIPPABLE + SKIPPABLE.join(frames_of(count)) + SKIPPABLE)
    assert path.stat().st_size > 3 * files.ZST_PIECE
    assert [values["number"] for _, values in files.read_lines(path)] == list(range(count))


@pytest.mark.parametrize("cut", [1, 5, 12])
def test_a_later_frame_cut_short_is_refused(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "a.jsonl.zst"
    path.write_bytes(b"".join(frames_of(3))[:-cut])
    with pytest.raises(InputError, match=r"a\.jsonl\.zst: can't be read as JSONL: the compressed data is cut short"):
        list(files.read_lines(path))


def test_what_follows_the_frames_and_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.zst"
    path.write_bytes(b"".join(frames_of(2)) + b'{"number": 2}')
    with pytest.raises(InputError, match=r"a\.jsonl\.zst: can't be read as JSONL"):
        list(files.read_lines(path))


def test_json_nested_too_deeply_is_named(tmp_path: Path) -> None:
    path = tmp_path / "deep.jsonl"
    path.write_text("{}\n" + "[" * 200_000 + "\n")
    with pytest.raises(InputError, match=r"deep\.jsonl:2: not JSON: nested too deeply"):
        list(files.read_lines(path))
    with pytest.raises(InputError, match=r"deep\.json: can't be read as JSON: nested too deeply"):
        (tmp_path / "deep.json").write_text('{"a":' * 200_000)
        files.read_json(tmp_path / "deep.json")


def test_wrong_record_names_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "problems.jsonl"
    files.write_records(path, [PROBLEM])
    path.write_text(path.read_text() + "\n" + '{"id": "only"}\n')
    records = files.read_records(path, Problem)
    assert next(records) == PROBLEM
    with pytest.raises(InputError, match=r"problems\.jsonl:3: not a Problem: task"):
        next(records)


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.zst"])
def test_broken_line_names_the_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"problems{suffix}"
    path.write_bytes(b'{"id": \n')
    with pytest.raises(InputError, match=r"problems\.jsonl"):
        list(files.read_records(path, Problem))


def test_broken_line_names_the_line(tmp_path: Path) -> None:
    path = tmp_path / "problems.jsonl"
    path.write_text('{}\n{}\n{"id": \n')
    with pytest.raises(InputError, match=r"problems\.jsonl:3"):
        list(files.read_lines(path))


@pytest.mark.parametrize("name", ["missing.jsonl", "missing.jsonl.zst"])
def test_missing_file_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=name):
        list(files.read_records(tmp_path / name, Problem))


@pytest.mark.parametrize("kept", [0, 20, -1])
def test_truncated_zst_is_refused(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "problems.jsonl.zst"
    files.write_records(path, [PROBLEM] * 5)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(InputError, match=r"problems\.jsonl\.zst"):
        list(files.read_records(path, Problem))


def test_any_text_that_json_can_hold_is_written(tmp_path: Path) -> None:
    verdict = Verdict(False, json.loads('"\\ud800"'), Reason.MISMATCH)
    files.write_records(tmp_path / "a.jsonl", [verdict])
    assert list(files.read_records(tmp_path / "a.jsonl", Verdict)) == [verdict]


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def test_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.json"
    files.write_json(path, {"old": True})

    def full_disk(_: int) -> None:
        assert len(names(tmp_path)) == 2, "the new content is written beside the old one"
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(InputError, match="No space left"):
        files.write_json(path, {"new": True})
    assert names(tmp_path) == ["a.json"]
    assert files.read_json(path) == {"old": True}


def test_interrupted_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        files.write_text(tmp_path / "report.html", "text")
    assert names(tmp_path) == []


def test_failing_source_of_records_leaves_nothing(tmp_path: Path) -> None:
    def source() -> Iterator[Problem]:
        yield PROBLEM
        raise RuntimeError("the judge died")

    with pytest.raises(RuntimeError, match="the judge died"):
        files.write_records(tmp_path / "a.jsonl", source())
    assert names(tmp_path) == []


def test_metrics_are_appended_a_line_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "rl" / "metrics.jsonl"
    files.JsonLines(path).write({"step": 1, "reward": 0.25})
    assert list(files.read_lines(path)) == [(1, {"step": 1, "reward": 0.25})], "flushed at once"
    files.JsonLines(path).write({"step": 2})
    assert [values["step"] for _, values in files.read_lines(path)] == [1, 2]


def test_what_is_read_is_not_written_over(tmp_path: Path) -> None:
    source = tmp_path / "source.jsonl"
    source.write_text("{}")
    with pytest.raises(InputError, match="is what is read"):
        files.check_writable(tmp_path / "." / "source.jsonl", overwrite=True, read=(None, source))
    with pytest.raises(InputError, match=r"is what is read: .* another --spans"):
        files.check_writable(source, overwrite=True, read=(tmp_path,), option="--spans")
    files.check_writable(tmp_path / "new.jsonl", overwrite=True, read=(tmp_path,))


@pytest.mark.skipif(not Path("/proc/version").exists(), reason="needs a /proc")
def test_a_place_that_takes_no_files_is_refused_before_any_work() -> None:
    with pytest.raises(InputError, match="can't be written into /proc"):
        files.check_writable(Path("/proc/results.jsonl"), overwrite=False)
    with pytest.raises(InputError, match="can't be written: No such file"):
        files.write_records(Path("/proc/results.jsonl"), [])

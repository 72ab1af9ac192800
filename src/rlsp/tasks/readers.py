"""From a data reference to rows: files, the Hugging Face Hub and benchmarks on it. `READERS` is the table of files.

pyarrow and datasets are imported when a reference needs them.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rlsp.config import is_file_reference
from rlsp.errors import InputError
from rlsp.files import read_lines
from rlsp.tasks.benchmarks import BENCHMARKS

Row = dict[str, Any]
Rows = Iterator[tuple[str, Row]]
"""(where the row stands: file and line, the row)"""

MAX_CSV_FIELD = 2**31 - 1
"""Characters of one value; the csv module's own limit of 131072 is shorter than the tests of a coding problem."""
FORMS = "a file, a benchmark, hub:OWNER/NAME[/SUBSET][@SPLIT] or gym:TASK"
_HUB = re.compile(r"hub:(?P<name>[\w.-]+/[\w.-]+)(?:/(?P<subset>[\w.-]+))?(?:@(?P<split>[\w.\[\]:%-]+))?")


def read_rows(reference: str) -> Rows:
    """The rows of a file, a benchmark or a Hub data set, as they are stored.

    Raises:
        InputError: there is no such data, it can't be read, or a row is broken.
    """
    name, _, split = reference.partition("@")
    if name in BENCHMARKS:
        return _read_benchmark(name, split)
    if is_file_reference(reference):
        return _read_file(Path(reference))
    if match := _HUB.fullmatch(reference):
        return _read_hub(match["name"], match["subset"], match["split"])
    raise InputError(f"no data {reference!r}: give {FORMS}; benchmarks: {', '.join(BENCHMARKS)}")


def source_of(reference: str) -> str:
    """A short name for the data: a file's name without its endings, else the reference."""
    return Path(reference).name.partition(".")[0] if is_file_reference(reference) else reference


def _read_file(path: Path) -> Rows:
    ending = next((ending for ending in READERS if path.name.lower().endswith(ending)), None)
    if ending is None:
        raise InputError(f"{path}: no reader for this ending; there are {', '.join(READERS)}")
    return READERS[ending](path)


def _read_jsonl(path: Path) -> Rows:
    for number, row in read_lines(path):
        where = f"{path}:{number}"
        if not isinstance(row, dict):
            raise InputError(f"{where}: a JSON object is needed, got {str(row)[:60]!r}; write one object a line")
        yield where, row


def _read_csv(path: Path) -> Rows:
    """Every value stays the text it is. A line number is that of the row's last line."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            csv.field_size_limit(MAX_CSV_FIELD)
            lines = csv.reader(file, strict=True)
            header = next(lines, [])
            if not header or "" in header or len(set(header)) < len(header):
                raise InputError(
                    f"{path}: the first line must name every column, each differently; it is {header!r:.200}"
                )
            for row in lines:
                if row and len(row) != len(header):
                    raise InputError(
                        f"{path}:{lines.line_num}: {len(row)} values for {len(header)} columns; quote values that "
                        "hold commas or line breaks"
                    )
                if row:
                    yield f"{path}:{lines.line_num}", dict(zip(header, row, strict=True))
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: can't be read as CSV: {error}; save it as UTF-8") from None
    except (OSError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path}: can't be read as CSV: {reason}; give another file, or correct it") from None


def _read_parquet(path: Path) -> Rows:
    from pyarrow import ArrowException
    from pyarrow.parquet import ParquetFile

    try:
        with ParquetFile(path) as file:
            number = 0
            for batch in file.iter_batches(batch_size=1000):
                for row in batch.to_pylist():
                    number += 1
                    yield f"{path}: row {number}", row
    except (OSError, ArrowException, ValueError, OverflowError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: can't be read as Parquet: {reason:.300}; write the file again") from None


READERS: dict[str, Callable[[Path], Rows]] = {
    ".jsonl": _read_jsonl,
    ".jsonl.zst": _read_jsonl,
    ".jsonl.gz": _read_jsonl,
    ".csv": _read_csv,
    ".parquet": _read_parquet,
}
"""A file's ending: what reads it."""


def _read_benchmark(name: str, split: str) -> Rows:
    benchmark = BENCHMARKS[name]
    split = split or next(iter(benchmark.splits))
    if split not in benchmark.splits:
        raise InputError(f"benchmark {name!r} has no split {split!r}; it has {', '.join(benchmark.splits)}")
    for where, row in _read_hub(benchmark.hub, benchmark.subset, split):
        if not any(str(row.get(column)) == value for column, value in benchmark.without.items()):
            yield where, row


def _read_hub(name: str, subset: str | None, split: str | None) -> Rows:
    """One split of a Hub data set; without `split` the data set must have only one."""
    import datasets

    try:
        data = datasets.load_dataset(name, subset, split=split)
    except Exception as error:  # datasets, huggingface_hub and httpx raise errors of many unrelated types
        reason = (str(error).strip().splitlines() or ["no reason given"])[0]
        raise InputError(
            f"Hub data set {name}: can't be loaded: {type(error).__name__}: {reason:.300}; if the Hub can't be "
            "reached, download a file of it elsewhere and give that"
        ) from None
    if isinstance(data, dict):
        if len(data) != 1:
            raise InputError(f"Hub data set {name} has several splits: write hub:{name}@SPLIT with {', '.join(data)}")
        data = next(iter(data.values()))
    for number, row in enumerate(data, 1):
        yield f"{name}: row {number}", dict(row)

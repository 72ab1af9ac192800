"""Broken files of questions: JSONL, CSV, Parquet, compressed or not."""

from __future__ import annotations

import gzip
import io
import json
from typing import Any

import pyarrow
import pyarrow.parquet
import zstandard

from tests.broken import Broken, Harm, both, directory, link, write

ROWS = [{"question": "1+1?", "answer": "2"}, {"question": "1+2?", "answer": "3"}]
OWN = {"id": "mine/1", "task": "math", "question": "1+1?", "answer": "2", "level": 0, "source": "", "grading": {}}


def lines(*rows: Any) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


GOOD = lines(*ROWS)
ZST = zstandard.ZstdCompressor(write_checksum=True).compress(GOOD.encode() * 50)
GZ = gzip.compress(GOOD.encode() * 50, mtime=0)


def parquet(**columns: Any) -> bytes:
    file = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(columns), file)
    return file.getvalue()


def flipped(content: bytes, position: int) -> bytes:
    return content[:position] + bytes([content[position] ^ 0xFF]) + content[position + 1 :]


def not_utf8() -> pyarrow.Array:
    """A column that says it is text."""
    return pyarrow.Array.from_buffers(pyarrow.string(), 1, pyarrow.array([b"\xff\xfe"], pyarrow.binary()).buffers())


PARQUET = parquet(question=["1+1?"], answer=["2"])


def of_file(title: str, name: str, content: str | bytes, names: str, fix: str, more: str = "") -> Broken:
    command = ("tasks", "filter", name, "--out", "out.jsonl", *more.split())
    return Broken(title, command, names, fix, write(name, content))


HARMLESS = write("d.jsonl", GOOD)


def called(title: str, command: str, names: str, fix: str, harm: Harm = HARMLESS) -> Broken:
    return Broken(title, tuple(command.split()), names, fix, harm)


def to(place: str, data: str = "d.jsonl", more: str = "") -> str:
    return f"tasks filter {data} --out {place} {more}"


UTF8, COPY, ONE = "save it as UTF-8", "put it back from a copy", "write one (whole )?object a line"
EMPTY, COLUMN = "give (data|another)", "say which holds the"

JSONL = [
    of_file("empty data", "d.jsonl", "", "d.jsonl: no problems in it", "give"),
    of_file("data of blank lines", "d.jsonl", "\n\n\n", "d.jsonl: no problems in it", "give"),
    of_file("data in UTF-16", "d.jsonl", GOOD.encode("utf-16"), "d.jsonl: .*byte 0xff", UTF8),
    of_file("data in latin-1", "d.jsonl", b'{"question": "caf\xe9?", "answer": "1"}\n', "byte 0xe9", UTF8),
    of_file("a BOM before the second line", "d.jsonl", GOOD.replace("\n", "\n\ufeff", 1), "d.jsonl:2: .*BOM", ONE),
    of_file("NUL bytes after the last line", "d.jsonl", GOOD + "\0" * 9, "d.jsonl:3: not JSON", ONE),
    of_file("a line cut in the middle", "d.jsonl", GOOD[:-5], "d.jsonl:2: not JSON", ONE),
    of_file("one array of all rows", "d.jsonl", json.dumps(ROWS), "d.jsonl:1: a JSON object is needed", ONE),
    of_file("an object over several lines", "d.jsonl", json.dumps(ROWS[0], indent=2), "d.jsonl:1: not JSON", ONE),
    of_file("a number for a row", "d.jsonl", "3\n", "object is needed, got '3'", ONE),
    of_file("null for a row", "d.jsonl", "null\n", "object is needed, got 'None'", ONE),
    of_file("100000 brackets", "d.jsonl", "[" * 100_000, "d.jsonl:1: not JSON: nested too deeply", ONE),
    of_file("an answer of 5000 digits", "d.jsonl", f'{{"answer": {"1" * 5000}}}', "4300 digits", ONE),
    of_file("no column of answers", "d.jsonl", lines({"question": "1?"}), "no column named answer", COLUMN),
    of_file("no column of questions", "d.jsonl", lines({"text": "1?"}), "its columns are text", COLUMN),
    of_file("rows without columns", "d.jsonl", "{}\n", "no column named question", COLUMN),
    of_file(
        "a question that is no text",
        "d.jsonl",
        lines({"question": ["1?"], "answer": 1}),
        "question is no text",
        "correct them",
    ),
    of_file("half of a surrogate pair", "d.jsonl", lines({"question": "\ud800", "answer": 1}), "surrogate", "correct"),
    of_file("an answer that is no number", "d.jsonl", '{"question": "1?", "answer": NaN}', "is no text", "correct"),
    of_file(
        "a prompt with a system's turn",
        "d.jsonl",
        lines({"prompt": [{"role": "system", "content": "x"}, {"role": "user", "content": "y"}], "answer": 1}),
        "d.jsonl:1: .*system, user",
        "one user turn is needed",
    ),
    of_file(
        "tests that are no JSON",
        "d.jsonl",
        lines({"question": "q", "tests": "{{{"}),
        "unreadable tests.*{{{",
        "correct",
        "--verifier code",
    ),
    of_file(
        "tests nested deeply",
        "d.jsonl",
        lines({"question": "q", "tests": {"test_list": [f"assert f({'(' * 3000}1{')' * 3000}) == 1"]}}),
        "unreadable tests",
        "correct",
        "--verifier code",
    ),
]
PROBLEMS = [
    of_file(
        "an id that leads elsewhere",
        "d.jsonl",
        lines(OWN | {"id": "../../etc/passwd"}),
        r"'\.\./\.\./etc/passwd'",
        r"a part '\.\.'.*leave it out",
    ),
    of_file("an id with a NUL", "d.jsonl", lines(OWN | {"id": "a\0b"}), r"the id 'a\\x00b'", "no line of text"),
    of_file("an id that is a number", "d.jsonl", lines(OWN | {"id": 7}), "d.jsonl:1: .*id: .*got 7", "valid string"),
    of_file(
        "a problem with half a pair",
        "d.jsonl",
        lines(OWN | {"question": "\ud800"}),
        "d.jsonl:1: .*surrogate",
        "no text",
    ),
    of_file("a level that is no number", "d.jsonl", lines(OWN | {"level": "x"}), "level: .*got 'x'", "valid integer"),
    of_file("a level beyond all", "d.jsonl", lines(OWN | {"level": 10**30}), "level 1000", "levels are 1"),
    of_file("a level below all", "d.jsonl", lines(OWN | {"level": -3}), "level -3", "levels are 1"),
    of_file("an unknown key of a problem", "d.jsonl", lines(OWN | {"zzz": 1}), "zzz: Unexpected", "d.jsonl:1"),
    of_file(
        "a problem that nothing can judge", "d.jsonl", lines(OWN | {"task": "nope"}), "task 'nope'", "known: .*math"
    ),
    of_file(
        "a problem that wants code to run",
        "d.jsonl",
        lines(OWN | {"task": "os:system"}),
        "'os:system'",
        "agree by --verifier",
    ),
    called(
        "a question with two answers",
        "run smollm2-gsm8k --model nano --data d.jsonl --out out",
        "d.jsonl:2: .*'2'.*'3'",
        "keep one of them",
        write("d.jsonl", lines(ROWS[0], ROWS[0] | {"answer": "3"})),
    ),
    called(
        "fewer problems than a step needs",
        "run smollm2-gsm8k --model nano --data d.jsonl --out out",
        "splits?|needs 24",
        "lower rl.prompts_per_step|give more of them",
    ),
]
COMPRESSED = [
    of_file("zst cut short", "d.jsonl.zst", ZST[:-20], "d.jsonl.zst: .*cut short", COPY),
    of_file("zst cut in its header", "d.jsonl.zst", ZST[:5], "d.jsonl.zst: .*cut short", COPY),
    of_file("zst that is none", "d.jsonl.zst", GOOD, "d.jsonl.zst: .*Unknown frame", COPY),
    of_file("an empty zst", "d.jsonl.zst", b"", "d.jsonl.zst: .*cut short", COPY),
    of_file("zst with a bit gone", "d.jsonl.zst", flipped(ZST, len(ZST) // 2), "d.jsonl.zst: ", COPY),
    of_file("gz cut short", "d.jsonl.gz", GZ[:-20], "d.jsonl.gz: .*ended before", COPY),
    of_file("gz that is none", "d.jsonl.gz", GOOD, "d.jsonl.gz: Not a gzipped|d.jsonl.gz: .*gzip", COPY),
    of_file("gz with a bit gone", "d.jsonl.gz", flipped(GZ, 20), "d.jsonl.gz: .*", COPY),
]
CSV = [
    of_file("an empty CSV", "d.csv", "", "first line.*it is ..", "must name every column"),
    of_file("a CSV without rows", "d.csv", "question,answer\n", "d.csv: no problems in it", "give"),
    of_file("a column twice", "d.csv", "question,question\na,b\n", "'question', 'question'", "each differently"),
    of_file("a column without a name", "d.csv", "question,,answer\na,b,c\n", "'question', ''", "name every column"),
    of_file("a row with too many values", "d.csv", "question,answer\na,b,c\n", "d.csv:2: 3 values", "quote values"),
    of_file("a quote that never ends", "d.csv", 'question,answer\n"a,b\n', "unexpected end of data", "correct it"),
    of_file("text behind a quote", "d.csv", 'question,answer\n"a"b,c\n', "expected after", "correct it"),
    of_file("a CSV in UTF-16", "d.csv", "question,answer\na,b\n".encode("utf-16"), "d.csv: .*0xff", UTF8),
    of_file("a CSV in latin-1", "d.csv", "question,answer\né,b\n".encode("latin-1"), "d.csv: .*0xe9", UTF8),
    of_file("semicolons", "d.csv", "question;answer\na;b\n", "columns are question;answer", COLUMN),
    of_file("compressed data named CSV", "d.csv", GZ, "d.csv: .*byte 0x8b", UTF8),
]
PARQUETS = [
    of_file("an empty Parquet", "d.parquet", b"", "d.parquet: .*0 bytes", "write the file again"),
    of_file("Parquet that is none", "d.parquet", b"PAR1" + b"x" * 99 + b"PAR1", "d.parquet: ", "write the file again"),
    of_file("Parquet without its end", "d.parquet", PARQUET[:-30], "magic bytes", "write the file again"),
    of_file("Parquet without its beginning", "d.parquet", PARQUET[30:], "d.parquet: ", "write the file again"),
    of_file("Parquet with a bit gone", "d.parquet", flipped(PARQUET, 20), "d.parquet: ", "write the file again"),
    of_file("Parquet without questions", "d.parquet", parquet(x=["a"]), "row 1: .*columns are x", COLUMN),
    of_file(
        "Parquet without rows",
        "d.parquet",
        parquet(question=pyarrow.array([], pyarrow.string())),
        "no problems in it",
        "give",
    ),
    of_file(
        "bytes for text in Parquet",
        "d.parquet",
        parquet(question=[b"\xff"], answer=["1"]),
        "question is no text",
        "correct",
    ),
    of_file(
        "text in Parquet that is none",
        "d.parquet",
        parquet(question=not_utf8(), answer=["1"]),
        "0xff",
        "write the file again",
    ),
    of_file(
        "a time beyond all",
        "d.parquet",
        parquet(question=pyarrow.array([2**62], pyarrow.timestamp("us"))),
        "range",
        "write the file again",
    ),
]
PLACES = [
    called("data that are not there", to("out.jsonl", "nowhere.jsonl"), "nowhere.jsonl: .*No such file", COPY),
    called(
        "data that link to themselves",
        to("out.jsonl", "l.jsonl"),
        "l.jsonl: .*symbolic links",
        COPY,
        link("l.jsonl", "l.jsonl"),
    ),
    called("a directory for JSONL", to("out.jsonl"), "d.jsonl: .*Is a directory", COPY, directory("d.jsonl")),
    called(
        "a directory for CSV", to("out.jsonl", "d.csv"), "d.csv: .*Is a directory", "another file", directory("d.csv")
    ),
    called("a directory for Parquet", to("out.jsonl", "d.parquet"), "d.parquet: ", "write the", directory("d.parquet")),
    called(
        "data that the system won't read",
        to("out.jsonl", "m.jsonl"),
        "m.jsonl: .*Input/output",
        COPY,
        link("m.jsonl", "/proc/self/mem"),
    ),
    called("data of an unknown ending", to("out.jsonl", "d.json"), "d.json: no reader", "there are .jsonl"),
    called("a benchmark that is none", to("out.jsonl", "math-501"), "no data 'math-501'", "benchmarks: gsm8k"),
    called("a benchmark that leads elsewhere", to("out.jsonl", "math-500/../x"), r"'math-500/\.\./x'", "benchmarks:"),
    called("a split that is none", to("out.jsonl", "math-500@nope"), "no split 'nope'", "it has test"),
    called(
        "a Hub name that leads elsewhere", to("out.jsonl", "hub:../../etc/passwd"), "'hub:../../etc", "hub:OWNER/NAME"
    ),
    called("a puzzle that is none", to("out.jsonl", "gym:../x"), r"no gym task '\.\./x'", "for instance"),
    called("a column that is not there", to("out.jsonl", more="--column answer=foo"), "no column 'foo'", "columns are"),
    called("a column for nothing", to("out.jsonl", more="--column foo=answer"), "'foo=answer'", "write it as KEY=NAME"),
    called("a verifier that is none", to("out.jsonl", more="--verifier nope"), "task 'nope'", "known: .*math"),
    called("a verifier without a name", to("out.jsonl", more="--verifier :"), "':'", "write package.module:function"),
    called("a test set that is not there", to("out.jsonl", more="--against no.jsonl"), "no.jsonl: ", COPY),
    called(
        "verdicts that are none", to("out.jsonl", more="--solved d.jsonl"), "d.jsonl:1: no verdict", "as rlsp score"
    ),
    called("a solve rate that is none", to("out.jsonl", more="--solved-rate 0"), "solved_rate", "greater than 0"),
    called(
        "a length without a model", to("out.jsonl", more="--max-prompt-tokens 5"), "--max-prompt-tokens", "--model DIR"
    ),
    called("problems in a CSV", to("out.csv"), "out.csv", "end the name in .jsonl"),
    called("problems over what is read", to("d.jsonl", more="--overwrite"), "d.jsonl is what is read", "another --out"),
    called("problems over others", to("d.jsonl"), "d.jsonl exists", "replace it by --overwrite"),
    called("problems below a file", to("d.jsonl/x.jsonl"), "d.jsonl/x.jsonl", "give another --out"),
    called(
        "problems on a directory",
        to("o.jsonl", more="--overwrite"),
        "o.jsonl is a directory",
        "give another --out",
        both(write("d.jsonl", GOOD), directory("o.jsonl")),
    ),
    called("problems of an endless name", to("x" * 300 + ".jsonl"), "xxx.*too long", "give another --out"),
    called("a generated task that is none", "tasks show chess --out out.jsonl", "'chess'", "there are countdown"),
    called("a level that is none", "tasks show countdown --level 99 --out out.jsonl", "no level 99", "it has"),
    called(
        "an instruction without a question", to("out.jsonl", more="--instruction hi"), "--instruction", "{question}"
    ),
]
CASES = [*JSONL, *PROBLEMS, *COMPRESSED, *CSV, *PARQUETS, *PLACES]

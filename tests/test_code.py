"""Programs against unit tests: what is read, what is run, what counts as right."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from typing import Any

import pytest

from rlsp.errors import InputError
from rlsp.tasks.unit_tests import CallTest, StreamTest, parse, read_tests
from rlsp.types import Problem, Reason, Verdict
from rlsp.verifiers import code, sandbox
from rlsp.verifiers.outputs import same_output, same_value
from rlsp.verifiers.sandbox_runner import encode
from rlsp.verifiers.settings import Settings

isolation = pytest.mark.skipif(bool(sandbox.obstacle()), reason=f"no sandbox here: {sandbox.obstacle()}")

SUMS = {"tests": [{"stdin": "3 4\n", "stdout": "7\n"}, {"stdin": "1 1\n", "stdout": "2\n"}]}
ADD = {"tests": [{"arguments": [3, 4], "returns": 7}, {"arguments": [1, 1], "returns": 2}], "function": "add"}
SUM = "print(sum(map(int, input().split())))"


def problem(grading: dict[str, Any]) -> Problem:
    return Problem("sums", "code", "Add two numbers.", "", grading=grading)


def fenced(program: str) -> str:
    return f"Here it is:\n```python\n{program}\n```\n"


def verdict(program: str, grading: dict[str, Any], **settings: Any) -> Verdict:
    return code.verify_all([problem(grading)], [fenced(program)], Settings(**settings))[0]


# Verdicts


@isolation
@pytest.mark.parametrize(
    ("program", "grading", "detail"),
    [
        (SUM, SUMS, ""),
        ("import sys\nprint(sum(map(int, sys.stdin.read().split())))", SUMS, ""),
        ("print(sum(map(int, open(0).read().split())))", SUMS, ""),
        ("print(sum(map(int, open('/dev/stdin').read().split())))", SUMS, ""),
        ("import threading\ndef main():\n    " + SUM + "\nthreading.Thread(target=main).start()", SUMS, ""),
        ("if __name__ == '__main__':\n    " + SUM, SUMS, ""),
        (SUM + "\nraise SystemExit", SUMS, ""),
        ("from dataclasses import dataclass\n@dataclass\nclass P:\n    x: 'int'\n" + SUM, SUMS, ""),
        ("print(7)", SUMS, "test 2 of 2: wrong output"),
        ("pass", SUMS, "test 1 of 2: wrong output"),
        ("print('the sum is', 7)", SUMS, "test 1 of 2: wrong output"),
        (SUM + "\nraise SystemExit(3)", SUMS, "test 1 of 2: exited with 3: "),
        ("prin(7)", SUMS, "test 1 of 2: exited with 1: NameError: name 'prin' is not defined. Did you mean: 'print'?"),
        ("print(7", SUMS, "test 1 of 2: exited with 1: SyntaxError: '(' was never closed"),
        ("import os\nos.abort()", SUMS, "test 1 of 2: exited with 134: "),
        ("x = bytearray(2 << 30)", SUMS, "test 1 of 2: memory limit"),
        ("import time\ntime.sleep(60)", SUMS | {"time_limit": 0.3}, "test 1 of 2: time limit"),
        ("def add(a, b):\n    return a + b", ADD, ""),
        ("add = lambda a, b: a + b\nif __name__ == '__main__':\n    input()", ADD, ""),
        ("class Solution:\n    def add(self, a: int, b: Optional[int]) -> int:\n        return a + b", ADD, ""),
        ("def add(a, b):\n    print('noise', 7, sep='\\n')\n    return a + b", ADD, ""),
        ("def add(a, b):\n    return float(a + b)", ADD, ""),
        ("import threading, time\nthreading.Thread(target=time.sleep, args=[60]).start()\nadd = int.__add__", ADD, ""),
        ("def add(a, b):\n    print(a + b)", ADD, "test 1 of 2: wrong result"),
        ("def add(a, b):\n    return str(a + b)", ADD, "test 1 of 2: wrong result"),
        ("def add(a, b):\n    return 7", ADD, "test 2 of 2: wrong result"),
        ("results = [7, 2]\ndef add(a, b):\n    return results.pop(0)", ADD, "test 2 of 2: wrong result"),
        ("sub = 7", ADD, "test 1 of 2: exited with 1: AttributeError: module 'program' has no attribute 'add'"),
        ("add = divmod.__name__", ADD, "test 1 of 2: exited with 1: TypeError: 'str' object is not callable"),
        ("def add(a, b):\n    raise MemoryError", ADD, "test 1 of 2: memory limit"),
        ("def add(a, b):\n    while True: pass", ADD | {"time_limit": 0.3}, "test 1 of 2: time limit"),
        ("def add(a, b):\n    return {3}", ADD, "test 1 of 2: wrong result"),
    ],
)  # fmt: skip
def test_a_verdict_names_the_first_test_that_fails(program: str, grading: dict[str, Any], detail: str) -> None:
    judged = verdict(program, grading)
    assert (judged.correct, judged.detail) == (not detail, detail)
    assert judged.reason is (Reason.FAILED_TEST if detail else Reason.MATCH)


@isolation
def test_a_batch_keeps_its_order() -> None:
    slow = "import time\ntime.sleep(0.5)\n"
    programs = [slow + SUM, "print(7)", SUM, slow + "print(2)", SUM]
    judged = code.verify_all([problem(SUMS)] * 5, list(map(fenced, programs)), Settings())
    assert [each.correct for each in judged] == [True, False, True, False, True]


@isolation
def test_time_is_the_settings_where_the_problem_has_none() -> None:
    assert verdict("while True: pass", SUMS, deadline_seconds=0.3).detail == "test 1 of 2: time limit"


@isolation
def test_equal_programs_have_equal_answers() -> None:
    first, again, other = (verdict(each, SUMS).answer for each in (SUM, SUM + "\n", SUM + "  # "))
    assert first == again != other
    assert first.endswith(" " + SUM)


@isolation
def test_values_that_json_lacks_reach_the_function() -> None:
    grading = read_tests(["assert f((1, 2), {(1, 2): {3}}) == ((1, 2), {3}, {1: None})"])
    assert verdict("def f(pair, sets):\n    return pair, sets[pair], {1: None}", grading).correct


@isolation
def test_large_inputs_and_outputs_pass_through() -> None:
    text = "\n".join(map(str, range(300_000)))
    grading = {"tests": [{"stdin": text, "stdout": text}], "time_limit": 20}
    assert verdict("import sys\nsys.stdout.write(sys.stdin.read())", grading).correct


@isolation
def test_what_an_error_says_can_not_steer_a_terminal() -> None:
    detail = verdict("raise ValueError('\\x1b[2J\\x07\\u202e' + 'x' * 1000)", SUMS).detail
    assert detail.startswith("test 1 of 2: exited with 1: ValueError: [2Jxxx")
    assert detail.isprintable()
    assert len(detail) < 300


@isolation
@pytest.mark.parametrize("program", ["print('\x00')", "print('\ud800')", "é = 7\nprint(é)"])
def test_odd_characters_are_judged(program: str) -> None:
    assert verdict(program, {"tests": [{"stdin": "", "stdout": "7"}]}).correct == ("é" in program)


def test_no_program_is_no_answer() -> None:
    assert code._judge(parse(SUMS), "The sum is 7.", Settings(), isolated=True) == Verdict(False, "", Reason.NO_ANSWER)


def test_an_overlong_program_is_not_run() -> None:
    judged = code._judge(parse(SUMS), fenced("#" * 100_001), Settings(), isolated=True)
    assert (judged.correct, judged.reason) == (False, Reason.TOO_COMPLEX)


# Isolation


@pytest.fixture
def without_isolation(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(sandbox, "obstacle", lambda: "bwrap is not installed")
    code._warn_once.cache_clear()
    yield
    code._warn_once.cache_clear()


@pytest.mark.usefixtures("without_isolation")
def test_without_isolation_nothing_runs() -> None:
    with pytest.raises(InputError, match=r"bwrap is not installed; install bubblewrap .* --i-trust-this-code"):
        verdict(SUM, SUMS)


@pytest.mark.usefixtures("without_isolation")
def test_trusted_code_runs_with_limits_and_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert verdict(SUM, SUMS, trusted_code=True).correct
        assert verdict("def add(a, b):\n    return a + b", ADD, trusted_code=True).correct
    assert [record.getMessage() for record in caplog.records] == [
        "model-written programs run WITHOUT isolation, with your rights and your files: bwrap is not installed"
    ]
    assert verdict("print(8)", SUMS, trusted_code=True).detail == "test 1 of 2: wrong output"
    assert verdict("x = bytearray(2 << 30)", SUMS, trusted_code=True).detail == "test 1 of 2: memory limit"
    assert (
        verdict("while True: pass", SUMS, trusted_code=True, deadline_seconds=0.3).detail == "test 1 of 2: time limit"
    )
    assert verdict("while True: print(7)", SUMS, trusted_code=True).detail == "test 1 of 2: output limit"


@pytest.mark.usefixtures("without_isolation")
def test_a_child_of_trusted_code_ends_with_it() -> None:
    started = time.monotonic()
    child = "import subprocess\nsubprocess.Popen(['sleep', '60'])\n"
    assert not verdict(child + SUM, SUMS, trusted_code=True, deadline_seconds=1).correct
    assert time.monotonic() - started < 10


def test_a_broken_sandbox_is_an_obstacle_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "_bubblewrap", lambda: ["sh", "-c", "echo bwrap: no namespaces >&2; exit 1"])
    monkeypatch.setattr(sandbox.shutil, "which", lambda name: f"/usr/bin/{name}")
    assert sandbox.obstacle.__wrapped__() == "bwrap could not start: bwrap: no namespaces"


def test_a_missing_bubblewrap_is_an_obstacle_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox.shutil, "which", lambda _: None)
    assert sandbox.obstacle.__wrapped__() == "bwrap is not installed"


def test_a_sandbox_that_fails_later_is_not_the_programs_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "_bubblewrap", lambda: ["sh", "-c", "echo bwrap: no more processes >&2; exit 1"])
    judged = code._judge(parse(SUMS), fenced(SUM), Settings(), isolated=True)
    assert judged.reason is Reason.CRASHED
    assert judged.detail == "the sandbox did not start: bwrap: no more processes"


# Extraction


@pytest.mark.parametrize(
    ("response", "program"),
    [
        ("```python\na\n```", "a"),
        ("```\na\n```", "a"),
        ("~~~py\na\n~~~", "a"),
        ("```Python3 title=x\na\n```", "a"),
        ("```python\na\n```\nbetter:\n```python\nb\n```", "b"),
        ("```python\na\n```\nwhich prints\n```\n7\n```", "a"),
        ("```python\na\n```\n```text\n7\n```", "a"),
        ("```cpp\na\n```", ""),
        ("```python\na\n```\n```python\nb", "a"),
        ("```python\na", ""),
        ("```python\na\n~~~\nb\n```", "a\n~~~\nb"),
        ("````python\na\n```\nb\n````", "a\n```\nb"),
        ("1. so:\n   ```python\n   if a:\n       b\n   ```", "if a:\n    b"),
        ("```python\r\na\r\n```\r\n", "a"),
        ("use `a` or ```a```", ""),
        ("```python a```", ""),
        ("", ""),
    ],
)
def test_the_program_is_the_last_closed_block(response: str, program: str) -> None:
    assert code.extract(response).strip("\r") == program


@pytest.mark.parametrize(
    "hostile", ["~" * 10**6 + "`", "`" * 10**6, " " * 10**6 + "```", "```\n" * 250_000, "\n" * 10**6]
)
def test_extraction_takes_linear_time(hostile: str) -> None:
    started = time.perf_counter()
    code.extract(hostile)
    assert time.perf_counter() - started < 2.0


# Comparison


@pytest.mark.parametrize(
    ("expected", "printed", "same"),
    [
        ("7\n", "7", True),
        ("7", "7\n\n", True),
        ("7 \n8\t\n", "7\r\n8\r\n", True),
        ("7\n8", "7\n\n8", False),
        ("7\n8", "7 8", False),
        ("7", " 7", True),
        ("7", "8", False),
        ("7", "7.0", False),
        ("7", "07", False),
        ("1000000000", "1000000001", False),
        ("0.5", "0.50", True),
        ("0.3333333", "0.33333333333", True),
        ("0.33", "0.3333", False),
        ("1.0", "1", True),
        ("1e-7", "0.0000001", True),
        ("2.0", "2.00001", False),
        ("0.0", "-0.0", True),
        ("1.0", "1_0e-1", False),
        ("1.0", "１.0", False),
        ("1e999", "9e999", False),
        ("nan.", "nan", False),
        ("Yes 0.5 no", "Yes 0.5000001 no", True),
        ("Yes", "YES", False),
        ("a b", "a  b", True),
        ("", "", True),
        ("", "\n", True),
        ("a", "", False),
    ],
)
def test_printed_text_is_compared_by_lines_and_words(expected: str, printed: str, same: bool) -> None:
    assert same_output(expected, printed) is same


@pytest.mark.parametrize(
    ("expected", "returned", "same"),
    [
        (1, 1, True),
        (1, 1.0, True),
        (1, True, False),
        (True, 1, False),
        (True, True, True),
        (0, False, False),
        (0, None, False),
        (None, None, True),
        (1, "1", False),
        ("1", 1, False),
        (10**20, 10**20 + 1, False),
        (2**53 + 1, float(2**53), False),
        (0.1, 0.1 + 1e-12, True),
        (0.1, 0.1001, False),
        (1.0, 1, True),
        (1.5, True, False),
        (1.5, 10**400, False),
        (0.0, 1e-15, True),
        (float("inf"), float("inf"), True),
        (float("nan"), float("nan"), False),
        ([1, [2, 3]], (1, (2, 3)), True),
        ([1, 2], [2, 1], False),
        ([1, 2], [1, 2, 3], False),
        ([], {}, False),
        ([], set(), False),
        ({"a": 1}, {"a": 1.0}, True),
        ({"1": 2}, {1: 2}, True),
        ({"a": 1}, {"a": 1, "b": 2}, False),
        ({(1, 2): 3}, {(1, 2): 3}, True),
        ({1, 2}, frozenset({2, 1}), True),
        ({1, 2}, [1, 2], False),
        ({1, 2}, {1}, False),
        ({"set": [1]}, {1}, False),
    ],
)
def test_returned_values_are_compared_as_json(expected: Any, returned: Any, same: bool) -> None:
    assert same_value(expected, json.dumps(encode(returned)).encode()) is same


@pytest.mark.parametrize(
    "forged",
    [
        b"",
        b"{",
        b"\xff",
        b"9" * 5000,
        b"[" * 100_000,
        b'{"dict": 5}',
        b'{"dict": [5]}',
        b'{"dict": [[1]]}',
        b'{"set": 1}',
        b"{}",
    ],
)
def test_a_malformed_result_equals_nothing(forged: bytes) -> None:
    expected: list[Any] = [1, "x", [], {}, {"a": 1}, set(), {1}, None]
    assert not [value for value in expected if same_value(value, forged)]


# Formats of unit tests


def test_the_forms_of_data_sets_become_one() -> None:
    streams = {"inputs": ["3 4\n", ["1 1", ""]], "outputs": ["7\n", "2\n"]}
    assert read_tests(streams) == read_tests(json.dumps(streams)) == {
        "tests": [{"stdin": "3 4\n", "stdout": "7\n"}, {"stdin": "1 1\n", "stdout": "2\n"}]
    }  # fmt: skip
    assert read_tests({"inputs": [[3, 4]], "outputs": [7], "fn_name": "add", "time_limit": 2}) == {
        "tests": [{"arguments": [3, 4], "returns": 7}],
        "function": "add",
        "time_limit": 2,
    }
    assert read_tests({"inputs": ["[1]\n2"], "outputs": ["[3]"], "fn_name": "add"}) == {
        "tests": [{"arguments": [[1], 2], "returns": [3]}],
        "function": "add",
    }
    asserts = {"test_list": ["assert add((3, 4)) == {7}"], "test_setup_code": ""}
    assert read_tests(asserts) == read_tests(asserts["test_list"]) == {
        "tests": [{"arguments_literal": "[(3, 4)]", "returns_literal": "{7}"}],
        "function": "add",
    }  # fmt: skip


def test_a_result_that_the_data_set_wraps_counts_either_way() -> None:
    grading = read_tests({"inputs": [[3, 4]], "outputs": [[7]], "fn_name": "add"})
    test = parse(grading).tests[0]
    assert isinstance(test, CallTest)
    assert test.returns == (7, [7])


@pytest.mark.parametrize("grading", [SUMS, ADD, SUMS | {"time_limit": 1.5}])
def test_the_common_form_is_read_as_it_is(grading: dict[str, Any]) -> None:
    assert read_tests(grading) == grading
    assert {type(test) for test in parse(grading).tests} == {CallTest if "function" in grading else StreamTest}


@pytest.mark.parametrize(
    ("raw", "complaint"),
    [
        ("{", "not JSON"),
        (7, "write an object"),
        ({}, "`tests` is missing or empty"),
        ({"tests": []}, "give at least one test"),
        ({"tests": [{}]}, r"test 1 is \{\}; write stdin and stdout, or arguments and returns"),
        ({"tests": [{"stdin": "1"}]}, "test 1 is"),
        ({"tests": [{"stdin": 1, "stdout": "1"}]}, "stdin and stdout are texts"),
        ({"tests": [{"arguments": 1, "returns": 1}], "function": "f"}, "the arguments are a list, got 1"),
        ({"tests": [{"arguments": [1], "returns": 1}]}, "test 1 needs the `function` that it calls"),
        (SUMS | {"function": "f"}, "test 1 does not call f"),
        (ADD | {"function": "os.system"}, "'os.system' is no name of a function"),
        (SUMS | {"time_limit": "2"}, "time_limit '2' is not in seconds"),
        (SUMS | {"time_limit": True}, "time_limit True"),
        (SUMS | {"time_limit": float("nan")}, "time_limit nan"),
        (SUMS | {"memory": 1}, "unknown key 'memory'; known here: function, tests, time_limit"),
        ({"inputs": ["1"], "outputs": []}, "lists of one length, got 1 and 0"),
        ({"inputs": ["1"]}, "got 1 and no list"),
        ({"inputs": [1], "outputs": ["1"]}, "stdin and stdout are texts"),
        ({"inputs": ["x"], "outputs": ["1"], "fn_name": "f"}, "test 1: not one JSON value a line"),
        (["assert f(1) == g(1)"], "no Python literal"),
        (["assert f(x) == 1"], "no Python literal"),
        (["assert f(1) == b'x'"], "no Python literal of plain data"),
        (["assert f(1) == 1j"], "no Python literal of plain data"),
        (["assert f(*[1]) == 1"], "no Python literal"),
        (["assert f(x=1) == 1"], "is not of the form"),
        (["assert f(1)"], "is not of the form"),
        (["assert f(1) == 1 == 1"], "is not of the form"),
        (["assert set(f(1)) == {1}"], "no Python literal"),
        (["assert a.f(1) == 1"], "is not of the form"),
        (["assert f(1) == 1; import os"], "is not of the form"),
        (["__import__('os').system('true')"], "is not of the form"),
        (["(" * 10_000], "is not of the form"),
        ([7], "7 is not of the form"),
        (["assert f(1) == 1", "assert g(1) == 1"], "call different functions: f, g"),
        ({"test_list": ["assert f(1) == 1"], "test_imports": ["import os"]}, "would have to be executed"),
    ],
)
def test_what_can_not_be_read_is_refused_by_name(raw: Any, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        read_tests(raw)


def test_a_problem_without_tests_is_named() -> None:
    with pytest.raises(InputError, match="problem sums: unit tests: `tests` is missing"):
        verdict(SUM, {})

"""Unit tests of coding problems: the formats that data sets write them in, read into one.

    {"tests": [{"stdin": "3 4\\n", "stdout": "7\\n"}, …], "time_limit": 2}
    {"tests": [{"arguments": [3, 4], "returns": 7}, …], "function": "add"}

`time_limit` is in seconds a test, and optional. Where JSON has no word for a value (tuples, sets, dictionaries whose
keys are not strings) it stands as a Python literal: `{"arguments_literal": "[(3, 4)]", "returns_literal": "{3, 4}"}`.
`"wrapped": true` marks a return value that the data set put into a list: it counts with and without that list.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rlsp.errors import InputError

MAX_TIME_LIMIT = 600.0
_STREAM_KEYS = {"stdin", "stdout"}
_CALL_KEYS = {"arguments", "returns"}
_LITERAL_KEYS = {"arguments_literal", "returns_literal"}


@dataclass(frozen=True, slots=True)
class StreamTest:
    """A script's input and what it should print."""

    stdin: str
    stdout: str


@dataclass(frozen=True, slots=True)
class CallTest:
    """A function's arguments, as the test writes them, and the values that it may return."""

    arguments: Mapping[str, Any]
    returns: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class UnitTests:
    """Either every test is a `StreamTest` and `function` is "", or every one is a `CallTest`. `time_limit` is in
    seconds, 0 where the problem sets none."""

    tests: tuple[StreamTest | CallTest, ...]
    function: str
    time_limit: float


def read_tests(raw: Any, function: Any = "") -> dict[str, Any]:
    """`Problem.grading` of a coding problem, from any of: that form itself, or its list of tests alone; `{"inputs":
    [...], "outputs": [...], "fn_name": ...}` of APPS, TACO and LiveCodeBench; MBPP's `{"test_list": ["assert f(1) ==
    2"]}`, or that list alone; JSON text of these. Asserts are parsed, never executed.

    `function` is what tests call that don't say so themselves, "" for standard input and output; asserts always do.

    Raises:
        InputError: naming what can't be read, and why.
    """
    if isinstance(raw, str):
        try:
            raw = json.loads(raw)
        except (ValueError, RecursionError) as error:
            raise InputError(f"unit tests {raw:.60}: not JSON: {error}") from None
    if isinstance(raw, list):
        raw = {"tests" if all(isinstance(test, dict) for test in raw) else "test_list": raw}
    if not isinstance(raw, dict):
        raise InputError(
            f"unit tests {raw!r:.60}: write an object with tests, with inputs and outputs, or with test_list"
        )
    if "test_list" in raw:
        grading = _from_asserts(raw)
    elif "inputs" in raw or "outputs" in raw:
        grading = _from_pairs(raw, function)
    else:
        grading = {"function": function} | raw if function else raw
    parse(grading)
    return grading


def parse(grading: Mapping[str, Any]) -> UnitTests:
    """The tests that `Problem.grading` holds.

    Raises:
        InputError: it is not in the form that `read_tests` returns.
    """
    _refuse_unknown(grading, {"tests", "function", "time_limit"}, "unit tests")
    tests, function, limit = grading.get("tests"), grading.get("function", ""), grading.get("time_limit", 0.0)
    if not isinstance(tests, list) or not tests:
        raise InputError("unit tests: `tests` is missing or empty; give at least one test")
    if not isinstance(function, str) or (function and not function.isidentifier()):
        raise InputError(f"unit tests: function {function!r:.60} is no name of a function")
    if isinstance(limit, bool) or not isinstance(limit, int | float) or not 0 <= limit <= MAX_TIME_LIMIT:
        raise InputError(f"unit tests: time_limit {limit!r:.60} is not in seconds from 0 to {MAX_TIME_LIMIT:g}")
    parsed = tuple(_parse_test(test, f"test {number}") for number, test in enumerate(tests, 1))
    for number, test in enumerate(parsed, 1):
        if isinstance(test, CallTest) != bool(function):
            kind = "needs the `function` that it calls" if not function else f"does not call {function}"
            raise InputError(
                f"unit tests: test {number} {kind}; all tests call one function, or all are stdin and stdout"
            )
    return UnitTests(parsed, function, float(limit))


def _parse_test(test: Any, where: str) -> StreamTest | CallTest:
    keys = set(test) if isinstance(test, dict) else set()
    if keys == _STREAM_KEYS:
        if not all(isinstance(each, str) for each in test.values()):
            raise InputError(f"unit tests: {where}: stdin and stdout are texts, got {test!r:.80}")
        return StreamTest(test["stdin"], test["stdout"])
    if keys == _LITERAL_KEYS:
        arguments, returns = (_literal(test[key], where) for key in ("arguments_literal", "returns_literal"))
        given: dict[str, Any] = {"arguments_literal": test["arguments_literal"]}
    elif keys - {"wrapped"} == _CALL_KEYS:
        arguments, returns = test["arguments"], test["returns"]
        given = {"arguments": arguments}
    else:
        raise InputError(
            f"unit tests: {where} is {test!r:.80}; write stdin and stdout, or arguments and returns (both as JSON, or "
            "both as Python: arguments_literal and returns_literal)"
        )
    if not isinstance(arguments, list):
        raise InputError(f"unit tests: {where}: the arguments are a list, got {arguments!r:.60}")
    return CallTest(given, (returns, [returns]) if test.get("wrapped") else (returns,))


def _from_pairs(raw: dict[str, Any], function: Any) -> dict[str, Any]:
    _refuse_unknown(raw, {"inputs", "outputs", "fn_name", "time_limit"}, "unit tests with inputs and outputs")
    inputs, outputs, function = raw.get("inputs"), raw.get("outputs"), raw.get("fn_name") or function
    if not isinstance(inputs, list) or not isinstance(outputs, list) or len(inputs) != len(outputs):
        counts = " and ".join(str(len(each)) if isinstance(each, list) else "no list" for each in (inputs, outputs))
        raise InputError(f"unit tests: inputs and outputs are lists of one length, got {counts}")
    pairs = list(zip(inputs, outputs, strict=True))
    if not function:
        tests = [{"stdin": _text(each), "stdout": _text(output)} for each, output in pairs]
        return {"tests": tests} | _time_limit(raw)
    tests = [_call(each, output, f"test {number}") for number, (each, output) in enumerate(pairs, 1)]
    return {"tests": tests, "function": function} | _time_limit(raw)


def _text(value: Any) -> Any:
    """APPS writes some streams as a list of their lines."""
    return "\n".join(value) if isinstance(value, list) and all(isinstance(each, str) for each in value) else value


def _call(arguments: Any, output: Any, where: str) -> dict[str, Any]:
    """LiveCodeBench writes one JSON value a line; APPS and TACO write values, mostly with the result in a list, which
    their own harness takes either way."""
    if isinstance(arguments, str):
        try:
            values = [json.loads(line) for line in arguments.split("\n") if line.strip()]
            return {"arguments": values, "returns": json.loads(output)}
        except (ValueError, TypeError, RecursionError) as error:
            raise InputError(f"unit tests: {where}: not one JSON value a line: {error}") from None
    if isinstance(output, list) and len(output) == 1:
        return {"arguments": arguments, "returns": output[0], "wrapped": True}
    return {"arguments": arguments, "returns": output}


def _from_asserts(raw: dict[str, Any]) -> dict[str, Any]:
    _refuse_unknown(raw, {"test_list", "test_setup_code", "test_imports", "time_limit"}, "unit tests with test_list")
    for key in ("test_setup_code", "test_imports"):
        if raw.get(key):
            raise InputError(f"unit tests: {key} {raw[key]!r:.60} would have to be executed; leave the problem out")
    if not isinstance(raw["test_list"], list):
        raise InputError(f"unit tests: test_list is a list of asserts, got {raw['test_list']!r:.60}")
    calls = [_assert(text) for text in raw["test_list"]]
    functions = sorted({function for function, _ in calls})
    if len(functions) > 1:
        raise InputError(f"unit tests: the asserts call different functions: {', '.join(functions)}")
    return {"tests": [test for _, test in calls], "function": "".join(functions)} | _time_limit(raw)


def _assert(text: Any) -> tuple[str, dict[str, str]]:
    """(function, test) of `assert f(arguments) == literal`."""
    try:
        statements = ast.parse(text.strip()).body if isinstance(text, str) else []
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        statements = []
    match statements:
        case [
            ast.Assert(
                test=ast.Compare(
                    left=ast.Call(func=ast.Name(id=function), args=arguments, keywords=[]),
                    ops=[ast.Eq()],
                    comparators=[returns],
                )
            )
        ]:
            test = {
                "arguments_literal": f"[{', '.join(map(ast.unparse, arguments))}]",
                "returns_literal": ast.unparse(returns),
            }
            for value in test.values():
                _literal(value, repr(text)[:100])
            return function, test
    raise InputError(f"unit tests: {text!r:.100} is not of the form `assert function(literals) == literal`")


def _literal(text: Any, where: str) -> Any:
    try:
        value = ast.literal_eval(text) if isinstance(text, str) else ...
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError):
        value = ...
    if not _is_data(value):
        raise InputError(f"unit tests: {where}: {text!r:.80} is no Python literal of plain data")
    return value


def _is_data(value: Any) -> bool:
    if isinstance(value, dict):
        return all(_is_data(each) for pair in value.items() for each in pair)
    if isinstance(value, list | tuple | set):
        return all(map(_is_data, value))
    return value is None or isinstance(value, bool | int | float | str)


def _time_limit(raw: Mapping[str, Any]) -> dict[str, Any]:
    return {"time_limit": raw["time_limit"]} if raw.get("time_limit") is not None else {}


def _refuse_unknown(raw: Mapping[str, Any], known: set[str], what: str) -> None:
    if unknown := sorted(map(str, raw.keys() - known)):
        raise InputError(f"{what}: unknown key {unknown[0]!r}; known here: {', '.join(sorted(known))}")

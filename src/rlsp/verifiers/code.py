"""Programs judged by unit tests: the response's program runs in a sandbox, once for each test, until one fails.

The program is the last fenced block tagged `python`, else the last untagged one. What a test expects never enters the
sandbox: the program's output comes out and is compared here.
"""

from __future__ import annotations

import functools
import hashlib
import logging
import os
import re
import signal
import textwrap
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from rlsp.errors import InputError
from rlsp.tasks.unit_tests import CallTest, StreamTest, UnitTests, parse
from rlsp.types import Problem, Reason, Verdict
from rlsp.verifiers import sandbox
from rlsp.verifiers.outputs import same_output, same_value
from rlsp.verifiers.settings import Settings

MAX_PROGRAM_CHARACTERS = 100_000
DETAIL_CHARACTERS = 200

# Possessive throughout: hostile lines get no backtracking.
_OPENING = re.compile(r"[ \t]*+(`{3,}+|~{3,}+)[ \t]*+([^\s`]{0,40}+)[^`]*+")
_PYTHON_TAGS = frozenset({"python", "python3", "py"})

log = logging.getLogger(__name__)


def verify_all(problems: Sequence[Problem], responses: Sequence[str], settings: Settings) -> list[Verdict]:
    """The verdicts on programs, in order; as many run at once as there are cores. A test may take its problem's
    `time_limit`, else `settings.deadline_seconds`, of wall time.

    Raises:
        InputError: a problem's tests can't be read, or programs can't be isolated here and `settings` does not trust
            them.
    """
    tests = [_read(problem) for problem in problems]
    isolated = _isolated(settings)

    def judge(item: tuple[UnitTests, str]) -> Verdict:
        return _judge(*item, settings, isolated)

    with ThreadPoolExecutor(max_workers=_cores()) as executor:
        return list(executor.map(judge, zip(tests, responses, strict=True)))


def extract(response: str) -> str:
    """The program of a response, "" when it has none. A block that is never closed is none: it was cut short. A block
    in a list is indented as a whole, which is taken back."""
    tagged = untagged = ""
    fence, tag, block = "", "", list[str]()
    for line in response.split("\n"):
        if fence:
            closing = line.strip(" \t\r")
            if len(closing) >= len(fence) and not closing.strip(fence[0]):
                if tag in _PYTHON_TAGS:
                    tagged = "\n".join(block)
                elif not tag:
                    untagged = "\n".join(block)
                fence = ""
            else:
                block.append(line)
        elif opening := _OPENING.fullmatch(line.rstrip("\r")):
            fence, tag, block = opening[1], opening[2].casefold(), []
    return textwrap.dedent(tagged or untagged).strip("\n")


def _read(problem: Problem) -> UnitTests:
    try:
        return parse(problem.grading)
    except InputError as error:
        raise InputError(f"problem {problem.id}: {error}") from None


def _isolated(settings: Settings) -> bool:
    obstacle = sandbox.obstacle()
    if obstacle and not settings.trusted_code:
        raise InputError(
            f"model-written programs can't be isolated here: {obstacle}; install bubblewrap (apt install bubblewrap) "
            "on a system that allows user namespaces, or accept the risk with --i-trust-this-code"
        )
    if obstacle:
        _warn_once(obstacle)
    return not obstacle


@functools.cache
def _warn_once(obstacle: str) -> None:
    log.warning("model-written programs run WITHOUT isolation, with your rights and your files: %s", obstacle)


def _judge(unit_tests: UnitTests, response: str, settings: Settings, isolated: bool) -> Verdict:
    program = extract(response)
    if not program.strip():
        return Verdict(False, "", Reason.NO_ANSWER)
    answer = _name(program)
    if len(program) > MAX_PROGRAM_CHARACTERS:
        return Verdict(False, answer, Reason.TOO_COMPLEX, detail=f"a program of {len(program)} characters")
    for number, test in enumerate(unit_tests.tests, 1):
        outcome = _run(program, test, unit_tests, settings, isolated)
        if outcome.ending is sandbox.Ending.NOT_STARTED:
            return Verdict(
                False, answer, Reason.CRASHED, detail=f"the sandbox did not start: {_last_line(outcome.stderr)}"
            )
        if failure := _failure(test, outcome):
            detail = f"test {number} of {len(unit_tests.tests)}: {failure}"
            return Verdict(False, answer, Reason.FAILED_TEST, detail=detail)
    return Verdict(True, answer, Reason.MATCH)


def _run(
    program: str, test: StreamTest | CallTest, unit_tests: UnitTests, settings: Settings, isolated: bool
) -> sandbox.Run:
    seconds = unit_tests.time_limit or settings.deadline_seconds
    if isinstance(test, StreamTest):
        # Room for all that is expected, and as much again that is wrong.
        limits = sandbox.Limits(seconds, output_bytes=sandbox.Limits().output_bytes + 2 * len(test.stdout.encode()))
        return sandbox.run(program, stdin=test.stdin, limits=limits, isolated=isolated)
    call = {"function": unit_tests.function, **test.arguments}
    return sandbox.run(program, call=call, limits=sandbox.Limits(seconds), isolated=isolated)


def _failure(test: StreamTest | CallTest, outcome: sandbox.Run) -> str:
    """What is wrong with a run, "" when it passes its test."""
    if outcome.ending is not sandbox.Ending.EXITED:
        return str(outcome.ending)
    if outcome.exit_code == 128 + signal.SIGXCPU:
        return str(sandbox.Ending.TIME_LIMIT)
    last = _last_line(outcome.stderr)
    if outcome.exit_code:
        return "memory limit" if last.startswith("MemoryError") else f"exited with {outcome.exit_code}: {last}"
    if isinstance(test, StreamTest):
        return "" if same_output(test.stdout, outcome.stdout.decode(errors="replace")) else "wrong output"
    if not outcome.result:
        return "exited before it returned"
    return "" if any(same_value(value, outcome.result) for value in test.returns) else "wrong result"


def _last_line(stderr: bytes) -> str:
    """The error that ended a program, without what could steer a terminal."""
    lines = stderr[-4096:].decode(errors="replace").split("\n")
    printable = ("".join(filter(str.isprintable, line)).strip() for line in reversed(lines))
    return next(filter(None, printable), "")[:DETAIL_CHARACTERS]


def _name(program: str) -> str:
    """A program's digest and first line: short, and equal for equal programs."""
    digest = hashlib.sha256(program.encode(errors="surrogatepass")).hexdigest()[:12]
    first = program.lstrip().partition("\n")[0]
    return f"{digest} {''.join(filter(str.isprintable, first[:60])).strip()}"


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

"""Runs one program against one test's input. Its source is handed to `python -c` inside the sandbox.

It knows no expected output: a program that takes it over can write any result, and gains no more than by returning it.
It imports nothing of rlsp, which the sandbox does not hold.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

STARTED = b"\n"
"""Written to the result channel when the program is about to start: what fails earlier is not the program's fault."""


def main(job_descriptor: int, result_descriptor: int) -> None:
    """Read the job, set its limits, run its program. A call's result is one line of JSON on the result channel."""
    with open(job_descriptor, encoding="ascii") as file:
        job = json.load(file)
    # bwrap leaves none open; a directory of the host among them would be a way out.
    os.closerange(3, result_descriptor)
    os.closerange(result_descriptor + 1, 1 << 16)
    set_limits(job["limits"])
    sys.argv = ["program.py"]
    os.write(result_descriptor, STARTED)
    if "function" in job:
        result = call(job)
        write(result_descriptor, json.dumps(result).encode("ascii"))
        # Threads that the program left behind have no more to say.
        os._exit(0)
    os.close(result_descriptor)
    load(job["program"], "__main__")


def set_limits(limits: dict[str, list[int]]) -> None:
    """Set soft and hard limits by name, no higher than they are allowed to be."""
    import resource

    for name, (soft, hard) in limits.items():
        kind = getattr(resource, name)
        _, most = resource.getrlimit(kind)
        if most != resource.RLIM_INFINITY:
            soft, hard = min(soft, most), min(hard, most)
        resource.setrlimit(kind, (soft, hard))


def load(program: str, name: str, **names: Any) -> Any:
    """Execute the program as the module `name`, in which `names` are known beforehand."""
    module = type(sys)(name)
    vars(module).update(names)
    sys.modules[name] = module
    exec(compile(program, "program.py", "exec"), vars(module))
    return module


def call(job: dict[str, Any]) -> Any:
    """The encoded return value of the job's function, or of that method of a class `Solution`. As a module that is not
    `__main__`, a program's own main part stays quiet; the names of `typing` are known, as in the editors where such
    programs are written."""
    import typing

    if "arguments_literal" in job:
        import ast

        arguments = ast.literal_eval(job["arguments_literal"])
    else:
        arguments = job["arguments"]
    names = {name: getattr(typing, name) for name in typing.__all__}
    module = load(job["program"], "program", **names)
    owner = module
    if not hasattr(module, job["function"]) and hasattr(module, "Solution"):
        owner = module.Solution()
    return encode(getattr(owner, job["function"])(*arguments))


def encode(value: Any) -> Any:
    """A value as JSON that keeps what JSON has no words for: tuples are lists, sets and dictionaries are tagged.

    Raises:
        TypeError: it holds something that is not plain data.
    """
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, list | tuple):
        return [encode(each) for each in value]
    if isinstance(value, set | frozenset):
        return {"set": [encode(each) for each in value]}
    if isinstance(value, dict):
        return {"dict": [[encode(key), encode(each)] for key, each in value.items()]}
    for plain in (int, float, str):
        if isinstance(value, plain):
            return plain(value)
    raise TypeError(f"returned a value that is not plain data: {type(value).__name__}")


def write(descriptor: int, content: bytes) -> None:
    """All of it, where one call may write less."""
    while content:
        content = content[os.write(descriptor, content) :]


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))

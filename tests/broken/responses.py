"""Broken files of responses, verdicts, labels and demonstrations."""

from __future__ import annotations

import zstandard

from tests.broken import Broken, Harm, both, directory, write
from tests.broken.data import COPY, GOOD, ONE, OWN, UTF8, lines
from tests.broken.recipes import RECIPE

ROLLOUT = {
    "problem_id": "mine/1",
    "sample": 0,
    "prompt_ids": [1],
    "response_ids": [2, 3],
    "logprobs": [-1.0, -1.0],
    "text": "2",
    "finish": "eos",
    "temperature": 1.0,
    "policy_version": 0,
}
ANSWERED = {"question": "1+1?", "answer": "2", "response": "\\boxed{2}"}
GRADED = {
    "problem_id": "mine/1",
    "sample": 0,
    "level": 0,
    "correct": True,
    "answer": "2",
    "reference": "2",
    "reason": "match",
    "detail": "",
    "characters": 1,
    "tokens": None,
    "truncated": None,
}
DEMONSTRATION = {"problem": OWN, "trace": "2", "origin": "search"}
SCORE = "score r.jsonl --recipe r.toml --problems p.jsonl --out out.jsonl"
GRADE = "score r.jsonl --out out.jsonl"


def called(title: str, command: str, names: str, fix: str, harm: Harm) -> Broken:
    return Broken(title, tuple(command.split()), names, fix, harm)


def rollouts(title: str, content: str | bytes, names: str, fix: str) -> Broken:
    """Scored by a recipe's reward."""
    harm = both(write("r.toml", RECIPE), write("p.jsonl", lines(OWN)), write("r.jsonl", content))
    return called(title, SCORE, names, fix, harm)


def rollout(title: str, names: str, fix: str, **changes: object) -> Broken:
    return rollouts(f"a rollout with {title}", lines(ROLLOUT | changes), names, fix)


def responses(title: str, content: str | bytes, names: str, fix: str, command: str = GRADE) -> Broken:
    return called(title, command, names, fix, write("r.jsonl", content))


ROLLOUTS = [
    rollouts("no rollouts", "", "r.jsonl: no rollouts in it", "give"),
    rollouts("rollouts cut in the middle", lines(ROLLOUT)[:-9], "r.jsonl:1: not JSON", ONE),
    rollouts("a list for a rollout", "[]\n", "r.jsonl:1: not a Rollout", r"got \[\]"),
    rollouts("rollouts in UTF-16", lines(ROLLOUT).encode("utf-16"), "r.jsonl: .*0xff", UTF8),
    rollout("an id that leads elsewhere", r"'\.\./\.\./etc/passwd'", "leave it out", problem_id="../../etc/passwd"),
    rollout("an unknown problem", "p.jsonl lacks: 'mine/2'", "give", problem_id="mine/2"),
    rollout("no tokens", "r.jsonl:1: .*at least one sampled token", "not a Rollout", response_ids=[], logprobs=[]),
    rollout("half of its logprobs", "1 logprobs for 2", "r.jsonl:1", logprobs=[-1.0]),
    rollout("an infinite logprob", "finite numbers", "r.jsonl:1", logprobs=[-1.0, float("-inf")]),
    rollout("a temperature that is none", "finite numbers", "r.jsonl:1", temperature=float("nan")),
    rollout("a token below 0", "count from 0", "r.jsonl:1", response_ids=[2, -3]),
    rollout("a sample below 0", "count from 0", "r.jsonl:1", sample=-1),
    rollout("a token that is text", "response_ids.1: .*got 'x'", "valid integer", response_ids=[2, "x"]),
    rollout("an end that is none", "finish: .*got 'died'", "'eos' or 'length'", finish="died"),
    rollout("an unknown key", "zzz: Unexpected", "r.jsonl:1", zzz=1),
    rollouts("a rollout twice", lines(ROLLOUT) * 2, "r.jsonl: .*sample 0 of problem 'mine/1'.*2 times", "keep one"),
]
GRADINGS = [
    responses("no responses", "", "r.jsonl: no responses in it", "one JSON object a line"),
    responses("responses of no schema", lines({"a": 1}), "keys 'a'", "the schemas known"),
    responses(
        "an array of responses", f"[{lines(ANSWERED)}]".replace("\n", ""), "r.jsonl:1: a JSON array", "one a line"
    ),
    responses("mixed schemas", lines(ANSWERED, ROLLOUT), "r.jsonl:2: mixed schemas", "split the file"),
    responses("rollouts without their questions", lines(ROLLOUT), "lack their questions", "give them by --problems"),
    responses("a response that is no text", lines(ANSWERED | {"response": 7}), "response 0 is no text: 7", "r.jsonl:1"),
    responses(
        "an empty list of responses",
        lines({"question": "q", "answer": "1", "responses": []}),
        "list .* is empty",
        "drop the row",
    ),
    responses(
        "a response without an answer",
        lines({"question": "q", "response": "2"}),
        "none of answer, solution",
        "its keys are",
    ),
    responses("a length below 0", lines(ANSWERED | {"tokens": -1}), "got -1", "whole number"),
    responses(
        "an end of a response that is none", lines(ANSWERED | {"finish": "died"}), "finish 'died'", "leave it out"
    ),
    responses(
        "an id of a question that leads elsewhere",
        lines(ANSWERED | {"id": "../../x"}),
        r"'\.\./\.\./x'",
        "leave it out",
    ),
    called(
        "the same sample twice",
        GRADE + " --problems p.jsonl",
        "r.jsonl:2: .*'mine/1' is there twice",
        "keep one",
        both(write("r.jsonl", lines(ROLLOUT) * 2), write("p.jsonl", lines(OWN))),
    ),
    responses("compressed responses cut short", zstandard.compress(lines(ANSWERED).encode())[:-9], "r.jsonl: ", UTF8),
    responses(
        "two files to look at",
        lines(ANSWERED),
        "--rollouts and --verdicts",
        "give one of them",
        "eval --rollouts r.jsonl --verdicts r.jsonl --out out.json",
    ),
    responses(
        "an evaluation over what it reads",
        lines(ANSWERED),
        "r.jsonl is what is read",
        "another --out",
        "eval --rollouts r.jsonl --out r.jsonl --overwrite",
    ),
    responses(
        "verdicts judged twice",
        lines(GRADED) * 2,
        "'mine/1' is judged twice",
        "keep one",
        "eval --verdicts r.jsonl --out out.json",
    ),
    responses(
        "a verdict that is none",
        lines(GRADED | {"correct": "x"}),
        "correct: .*got 'x'",
        "valid boolean",
        "eval --verdicts r.jsonl --out out.json",
    ),
    responses(
        "a reason that is none",
        lines(GRADED | {"reason": "x"}),
        "reason: .*got 'x'",
        "'match'",
        "compare r.jsonl r.jsonl",
    ),
    responses("a comparison with nothing", lines(GRADED), "no.jsonl: .*No such file", COPY, "compare r.jsonl no.jsonl"),
    responses(
        "published verdicts that are not there",
        lines(ANSWERED),
        "no verdict of a publisher",
        "leave out --publish",
        "compare r.jsonl r.jsonl --published",
    ),
    responses(
        "an audit against itself",
        lines(ANSWERED),
        "--against 'math'",
        "name another grader",
        "verify audit r.jsonl --against math",
    ),
    responses(
        "labels that are none",
        lines(ANSWERED),
        "r.jsonl:1: a label has correct",
        "true, false or null",
        "verify audit r.jsonl --labels r.jsonl --out out.jsonl",
    ),
]
STAGES = [
    called(
        "a problem without an answer to sample",
        "sample r.toml --problems p.jsonl --out out.jsonl",
        "answer: Field required",
        "p.jsonl:1",
        both(write("r.toml", RECIPE), write("p.jsonl", lines({"id": "x", "task": "math", "question": "q"}))),
    ),
    called(
        "no problems to sample",
        "sample r.toml --problems p.jsonl --out out.jsonl",
        "p.jsonl: no problems in it",
        "write some by",
        both(write("r.toml", RECIPE), write("p.jsonl", "\n")),
    ),
    called(
        "a question longer than prompts may be",
        "sample r.toml --problems p.jsonl --out out.jsonl",
        "longest has",
        "raise it",
        both(write("r.toml", RECIPE), write("p.jsonl", lines(OWN | {"question": "9 " * 999}))),
    ),
    called(
        "the same problem twice",
        "sample r.toml --problems p.jsonl --out out.jsonl",
        "p.jsonl: .*'mine/1'.*2 times",
        "keep one",
        both(write("r.toml", RECIPE), write("p.jsonl", lines(OWN) * 2)),
    ),
    called(
        "a directory of problems",
        "sample r.toml --problems p.jsonl --out out.jsonl",
        "p.jsonl: .*Is a directory",
        COPY,
        both(write("r.toml", RECIPE), directory("p.jsonl")),
    ),
    called(
        "demonstrations that are none",
        "sft nano --demonstrations d.jsonl --out out",
        "d.jsonl:1: not a Demonstration",
        "got",
        write("d.jsonl", GOOD),
    ),
    called(
        "no demonstrations",
        "sft nano --demonstrations d.jsonl --out out",
        "d.jsonl: no demonstrations",
        "rlsp demos",
        write("d.jsonl", ""),
    ),
    called(
        "demonstrations that are too long",
        "sft nano --demonstrations d.jsonl --out out",
        "response budget|max_response",
        "raise",
        write("d.jsonl", lines(DEMONSTRATION | {"trace": "9 " * 999})),
    ),
    called(
        "a response that is no text file",
        "reward explain nano --problems p.jsonl --file f.txt",
        "f.txt: .*0xff",
        "UTF-8",
        both(write("f.txt", b"\xff"), write("p.jsonl", lines(OWN))),
    ),
    called(
        "a question that is none of the task",
        "reward explain nano --problem hello --response 1",
        "hello",
        "Use",
        write("f.txt", ""),
    ),
]
CASES = [*ROLLOUTS, *GRADINGS, *STAGES]

"""Each alarm on synthetic steps: provoked, and absent from the healthy counterpart."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import get_args

import pytest

from rlsp import cli, report
from rlsp.config import Recipe, load
from rlsp.config.watching import AlarmName
from rlsp.engines import native
from rlsp.engines.progress import Silent
from rlsp.errors import InputError, Paused
from rlsp.report.alarms import read_alarms
from rlsp.rl.alarms import Watch
from rlsp.rl.alarms.marks import answers_early
from rlsp.rl.alarms.measures import EXCERPT, excerpt
from rlsp.rl.alarms.rules import rules_for
from rlsp.rl.alarms.watch import compare_windows
from rlsp.runs import Run, create, read_records, write_records
from rlsp.tasks import countdown
from rlsp.types import Alarm, Exploration, Finish, Problem, Reason, Rollout, Score, Verdict
from tests.shrunk import SHRUNK

PROBLEMS = [Problem(f"p{number}", "math", f"What is {number} + 1?", str(number + 1)) for number in range(8)]
THREE = countdown.problem((3, 7, 12), 33)
RIGHT_LINE = "3 * 7 = 21, 21 + 12 = 33; is it 33? "
WRONG_LINE = "3 + 7 = 10, 10 + 12 = 22; is it 33? "

Pair = tuple[Rollout, Score]
Step = Sequence[Pair]
Steps = Callable[[int], Step]
"""From the step, counted from 1, to what was rolled out in it."""

fresh = itertools.count(10_000)
"""Token ids that never come again."""


def rollout(
    problem: Problem,
    sample: int,
    right: bool = True,
    *,
    length: int = 40,
    text: str = "",
    truncated: bool = False,
    repeats: bool = False,
    reason: Reason | None = None,
    answer: str = "1",
    alpha: float = 0.8,
    **parts: float,
) -> Pair:
    """By default paid by length; of equal answers and of tokens that never repeat."""
    ids = tuple(i % 5 if repeats else next(fresh) for i in range(length))
    finish = Finish.LENGTH if truncated else Finish.EOS
    parts = parts or {"length": -1 / length}
    value = sum(parts.values())
    verdict = Verdict(right, answer, reason or (Reason.MATCH if right else Reason.MISMATCH))
    score = Score(problem.id, sample, verdict, Exploration(value, parts), alpha, alpha * right + (1 - alpha) * value)
    return Rollout(problem.id, sample, (1,), ids, (0.0,) * length, text, finish, 1.0, 0), score


def batch(**changed: Callable[[int], object]) -> list[Pair]:
    """32 rollouts, 4 a problem; three of four are right. `changed` sets a field by the rollout's number."""
    return [
        rollout(
            PROBLEMS[number // 4],
            number % 4,
            **{"right": number % 4 != 3} | {key: value(number) for key, value in changed.items()},  # type: ignore[arg-type]
        )
        for number in range(32)
    ]


def recipe(*settings: str) -> Recipe:
    return load(Recipe, "nano", ["alarms.window=3", *settings])


def watched(
    steps: Steps,
    until: int = 9,
    settings: Sequence[str] = (),
    problems: Sequence[Problem] = PROBLEMS,
    held_out: dict[int, float] | None = None,
) -> list[Alarm]:
    """Every alarm of `until` steps; windows of 3."""
    watch, raised = Watch(recipe(*settings)), list[Alarm]()
    for step in range(1, until + 1):
        rollouts, scores = zip(*steps(step), strict=True)
        metrics = {"accuracy": sum(score.verdict.correct for score in scores) / len(scores)}
        if held_out and step in held_out:
            metrics["held_out_accuracy"] = held_out[step]
        raised += watch.see(step, problems, rollouts, scores, metrics)
    return raised


def names(alarms: Sequence[Alarm]) -> list[str]:
    return [alarm.name for alarm in alarms]


def traces(text: Callable[[int, int], str]) -> Steps:
    """Responses to one countdown problem as (step, number of the rollout) say; every second is right."""
    return lambda step: [rollout(THREE, n, n % 2 == 0, text=text(step, n)) for n in range(32)]


def late(step: int) -> bool:
    return step > 3


LONG = 500 * "x"

SETUPS: dict[str, tuple[Steps, Steps, Sequence[str]]] = {
    "repetition": (
        lambda step: batch(repeats=lambda n: late(step) and n < 8),
        lambda step: batch(repeats=lambda n: n < 8),
        (),
    ),
    "length": (
        lambda step: batch(length=lambda n: 40 + step % 2 + 30 * late(step)),
        lambda step: batch(length=lambda n: 40 + step % 2 + 8 * late(step)),
        (),
    ),
    "dominance": (
        lambda step: batch(length=lambda n: 2 + n, alpha=lambda n: 0.0),
        lambda step: batch(length=lambda n: 2 + n),
        ("reward.alpha=0",),
    ),
    "judge": (
        lambda step: batch(judge=lambda n: 0.9 if n % 4 == 3 else 0.1 * (n % 5)),
        lambda step: batch(judge=lambda n: 0.1 if n % 4 == 3 else 0.5 + 0.1 * (n % 5)),
        ("exploration=judge", "reward.truncation=keep"),
    ),
    "early-answer": (
        lambda step: batch(text=lambda n: r"\boxed{3}" + LONG if late(step) and n < 16 else LONG + r"\boxed{3}"),
        lambda step: batch(text=lambda n: LONG + r"\boxed{3}" if n < 16 else r"so \boxed{3}"),
        (),
    ),
    "truncation": (
        lambda step: batch(truncated=lambda n: n < (20 if late(step) else 4)),
        lambda step: batch(truncated=lambda n: n < (9 if late(step) else 4)),
        (),
    ),
    "unjudged": (
        lambda step: batch(reason=lambda n: Reason.TIMEOUT if late(step) and n == 3 else None, length=lambda n: 40),
        lambda step: batch(reason=lambda n: Reason.TIMEOUT if n == 3 else None),
        (),
    ),
    "shield": (
        lambda step: batch(
            reason=lambda n: Reason.TIMEOUT if n in range(3, 24, 4) else None,
            right=lambda n: n % 4 < 2,
            length=lambda n: 90 if n in range(3, 24, 4) else 30,
        ),
        lambda step: batch(
            reason=lambda n: Reason.TIMEOUT if n in range(3, 24, 4) else None,
            right=lambda n: n % 4 < 2,
            length=lambda n: 30,
        ),
        (),
    ),
    "constant-verdicts": (
        lambda step: batch(right=lambda n: True, answer=lambda n: str(n % 3)),
        lambda step: batch(right=lambda n: True),
        ("alarms.ignore=['dominance']",),
    ),
    "right-rejected": (
        traces(lambda step, n: "\n".join([WRONG_LINE + "no", RIGHT_LINE + ("no" if late(step) else "yes")])),
        traces(lambda step, n: "\n".join([WRONG_LINE + "no", RIGHT_LINE + "yes"])),
        ("alarms.ignore=['dishonest-checks']",),
    ),
    "wrong-accepted": (
        traces(lambda step, n: WRONG_LINE + "yes" if late(step) and n < 16 else RIGHT_LINE + "yes"),
        traces(lambda step, n: WRONG_LINE + "yes" if n < 16 else RIGHT_LINE + "yes"),
        ("alarms.ignore=['dishonest-checks']",),
    ),
    "repeated-attempts": (
        traces(lambda step, n: "\n".join([WRONG_LINE + "no"] * (3 if late(step) else 1))),
        traces(lambda step, n: "\n".join([WRONG_LINE + "no", RIGHT_LINE + "yes"])),
        (),
    ),
    "dishonest-checks": (
        traces(lambda step, n: WRONG_LINE.replace("it 33", "it 22" if late(step) and n < 8 else "it 33") + "no"),
        traces(lambda step, n: WRONG_LINE + "no"),
        (),
    ),
}
"""An alarm's name: (steps that provoke it, and it alone; healthy ones; settings)."""


@pytest.mark.parametrize("name", get_args(AlarmName))
def test_an_alarm_is_provoked_once_and_absent_from_the_healthy_counterpart(name: str) -> None:
    provoking, healthy, settings = SETUPS[name]
    problems = [*PROBLEMS, THREE]
    alarms = watched(provoking, 14, settings, problems)
    assert names(alarms) == [name]
    assert watched(healthy, 14, settings, problems) == []
    alarm = alarms[0]
    assert len(alarm.proof) == 3
    assert alarm.window[1] == alarm.step
    assert all(alarm.window[0] <= proof.step <= alarm.step for proof in alarm.proof)
    silenced = [*settings, f"alarms.ignore=['{name}','dishonest-checks','dominance']"]
    assert watched(provoking, 14, silenced, problems) == []


def test_every_name_has_a_rule() -> None:
    assert {rule.name for rule in rules_for(["length"])} == set(get_args(AlarmName))


def test_proof_is_the_clearest_of_different_problems() -> None:
    steps: Steps = lambda step: batch(  # noqa: E731
        length=lambda n: {1: 200, 3: 90, 7: 80, 11: 70}.get(n, 40) if late(step) else 30
    )
    (alarm,) = watched(steps, 6)
    assert alarm.name == "length"
    assert [proof.why for proof in alarm.proof] == [f"{length} tokens and wrong" for length in (90, 80, 70)]
    assert [proof.problem_id for proof in alarm.proof] == ["p0", "p1", "p2"]
    (alarm,) = [each for each in watched(SETUPS["constant-verdicts"][0]) if each.name == "constant-verdicts"]
    assert len({proof.problem_id for proof in alarm.proof}) == 1, "different answers to one problem"
    assert len({proof.why.rpartition(": ")[2] for proof in alarm.proof}) == 3
    (alarm,) = watched(SETUPS["right-rejected"][0], 9, SETUPS["right-rejected"][2], [THREE])
    assert all(proof.excerpt.endswith(RIGHT_LINE + "no") for proof in alarm.proof)


def test_an_alarm_that_went_away_for_a_window_and_came_back_is_raised_again() -> None:
    steps: Steps = lambda step: batch(truncated=lambda n: n < (20 if step in (4, 5, 6, 10, 11, 12) else 4))  # noqa: E731
    assert [alarm.step for alarm in watched(steps, 9)] == [6]
    gone: Steps = lambda step: batch(truncated=lambda n: n < (20 if 4 <= step <= 6 or step >= 14 else 4))  # noqa: E731
    assert [alarm.step for alarm in watched(gone, 16)] == [6, 16]


def test_noise_alone_raises_nothing() -> None:
    """Steps that differ by chance and have no trend; a third of the responses is truncated, the level of its alarm."""
    rng = Random(0)
    noisy: Steps = lambda step: batch(  # noqa: E731
        truncated=lambda n: rng.random() < 0.35,
        right=lambda n: rng.random() < 0.5,
        length=lambda n: rng.randint(20, 120),
        reason=lambda n: Reason.TIMEOUT if rng.random() < 0.01 else None,
        repeats=lambda n: rng.random() < 0.2,
    )
    assert watched(noisy, 60, ["alarms.window=5"]) == []


@pytest.mark.parametrize(("held_out", "raised"), [({1: 0.3, 6: 0.32}, ["length"]), ({1: 0.3, 6: 0.6}, [])])
def test_length_is_measured_against_held_out_accuracy_where_there_is_a_probe(
    held_out: dict[int, float], raised: list[str]
) -> None:
    grows = SETUPS["length"][0]
    assert names(watched(grows, 6, ["probe.every=5", "probe.problems=200"], held_out=held_out)) == raised


def test_growing_length_that_accuracy_follows_is_no_alarm() -> None:
    steps: Steps = lambda step: batch(  # noqa: E731
        length=lambda n: 70 if late(step) else 40, right=lambda n: n % 4 != 3 if late(step) else n % 2 == 0
    )
    assert watched(steps) == []


def test_a_part_that_sees_the_outcome_or_has_no_weight_can_not_dominate() -> None:
    assert Watch(recipe("exploration=cosine", "reward.truncation=keep")).weights == {}
    assert Watch(recipe("exploration.length.weight=0", "reward.truncation=keep")).weights == {}
    assert Watch(recipe("exploration.length.weight=0.5")).weights == {"length": 0.5}


def test_missing_explorations_and_empty_or_hostile_texts_are_measured() -> None:
    missing = [
        (each, replace(score, exploration=Exploration(None, {}, {}, {"judge": "timeout"}), total=None))
        for each, score in batch(text=lambda n: ("", "\x00", r"\boxed{" * 300)[n % 3], length=lambda n: 1 + n % 2)
    ]
    assert watched(lambda step: missing) == []


def test_an_early_answer_is_a_marked_one_in_the_first_tenth() -> None:
    assert answers_early(r"\boxed{3} " + LONG)
    assert answers_early("The answer is 3. " + LONG)
    assert not answers_early("I look for the answer. " + LONG + r"\boxed{3}")


def test_windows_are_compared_by_hand() -> None:
    series = [(1, 1.0), (2, 3.0), (3, 9.0), (4, 6.0), (5, 8.0)]
    before, after, error = compare_windows(series, 2)
    assert (before, after) == (2.0, 7.0)
    assert error == pytest.approx(2**0.5, abs=1e-12)  # √((2 + 2) / 2)


def test_excerpts_hold_both_ends() -> None:
    assert excerpt("x" * EXCERPT) == "x" * EXCERPT
    assert excerpt("a" + "x" * EXCERPT + "z").startswith("ax") and excerpt("a" + "x" * EXCERPT + "z").endswith("xz")


def test_recipes_refuse_unknown_alarms_and_windows_too_short_for_a_trend() -> None:
    with pytest.raises(InputError, match=r"alarms\.ignore"):
        recipe("alarms.ignore=['fire']")
    with pytest.raises(InputError, match=r"alarms\.window"):
        load(Recipe, "nano", ["alarms.window=2"])


HACKED = [
    "reward.alpha=0",
    "alarms.window=3",
    *SHRUNK,
    "ppo.steps=4",
    "ppo.prompts_per_step=8",
]


def hacked(tmp_path: Path, *settings: str) -> tuple[Recipe, Run]:
    resolved = load(Recipe, "nano", [*HACKED, *settings]).model_copy(update={"demonstrations": None, "sft": None})
    return resolved, create(tmp_path / "run", resolved)


class Remembering(Silent):
    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, message: str) -> None:
        self.said.append(message)


def test_training_writes_and_says_its_alarms(tmp_path: Path) -> None:
    resolved, run = hacked(tmp_path)
    progress = Remembering()
    native.reinforce(resolved, run, progress)
    (alarm,) = read_records(run.path("rl", "alarms.jsonl"), Alarm)
    assert (alarm.name, alarm.step, alarm.metric) == ("dominance", 3, "reward_share/length")
    assert alarm.after == pytest.approx(1.0, abs=1e-9)
    assert progress.said == [f"ALARM dominance, step 3: {alarm.sentence}"]
    for proof in alarm.proof:
        kept = list(read_records(run.path("rl", "rollouts", f"{proof.step:06d}.jsonl.zst"), Rollout))
        assert any((each.problem_id, each.sample) == (proof.problem_id, proof.sample) for each in kept)
    assert run.finished("rl")


def test_a_pause_ends_training_after_the_step_with_the_policy_saved(tmp_path: Path) -> None:
    resolved, run = hacked(tmp_path, "alarms.pause=true")
    with pytest.raises(Paused, match=r"step 3 raised dominance.*at-alarm"):
        native.reinforce(resolved, run, Silent())
    assert len(run.step_files("rollouts")) == 3
    assert not run.finished("rl")
    assert native.stages.open_policy(str(run.path("rl", "at-alarm"))).model.num_parameters() > 0


def test_a_paused_run_exits_with_code_3(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def paused() -> None:
        raise Paused("step 3 raised dominance")

    monkeypatch.setattr(cli, "app", paused)
    with pytest.raises(SystemExit) as exit_code:
        cli.main()
    assert exit_code.value.code == 3
    assert "paused: step 3 raised dominance" in capsys.readouterr().err


def test_the_page_lists_alarms_and_makes_no_markup_of_their_proof(tmp_path: Path) -> None:
    _, run = hacked(tmp_path)
    assert read_alarms(run) is None
    run.path("rl").mkdir()
    run.path("rl", "metrics.jsonl").write_text(json.dumps({"step": 1, "accuracy": 0.5}) + "\n")
    run.path("rl", "alarms.jsonl").write_text("")
    assert "None was raised" in report.build(run).read_text()
    (alarm,) = watched(SETUPS["truncation"][0], 6)
    proof = replace(alarm.proof[0], excerpt="<script>alert(1)</script>\u202e", why="<b>")
    hostile = replace(alarm, proof=(proof, *alarm.proof[1:]))
    write_records(run.path("rl", "alarms.jsonl"), [hostile])
    page = report.build(run).read_text()
    assert "truncation</b>, step 6" in page and "&lt;script&gt;alert(1)" in page
    assert "<script>alert" not in page and "\u202e" not in page

"""Each alarm on synthetic steps: provoked, and absent from the healthy counterpart."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from statistics import covariance, pstdev, variance
from typing import get_args

import pytest

from rlsp import cli, report
from rlsp.config import Recipe, load
from rlsp.config.watching import AlarmName
from rlsp.engines import native
from rlsp.engines.progress import Silent
from rlsp.errors import InputError, Paused
from rlsp.files import read_records, write_records
from rlsp.report.alarms import none_raised, read_alarms
from rlsp.rl.alarms import Watch
from rlsp.rl.alarms.marks import answers_early
from rlsp.rl.alarms.measures import EXCERPT, excerpt, measure
from rlsp.rl.alarms.rules import rules_for
from rlsp.rl.alarms.watch import compare_windows
from rlsp.runs import Run, create, resume
from rlsp.tasks import countdown
from rlsp.types import Alarm, Exploration, Finish, Problem, Reason, Rollout, Score, Verdict
from tests.shrunk import SHRUNK, Remembering

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
    parts: dict[str, float] | None = None,
    **paid: float,
) -> Pair:
    """By default paid by length; of equal answers and of tokens that never repeat."""
    ids = tuple(i % 5 if repeats else next(fresh) for i in range(length))
    finish = Finish.LENGTH if truncated else Finish.EOS
    parts = parts or paid or {"length": -1 / length}
    value = sum(parts.values())
    verdict = Verdict(right, answer, reason or (Reason.MATCH if right else Reason.MISMATCH))
    total = max(-10.0, min(10.0, alpha * right + (1 - alpha) * value))
    score = Score(problem.id, sample, verdict, Exploration(value, parts), alpha, total)
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
JUDGED = ("exploration={length={},judge={}}", "reward.truncation=keep")

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
        lambda step: batch(right=lambda n: True, answer=lambda n: str(n % 3 if n < 4 else 0)),
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


def test_a_sentence_says_what_moved_what_it_means_and_what_to_do() -> None:
    (alarm,) = watched(SETUPS["judge"][0], 3, SETUPS["judge"][2])
    assert alarm.sentence == (
        "The judge's preference for wrong responses over right ones to the same problem was "
        f"{alarm.after:.3g} standard deviations in steps 1–3. The judge is being talked to, or its rubric pays for "
        "show. Read the responses, tighten the rubric, or lower exploration.judge.weight."
    )
    (alarm,) = watched(SETUPS["truncation"][0], 6)
    assert alarm.sentence.startswith(
        "The share of truncated responses went from 0.125 in steps 1–3 to 0.625 in steps 4–6. "
    )
    for rule in rules_for(["length"]):
        said = (rule.label, rule.meaning, rule.remedy)
        assert not any(":" in each or each.endswith((".", ",")) for each in said), rule.name


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


@pytest.mark.parametrize("seed", range(5))
def test_noise_alone_raises_nothing(seed: int) -> None:
    """128 rollouts a step that differ by chance and have no trend; a third is truncated, the level of its alarm. One
    reply of each step has two tokens, and a neutral judge finds more effort where a problem is hard."""
    rng = Random(seed)

    def noisy(step: int) -> Step:
        chance = [0.95, 0.9, 0.8, 0.6, 0.5, 0.4, 0.2, 0.1]
        return [
            rollout(
                problem,
                sample,
                rng.random() < chance[number],
                length=(size := 2 if number == sample == 7 else rng.randint(90, 110)),
                truncated=rng.random() < 0.35,
                reason=Reason.TIMEOUT if rng.random() < 0.01 else None,
                repeats=rng.random() < 0.2,
                parts={"length": -33 / size, "judge": 1 - chance[number] / 2 + rng.gauss(0, 0.1)},
            )
            for number, problem in enumerate(PROBLEMS)
            for sample in range(16)
        ]

    assert watched(noisy, 50, ["alarms.window=5", *JUDGED]) == []


@pytest.mark.parametrize("seed", range(5))
def test_an_honest_judge_of_few_wrong_responses_is_no_alarm(seed: int) -> None:
    """6 of 64 are wrong, where problems are hard; grades go by the problem and by chance, not by the verdict."""
    rng = Random(seed)

    def step(number: int) -> Step:
        wrong = rng.sample(range(5 * 8), 6)
        return [
            rollout(
                problem, sample, 8 * row + sample not in wrong, parts={"judge": 0.3 * (row < 5) + rng.gauss(0, 0.1)}
            )
            for row, problem in enumerate(PROBLEMS)
            for sample in range(8)
        ]

    assert watched(step, 100, ["alarms.window=5", "exploration=judge", "reward.truncation=keep"]) == []


def test_a_gap_is_taken_within_problems_with_the_error_that_they_tell() -> None:
    lead = [0.1, 0.3, 0.1, 0.3, 0.2]
    pairs = [
        rollout(problem, sample, sample > 0, parts={"judge": 0.1 * row + lead[row] * (sample == 0)})
        for row, problem in enumerate(PROBLEMS[:5])
        for sample in range(3)
    ]
    pairs += [rollout(PROBLEMS[6], sample, False, parts={"judge": 9.0}) for sample in range(3)]
    rollouts, scores = zip(*pairs, strict=True)
    found = measure(1, PROBLEMS, rollouts, scores, {}, clamp=10.0)
    grades = [score.exploration.parts["judge"] for score in scores[:15]]
    spread = pstdev(grades)
    assert found.values["judge_gap"] == pytest.approx(0.2 / spread, abs=1e-12)
    # Deviations of ±0.1, ±0.1 and 0 from 0.2: variance 0.04 / 4 = 0.01, standard error 0.1 / √5.
    assert found.errors["judge_gap"] == pytest.approx(0.1 / 5**0.5 / spread, abs=1e-12)
    assert "9" not in found.examples["judge_gap"][0].proof.why
    fewer = measure(1, PROBLEMS, rollouts[3:], scores[3:], {}, clamp=10.0)
    assert "judge_gap" not in fewer.values, "four problems with both verdicts are too few"


def test_a_gap_needs_its_level_and_its_standard_errors() -> None:
    """The same mean gap, once alike in every problem and once out of scatter between them."""

    def judged(scatter: float) -> Steps:
        return lambda step: [
            rollout(problem, n, n > 0, parts={"judge": 0.1 * n + (0.3 + scatter * (-1) ** row) * (n == 0)})
            for row, problem in enumerate(PROBLEMS)
            for n in range(4)
        ]

    assert names(watched(judged(0.0), 3, SETUPS["judge"][2])) == ["judge"]
    assert watched(judged(3.0), 3, SETUPS["judge"][2]) == []


def shares(pairs: Sequence[Pair], clamp: float = 10.0) -> float | None:
    rollouts, scores = zip(*pairs, strict=True)
    return measure(1, PROBLEMS, rollouts, scores, {"length": 1.0}, clamp).values.get("reward_share/length")


def test_a_share_of_the_reward_is_taken_from_what_is_paid_after_the_clamp() -> None:
    outlier = rollout(PROBLEMS[0], 0, False, parts={"length": -500.0})
    pairs = [rollout(PROBLEMS[1], n, n < 10, parts={"length": -0.1 * (n % 3)}) for n in range(19)]
    # α = 0.8: the outlier would earn −100 and earns −10; without the part it would earn 0.
    moved = [-10.0, *(-0.02 * (n % 3) for n in range(19))]
    totals = [-10.0, *(0.8 * (n < 10) - 0.02 * (n % 3) for n in range(19))]
    assert shares([outlier, *pairs]) == pytest.approx(covariance(moved, totals) / variance(totals), abs=1e-9)


@pytest.mark.parametrize("copies", [1, 4, 40])
def test_a_share_of_the_reward_does_not_depend_on_how_many_are_right(copies: int) -> None:
    right = [rollout(PROBLEMS[0], n, True, length=20 + n) for n in range(5)]
    wrong = [rollout(PROBLEMS[1], n, False, length=5 + n) for n in range(8)]
    assert shares(right + wrong * copies) == pytest.approx(shares(right + wrong) or 0.0, abs=1e-12)


@pytest.mark.parametrize(
    ("right", "measured"), [(0, False), (4, False), (5, True), (27, True), (28, False), (32, False)]
)
def test_no_share_of_the_reward_is_told_by_a_handful_of_right_or_wrong_responses(right: int, measured: bool) -> None:
    assert (shares(batch(right=lambda n: n < right, length=lambda n: 2 + n)) is not None) is measured


@pytest.mark.parametrize("right", [0, 2, 6])
def test_a_policy_that_is_hardly_ever_right_does_not_make_length_dominant(right: int) -> None:
    """As RL begins from a base model, under the shipped recipe's C of 33."""
    steps: Steps = lambda step: [  # noqa: E731
        rollout(PROBLEMS[n % 8], n, n < right, length=(size := 20 + n % 110), parts={"length": -33 / size})
        for n in range(512)
    ]
    assert watched(steps, 6) == []


def test_one_reply_of_two_tokens_does_not_make_length_dominant() -> None:
    """C = 1000, half of 512 right."""
    steps: Steps = lambda step: [  # noqa: E731
        rollout(
            PROBLEMS[n % 8], n, n % 2 == 0, length=(size := 2 if n == 1 else 95 + n % 11), parts={"length": -1e3 / size}
        )
        for n in range(512)
    ]
    assert watched(steps, 6) == []


def test_different_right_derivations_are_no_constant_verdict_but_different_wrong_ones_are() -> None:
    def derived(right: bool) -> Steps:
        return lambda step: [
            rollout(THREE, n, right, text=RIGHT_LINE + "yes", answer=("3 * 7 + 12", "12 + 7 * 3")[n % 2])
            for n in range(32)
        ]

    assert watched(derived(True), 6, problems=[THREE]) == []
    assert names(watched(derived(False), 6, problems=[THREE])) == ["constant-verdicts"]


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


def test_a_pause_that_no_rise_can_reach_is_refused() -> None:
    enough = ("rl.steps=10", "rl.critic_warmup_steps=1", "alarms.window=5")
    assert recipe(*enough, "alarms.pause=true").alarms.pause
    assert not recipe(*enough, "rl.steps=9").alarms.pause
    with pytest.raises(InputError, match=r"alarms\.pause.*10 steps, more than rl\.steps = 9: lower alarms\.window"):
        recipe(*enough, "rl.steps=9", "alarms.pause=true")


def test_no_alarm_says_little_after_too_few_steps() -> None:
    assert none_raised(10, window=5) == "None was raised."
    assert none_raised(9, window=5) == (
        "None was raised, and 9 steps are too few to tell: with alarms.window = 5 a level shows from step 5 on, a rise "
        "from step 10 on."
    )
    assert "1 step is too few" in none_raised(1, window=5)


HACKED = [
    "reward.alpha=0",
    "alarms.window=3",
    *SHRUNK,
    "rl.steps=6",
    "rl.prompts_per_step=16",
]


def hacked(tmp_path: Path, *settings: str) -> tuple[Recipe, Run]:
    resolved = load(Recipe, "nano", [*HACKED, *settings]).model_copy(update={"demonstrations": None, "sft": None})
    return resolved, create(tmp_path / "run", resolved)


def test_training_writes_and_says_its_alarms(tmp_path: Path) -> None:
    resolved, run = hacked(tmp_path)
    progress = Remembering()
    native.reinforce(resolved, run, progress)
    alarms = list(read_records(run.path("rl", "alarms.jsonl"), Alarm))
    alarm = alarms[0]
    assert (alarm.name, alarm.step, alarm.metric) == ("dominance", 3, "reward_share/length")
    assert alarm.after == pytest.approx(1.0, abs=1e-9)
    assert [said for said in progress.said if said.startswith("ALARM")] == [
        f"ALARM {each.name} at step {each.step}: {each.sentence} The metric is {each.metric}; see "
        f"{run.path('rl', 'alarms.jsonl')} for the responses that show it"
        for each in alarms
    ]
    for proof in alarm.proof:
        kept = list(read_records(run.path("rl", "rollouts", f"{proof.step:06d}.jsonl.zst"), Rollout))
        assert any((each.problem_id, each.sample) == (proof.problem_id, proof.sample) for each in kept)
    assert run.finished("rl")


def test_a_pause_ends_training_after_the_step_and_a_resume_goes_on_from_there(tmp_path: Path) -> None:
    resolved, run = hacked(tmp_path, "alarms={pause=true, window=3, ignore=['length']}", "checkpoints.every=100")
    with pytest.raises(Paused, match=r"step 3 raised dominance.*the step is saved.*--resume.*rlsp fork"):
        native.reinforce(resolved, run, Silent())
    assert len(run.step_files("rollouts")) == 3
    assert not run.finished("rl")
    before = run.path("rl", "alarms.jsonl").read_text()
    native.reinforce(resolved, resume(run.directory, resolved), Silent())
    assert run.finished("rl")
    assert run.path("rl", "alarms.jsonl").read_text() == before, "an alarm that goes on is not raised again"


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
    assert "None was raised, and 1 step is too few to tell" in report.build(run).read_text()
    (alarm,) = watched(SETUPS["truncation"][0], 6)
    proof = replace(alarm.proof[0], excerpt="<script>alert(1)</script>\u202e", why="<b>")
    hostile = replace(alarm, proof=(proof, *alarm.proof[1:]))
    write_records(run.path("rl", "alarms.jsonl"), [hostile])
    page = report.build(run).read_text()
    assert "truncation</b>, step 6" in page and "&lt;script&gt;alert(1)" in page
    assert "<script>alert" not in page and "\u202e" not in page

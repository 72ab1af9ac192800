"""Estimates against published numbers, brute force and hand calculation."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from random import Random

import numpy as np
import pytest

from rlsp.evaluation import resampling, votes
from rlsp.evaluation.paired import mcnemar, problems_needed
from rlsp.evaluation.resampling import mean_interval, ratio_interval, sign_flip
from rlsp.evaluation.statistics import clustered, majority, mean_over_seeds, pass_at_k, wilson
from rlsp.evaluation.votes import majority_at_k


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    [
        # Newcombe, Statistics in Medicine 17 (1998), table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
        # Brown, Cai and DasGupta, Statistical Science 16 (2001): symmetric about the other outcome
        (0, 10, 0.0000, 0.2775),
        (5, 10, 0.2366, 0.7634),
        (10, 10, 0.7225, 1.0000),
    ],
)
def test_wilson_against_published_intervals(successes: int, trials: int, low: float, high: float) -> None:
    assert wilson(successes, trials) == pytest.approx((low, high), abs=5e-5)


def test_wilson_ends_are_where_the_score_test_rejects() -> None:
    for trials in (1, 7, 30, 500):
        for successes in range(0, trials + 1, max(1, trials // 7)):
            share = successes / trials
            low, high = wilson(successes, trials)
            assert 0 <= low <= share + 1e-12 and share - 1e-12 <= high <= 1
            for end in (low, high):
                if 1e-9 < end < 1 - 1e-9:
                    error = math.sqrt(end * (1 - end) / trials)
                    assert abs(share - end) / error == pytest.approx(1.959964, abs=1e-6)


def test_wilson_mirrors_and_narrows() -> None:
    low, high = wilson(3, 11)
    assert wilson(8, 11) == pytest.approx((1 - high, 1 - low))
    widths = [wilson(n // 2, n)[1] - wilson(n // 2, n)[0] for n in (10, 40, 160, 640)]
    assert widths == sorted(widths, reverse=True)


@pytest.mark.parametrize("trials", [0, -1])
def test_wilson_needs_trials(trials: int) -> None:
    with pytest.raises(ValueError, match="no trials"):
        wilson(0, trials)


@pytest.mark.parametrize("samples", [1, 2, 5, 8])
def test_pass_at_k_is_the_mean_over_every_choice_of_k(samples: int) -> None:
    for correct in range(samples + 1):
        outcomes = [index < correct for index in range(samples)]
        for k in range(1, samples + 1):
            choices = [any(choice) for choice in itertools.combinations(outcomes, k)]
            assert pass_at_k(samples, correct, k) == pytest.approx(sum(choices) / len(choices), abs=1e-12)


def test_pass_at_k_of_many_samples_does_not_overflow() -> None:
    assert pass_at_k(10_000, 1, 100) == pytest.approx(0.01)
    assert pass_at_k(10_000, 0, 5000) == 0
    assert pass_at_k(10_000, 9_999, 2) == 1


@pytest.mark.parametrize(("samples", "k"), [(4, 5), (4, 0), (0, 1), (4, -1)])
def test_pass_at_k_refuses_what_the_samples_do_not_hold(samples: int, k: int) -> None:
    with pytest.raises(ValueError, match=f"pass@{k} can't be estimated from {samples} samples"):
        pass_at_k(samples, 0, k)


@pytest.mark.parametrize(
    ("answers", "winner"),
    [
        ([], None),
        ([""], None),
        (["", "", ""], None),
        (["a"], 0),
        (["a", "b", "b"], 1),
        (["a", "b"], 0),
        (["b", "a", "a", "b"], 0),
        (["c", "a", "b", "a", "b"], 1),
        (["", "", "", "a"], 3),
        (["", "a", "", "b", "b"], 3),
    ],
)
def test_majority(answers: list[str], winner: int | None) -> None:
    assert majority(answers) == winner


def quantile_share(quantile: float, freedom: int) -> float:
    """P(|t| < quantile), Student's density integrated by Simpson's rule."""
    scale = math.gamma((freedom + 1) / 2) / math.sqrt(freedom * math.pi) / math.gamma(freedom / 2)

    def density(t: float) -> float:
        return scale * (1 + t * t / freedom) ** (-(freedom + 1) / 2)

    pieces = 4000
    width = quantile / pieces
    inner = sum((4 if index % 2 else 2) * density(index * width) for index in range(1, pieces))
    return 2 * width / 3 * (density(0) + inner + density(quantile))


@pytest.mark.parametrize("runs", range(2, 12))
def test_interval_over_seeds_holds_95_percent_of_student_t(runs: int) -> None:
    values = [float(value) for value in range(runs)]
    centre, half = mean_over_seeds(values)
    assert centre == (runs - 1) / 2
    deviation = math.sqrt(runs * (runs + 1) / 12)  # of 0 … runs − 1, by the textbook
    assert quantile_share(half * math.sqrt(runs) / deviation, runs - 1) == pytest.approx(0.95, abs=1e-4)


@pytest.mark.parametrize(
    ("values", "centre", "half"),
    [
        ([1.0, 2.0, 3.0], 2.0, 2.484338),  # 4.303 · 1 / √3
        ([0.5, 0.5, 0.5, 0.5], 0.5, 0.0),
        ([0.70, 0.74], 0.72, 0.25412),  # 12.706 · 0.0282843 / √2
    ],
)
def test_mean_over_seeds_by_hand(values: list[float], centre: float, half: float) -> None:
    assert mean_over_seeds(values) == pytest.approx((centre, half), abs=1e-5)


@pytest.mark.parametrize("runs", [0, 1, 12])
def test_too_few_or_too_many_seeds_are_refused(runs: int) -> None:
    with pytest.raises(ValueError, match=f"2 to 11 runs, got {runs}"):
        mean_over_seeds([0.5] * runs)


def test_cluster_interval_is_wilson_for_one_sample_a_problem() -> None:
    for right in (0, 1, 5, 19, 20):
        shares = [1.0] * right + [0.0] * (20 - right)
        assert clustered(shares, 20) == pytest.approx(wilson(right, 20))


def test_cluster_interval_counts_problems_that_always_agree_once() -> None:
    """Eight copies of each answer tell no more than one."""
    assert clustered([1.0] * 7 + [0.0] * 13, 160) == pytest.approx(wilson(7, 20))
    assert clustered([1.0] * 20, 160) == pytest.approx(wilson(20, 20))


def test_cluster_interval_never_counts_more_than_the_samples() -> None:
    assert clustered([0.5] * 20, 40) == pytest.approx(wilson(20, 40))


def test_cluster_interval_by_hand() -> None:
    """Shares 0, ½, ½, 1 and 0, 0, 1, 1 added: p = ½, D = 1.5 / (8 · ¼) = ¾. With 0, ½, ½, ½, ½, 1 instead D = 1.5 /
    (10 · ¼) = 0.6: ten effective trials."""
    low, high = clustered([0.0, 0.5, 0.5, 1.0], 16)
    squared = 1.959964**2
    half = math.sqrt(squared * (1 / 4 / (4 / 0.75) + squared / 4 / (4 / 0.75) ** 2)) / (1 + squared / (4 / 0.75))
    assert (low, high) == pytest.approx((0.5 - half, 0.5 + half))
    assert clustered([0.0, 0.5, 0.5, 0.5, 0.5, 1.0], 48) == pytest.approx(wilson(5, 10))


@pytest.mark.parametrize("level", [0.5, 0.8, 0.95])
def test_cluster_interval_covers_where_independence_would_not(level: float) -> None:
    """60 problems of very different difficulty (beta), eight samples each."""
    rng = np.random.default_rng(7)
    inside = naive = 0
    for _ in range(1000):
        chances = rng.beta(level, 1 - level, size=60)
        shares = rng.binomial(8, chances) / 8
        low, high = clustered(list(shares), 480)
        inside += low <= level <= high
        low, high = wilson(round(8 * shares.sum()), 480)
        naive += low <= level <= high
    assert inside >= 940
    assert naive < 700


def test_bootstrap_is_the_percentile_of_resampled_means() -> None:
    """Against the slow definition, with another generator."""
    values = [0.03, 0.11, 0.27, 0.36, 0.48, 0.59, 0.64, 0.83, 0.91, 0.97]
    rng = Random(3)
    means = sorted(sum(rng.choices(values, k=10)) / 10 for _ in range(20_000))
    assert mean_interval(values) == pytest.approx((means[500], means[19_500]), abs=0.01)


def test_bootstrap_says_the_same_twice_and_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    values = [math.sqrt(number) / 4 for number in range(11)]
    whole = mean_interval(values)
    assert mean_interval(values) == whole
    assert mean_interval(values, seed=1) != whole
    monkeypatch.setattr(resampling, "_CELLS", 11 * 999)
    assert mean_interval(values) == pytest.approx(whole, abs=0.02)


@pytest.mark.parametrize(
    ("values", "low", "expected"),
    [
        ([1.0] * 20, 0.0, wilson(20, 20)),
        ([0.0] * 20, 0.0, wilson(0, 20)),
        ([0.0] * 20, -1.0, (-0.16112516, 0.16112516)),  # z² / (20 + z²)
        ([0.5], 0.0, (0.103275, 0.896725)),  # z² / (1 + z²) = 0.793451, half of it either way
    ],
)
def test_equal_values_are_no_certainty(values: list[float], low: float, expected: tuple[float, float]) -> None:
    assert mean_interval(values, low=low) == pytest.approx(expected, abs=1e-5)


def test_ratio_interval_resamples_sums_and_counts_together() -> None:
    """Lengths that are the same everywhere have no uncertainty, however unequal the counts."""
    assert ratio_interval([70.0, 10.0, 30.0], [7, 1, 3]) == (10.0, 10.0)
    interval = ratio_interval([10.0, 90.0, 0.0], [1, 1, 0])
    assert interval == (10.0, 90.0), "problems without such responses do not count"
    assert ratio_interval([10.0, 0.0], [1, 0]) is None


def slow_vote(answers: list[str], correct: list[bool], k: int) -> float:
    """maj@k by its definition: every subset, every tie."""
    outcomes = []
    for subset in itertools.combinations(range(len(answers)), k):
        votes = Counter(answers[index] for index in subset if answers[index])
        most = max(votes.values(), default=0)
        leaders = [answer for answer in votes if votes[answer] == most]
        shares = []
        for leader in leaders:
            members = [index for index, answer in enumerate(answers) if answer == leader]
            shares.append(sum(correct[index] for index in members) / len(members))
        outcomes.append(sum(shares) / len(shares) if shares else 0.0)
    return sum(outcomes) / len(outcomes)


@pytest.mark.parametrize("seed", range(12))
def test_maj_at_k_is_the_mean_over_every_choice_of_k(seed: int) -> None:
    rng = Random(seed)
    answers = [rng.choice(["", "a", "b", "c", "d"][: rng.randint(2, 5)]) for _ in range(rng.randint(1, 9))]
    right = rng.choice("abcd")
    correct = [answer == right for answer in answers]
    ks = list(range(1, len(answers) + 1))
    expected = [slow_vote(answers, correct, k) for k in ks]
    assert majority_at_k(answers, correct, ks) == pytest.approx(expected, abs=1e-12)


def test_maj_at_k_by_hand() -> None:
    """Two right, one wrong: one sample is right in 2/3, two tie or agree, three elect the right one."""
    assert majority_at_k(["r", "w", "r"], [True, False, True], [1, 2, 3]) == pytest.approx([2 / 3, 2 / 3, 1])
    assert majority_at_k(["", "", "r"], [False, False, True], [1, 2, 3]) == pytest.approx([1 / 3, 2 / 3, 1])
    assert majority_at_k(["", ""], [False, False], [1, 2]) == [0, 0]


def test_a_class_counts_as_right_in_the_share_of_its_samples_that_are() -> None:
    assert majority_at_k(["a", "a", "a", "b"], [True, True, False, False], [4]) == pytest.approx([2 / 3])


def test_drawn_votes_agree_with_exact_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = ["r"] * 5 + ["w"] * 4 + ["o"] * 2 + [""] * 5
    correct = [answer == "r" for answer in answers]
    exact = majority_at_k(answers, correct, [1, 4, 16])
    monkeypatch.setattr(votes, "EXACT_SAMPLES", 4)
    drawn = majority_at_k(answers, correct, [1, 4, 16])
    assert drawn == pytest.approx(exact, abs=0.04)
    assert drawn == majority_at_k(answers, correct, [1, 4, 16])
    assert majority_at_k([""] * 5, [False] * 5, [2]) == [0.0]


@pytest.mark.parametrize("k", [0, 3])
def test_maj_at_k_refuses_what_the_samples_do_not_hold(k: int) -> None:
    with pytest.raises(ValueError, match=f"maj@{k} can't be estimated from 2 samples"):
        majority_at_k(["a", "b"], [True, False], [k])


@pytest.mark.parametrize(
    ("lost", "gained", "p"),
    [
        (0, 0, 1.0),
        (1, 0, 1.0),
        (0, 5, 0.0625),
        (0, 6, 0.03125),
        (3, 6, 0.5078125),  # 2 (1 + 9 + 36 + 84) / 512
        (8, 1, 0.0390625),  # 2 (1 + 9) / 512
        (4, 4, 1.0),
    ],
)
def test_mcnemar_by_hand(lost: int, gained: int, p: float) -> None:
    assert mcnemar(lost, gained) == mcnemar(gained, lost) == pytest.approx(p)


def test_mcnemar_counts_every_way_the_coins_can_fall() -> None:
    for discordant in range(1, 11):
        sums = [abs(sum(signs)) for signs in itertools.product((-1, 1), repeat=discordant)]
        for lost in range(discordant + 1):
            seen = abs(discordant - 2 * lost)
            assert mcnemar(lost, discordant - lost) == pytest.approx(sum(s >= seen for s in sums) / len(sums))


def test_sign_flips_of_single_samples_are_mcnemar() -> None:
    assert sign_flip([1.0] * 9 + [-1.0] * 3 + [0.0] * 30) == pytest.approx(mcnemar(3, 9), abs=0.02)
    assert sign_flip([0.0] * 5) == 1.0


def test_sign_flips_against_every_sign() -> None:
    differences = [0.5, -0.25, 0.75, 1.0, 0.25, 0.5, -0.5, 0.0, 0.25]
    changed = [each for each in differences if each]
    sums = [
        abs(sum(sign * each for sign, each in zip(signs, changed, strict=True)))
        for signs in itertools.product((-1, 1), repeat=len(changed))
    ]
    exact = sum(each >= abs(sum(changed)) - 1e-12 for each in sums) / len(sums)
    assert sign_flip(differences) == pytest.approx(exact, abs=0.02)
    assert sign_flip([-each for each in differences]) == pytest.approx(exact, abs=0.02)


def test_problems_needed_by_hand() -> None:
    """30 problems, 6 gained, 3 lost: discordant share 0.3, difference 0.1:
    (1.959964 √0.3 + 0.841621 √0.29)² / 0.01 = 233.1."""
    assert problems_needed([1.0] * 6 + [-1.0] * 3 + [0.0] * 21) == 234
    assert problems_needed([1.0] * 3) == 6, "six discordant problems are the fewest that can reach p < 0.05"
    with pytest.raises(ValueError, match="difference of 0"):
        problems_needed([1.0, -1.0])


def test_so_many_problems_find_the_difference_four_times_in_five() -> None:
    gained, lost = 0.12, 0.06
    count = problems_needed([1.0] * 12 + [-1.0] * 6 + [0.0] * 82)
    rng = np.random.default_rng(0)
    outcomes = rng.multinomial(count, [gained, lost, 1 - gained - lost], size=2000)
    found = sum(mcnemar(int(row[1]), int(row[0])) < 0.05 and row[0] > row[1] for row in outcomes)
    assert 0.74 < found / 2000 < 0.84, "the exact test is a little less powerful than the formula's"

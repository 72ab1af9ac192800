"""Estimates against published numbers, brute force and hand calculation."""

from __future__ import annotations

import itertools
import math

import pytest

from rlsp.evaluation.statistics import majority, mean_over_seeds, pass_at_k, wilson


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

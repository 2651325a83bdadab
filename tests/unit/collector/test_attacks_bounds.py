"""What differential privacy allows, and what trials show: held against exact probabilities."""

from __future__ import annotations

from statistics import NormalDist

import pytest
from scipy.stats import binom, poisson

from metavox_collector.proof.attacks.bounds import (
    ALPHA,
    Proportion,
    advantage,
    difference,
    mean_high,
    true_positives,
)

NORMAL = NormalDist()


@pytest.mark.parametrize("mu", [0.05, 0.17, 1.0])
def test_the_best_threshold_between_two_normals_reaches_the_advantage_and_no_other_passes_it(mu: float) -> None:
    gains = [NORMAL.cdf(mu - t) - NORMAL.cdf(-t) for t in [mu / 2 + x / 100 for x in range(-200, 201)]]
    assert max(gains) == pytest.approx(advantage(mu), abs=1e-12)


@pytest.mark.parametrize("wrong", [0.001, 0.01, 0.3])
def test_the_trade_off_is_that_of_two_normals(wrong: float) -> None:
    at = NORMAL.inv_cdf(1 - wrong)
    assert true_positives(wrong, 0.17) == pytest.approx(1 - NORMAL.cdf(at - 0.17), abs=1e-9)
    assert true_positives(wrong, 0) == pytest.approx(wrong)


@pytest.mark.parametrize("rate", [0.001, 0.06, 0.5, 0.97])
def test_a_proportions_bounds_miss_it_no_oftener_than_they_say(rate: float) -> None:
    trials = 300
    found = [Proportion(n, trials) for n in range(trials + 1)]
    above = sum(binom.pmf(p.successes, trials, rate) for p in found if p.low() > rate)
    below = sum(binom.pmf(p.successes, trials, rate) for p in found if p.high() < rate)
    assert above <= ALPHA
    assert below <= ALPHA


@pytest.mark.parametrize(("one", "other"), [(0.5, 0.5), (0.53, 0.46), (0.125, 0.125), (0.2, 0.13), (0.02, 0.01)])
def test_a_differences_lower_bound_misses_it_no_oftener_than_it_says(one: float, other: float) -> None:
    trials = 60
    weights = [[binom.pmf(n, trials, rate) for n in range(trials + 1)] for rate in (one, other)]
    missed = sum(
        weights[0][a] * weights[1][b]
        for a in range(trials + 1)
        for b in range(trials + 1)
        if weights[0][a] * weights[1][b] > 1e-9
        and difference(Proportion(a, trials), Proportion(b, trials))[0] > one - other
    )
    assert missed <= ALPHA


def test_a_differences_bound_is_near_the_normal_one() -> None:
    low, high = difference(Proportion(1600, 3000), Proportion(1400, 3000))
    half = NORMAL.inv_cdf(1 - ALPHA) * (2 * 0.25 / 3000) ** 0.5
    assert 200 / 3000 - low == pytest.approx(half, rel=0.05)
    assert high - 200 / 3000 == pytest.approx(half, rel=0.05)


@pytest.mark.parametrize("mean", [0.004, 0.05, 1.3])
def test_a_means_upper_bound_misses_it_no_oftener_than_it_says(mean: float) -> None:
    trials = 200
    missed = sum(poisson.pmf(n, mean * trials) for n in range(2000) if mean_high(n, trials) < mean)
    assert missed <= ALPHA

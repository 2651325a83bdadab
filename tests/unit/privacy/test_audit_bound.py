import itertools
import math
import random
from statistics import NormalDist

import pytest
from scipy.stats import beta, binom

from metavox_privacy.audit.bound import clopper_pearson, epsilon_of, lower_bound

NORMAL = NormalDist()
CONFIDENCE = 0.999
HALF = (1 - CONFIDENCE) / 2


def gaussians(mu, trials, seed):
    """The scores of a mechanism of known μ, in both worlds."""
    chance = random.Random(seed)
    return [chance.gauss(0, 1) for _ in range(trials)], [chance.gauss(mu, 1) for _ in range(trials)]


@pytest.mark.parametrize("trials", [1, 20, 3_000, 100_000])
@pytest.mark.parametrize("share", [0, 0.001, 0.3, 0.999])
def test_the_limit_of_a_rate_is_clopper_and_pearsons(trials, share):
    events = round(share * trials)
    expected = beta.ppf(1 - HALF, events + 1, trials - events) if events < trials else 1
    assert clopper_pearson(events, trials, HALF) == pytest.approx(expected, rel=1e-9)


def test_a_limit_is_too_low_as_seldom_as_stated_whatever_the_rate_is():
    trials = 150
    limits = [clopper_pearson(events, trials, 0.01) for events in range(trials + 1)]
    for rate in (step / 200 for step in range(1, 200)):
        wrong = sum(binom.pmf(events, trials, rate) for events, limit in enumerate(limits) if limit < rate)
        assert wrong <= 0.01


@pytest.mark.parametrize("mu", [0, 0.2, 1, 2, 4])
def test_whatever_the_threshold_the_bound_is_above_the_truth_in_less_than_one_audit_of_a_thousand(
    mu,
):
    # All outcomes are gone through, each with its probability: nothing here is left to chance.
    trials = 120
    limits = [clopper_pearson(events, trials, HALF) for events in range(trials + 1)]
    quantiles = [NORMAL.inv_cdf(limit) if limit < 1 else math.inf for limit in limits]
    for threshold in (step / 4 for step in range(-12, 30)):
        wrong = binom.pmf(range(trials + 1), trials, 1 - NORMAL.cdf(threshold))
        missed = binom.pmf(range(trials + 1), trials, NORMAL.cdf(threshold - mu))
        above = sum(
            wrong[a] * missed[b]
            for a, b in itertools.product(range(trials + 1), repeat=2)
            if -quantiles[a] - quantiles[b] > mu
        )
        assert above <= 1 - CONFIDENCE


def test_the_bound_is_that_of_the_trials_that_did_not_choose_the_threshold():
    absent, present = gaussians(2, 400, seed=1)
    bound = lower_bound(absent, present, CONFIDENCE)
    limits = (
        clopper_pearson(bound.false_positives, 300, HALF),
        clopper_pearson(bound.false_negatives, 300, HALF),
    )
    assert bound.trials == 300
    assert bound.mu == pytest.approx(-sum(map(NORMAL.inv_cdf, limits)))
    judged = lower_bound([*absent[:100], *[9.0] * 300], [*present[:100], *[-9.0] * 300], CONFIDENCE)
    assert (judged.false_positives, judged.false_negatives, judged.mu) == (300, 300, 0)


@pytest.mark.parametrize("mu", [2, 3, 4])
def test_4000_trials_prove_more_than_85_percent_of_what_is_true_and_never_more_than_all_of_it(mu):
    for seed in range(12):
        assert 0.85 * mu < lower_bound(*gaussians(mu, 4_000, seed), CONFIDENCE).mu <= mu


def test_worlds_that_are_the_same_prove_nothing():
    for seed in range(40):
        assert lower_bound(*gaussians(0, 400, seed), CONFIDENCE).mu == 0


def test_scores_that_are_never_mistaken_prove_what_so_many_trials_can():
    bound = lower_bound([0.0] * 4_000, [1.0] * 4_000, CONFIDENCE)
    assert bound.mu == pytest.approx(-2 * NORMAL.inv_cdf(-math.expm1(math.log(HALF) / 3_000)))
    assert bound.estimate == math.inf


def test_scores_of_one_value_prove_nothing():
    assert lower_bound([1.0] * 40, [1.0] * 40, CONFIDENCE).mu == 0


@pytest.mark.parametrize(("absent", "present"), [(7, 7), (8, 9), (0, 0)])
def test_too_few_trials_are_refused(absent, present):
    with pytest.raises(ValueError, match="eight at least"):
        lower_bound([0.0] * absent, [1.0] * present, CONFIDENCE)


@pytest.mark.parametrize(("mu", "delta"), [(0.17, 1e-8), (1, 1e-5), (2, 1e-8), (5, 1e-12)])
def test_epsilon_is_where_the_trade_off_curve_of_a_gaussian_has_that_delta(mu, delta):
    epsilon = epsilon_of(mu, delta)
    above = NORMAL.cdf(-epsilon / mu + mu / 2) - math.exp(epsilon) * NORMAL.cdf(-epsilon / mu - mu / 2)
    assert above == pytest.approx(delta, rel=1e-3)
    assert epsilon_of(0, delta) == 0


def test_epsilon_of_mu_1_is_what_the_paper_has():
    assert epsilon_of(1, 1e-5) == pytest.approx(4.38, abs=0.01)

import math
import statistics
from fractions import Fraction

import pytest

from metavox_privacy.budget import Account, BudgetExhausted, authorize
from metavox_privacy.cells import squared_count_sensitivity, squared_histogram_sensitivity
from metavox_privacy.mechanism import gaussian
from metavox_privacy.schema import SCHEMA
from metavox_privacy.week import Week


def account(nano_rho):
    return Account(
        authorize(
            [],
            week=Week(2026, 1),
            purpose="publish",
            schema_version=1,
            nano_rho=nano_rho,
            yearly_cap=nano_rho,
            sandbox=False,
        )
    )


@pytest.mark.parametrize("squared_sensitivity", [1, 4, 4 * 6 * 256**2])
@pytest.mark.parametrize("nano_rho", [1_000, 10_000_000, 1_000_000_000])
def test_the_price_is_within_the_budget_and_not_far_below(squared_sensitivity, nano_rho):
    mechanism = gaussian(squared_sensitivity=squared_sensitivity, nano_rho=nano_rho)
    assert nano_rho * 0.999 - 1 <= mechanism.nano_rho <= nano_rho
    # zCDP of a Gaussian: rho = sensitivity^2 / (2 sigma^2)
    assert mechanism.scale == pytest.approx(math.sqrt(squared_sensitivity / (2 * nano_rho / 1e9)), rel=1e-6)


SHIPPED = {
    squared
    for weeks in (1, 4)
    for squared in (
        squared_count_sensitivity(SCHEMA, weeks),
        *(squared_histogram_sensitivity(metric, SCHEMA, weeks) for metric in SCHEMA.metrics),
    )
}


@pytest.mark.parametrize("squared", sorted({2, 3, 5, 7, *SHIPPED}))
@pytest.mark.parametrize("nano_rho", [1_000, 50_000, 290_000, 7_250_001])
def test_no_rounding_of_floats_makes_the_noise_less_or_the_price_lower_than_they_are(squared, nano_rho):
    mechanism = gaussian(squared_sensitivity=squared, nano_rho=nano_rho)
    assert Fraction(mechanism.sensitivity) ** 2 >= squared
    exact = Fraction(mechanism.sensitivity) ** 2 / (2 * Fraction(mechanism.scale) ** 2) * 10**9
    assert exact <= mechanism.nano_rho <= nano_rho


@pytest.mark.parametrize("rho", [1e-9, math.nextafter(1e-9, 1), 3e-9, 2.5e-7, 0.29])
def test_a_price_is_rounded_up_to_whole_nano_rho(monkeypatch, rho):
    class Measurement:
        def map(self, _sensitivity):
            return rho

    monkeypatch.setattr("metavox_privacy.mechanism._measurement", lambda _scale: Measurement())
    mechanism = gaussian(squared_sensitivity=4, nano_rho=10**9)
    assert Fraction(rho) * 10**9 <= mechanism.nano_rho < Fraction(rho) * 10**9 + 1


def test_the_noise_is_centred_integers_of_the_stated_scale():
    mechanism = gaussian(squared_sensitivity=4, nano_rho=10_000_000)
    noise = mechanism.draw([1000] * 20_000, account(mechanism.nano_rho))
    assert all(isinstance(value, int) for value in noise)
    # 20,000 draws: the mean's error is sigma/141, the deviation's 0.5 %; six of each come once in 250 million runs.
    assert statistics.fmean(noise) == pytest.approx(1000, abs=6 * mechanism.scale / 141)
    assert statistics.stdev(noise) == pytest.approx(mechanism.scale, rel=0.03)


def test_two_draws_differ_because_there_is_no_seed():
    mechanism = gaussian(squared_sensitivity=4, nano_rho=1_000_000)
    purse = account(2 * mechanism.nano_rho)
    assert mechanism.draw([0] * 50, purse) != mechanism.draw([0] * 50, purse)


def test_nothing_is_drawn_that_is_not_paid():
    mechanism = gaussian(squared_sensitivity=4, nano_rho=1_000_000)
    purse = account(mechanism.nano_rho)
    mechanism.draw([0], purse)
    with pytest.raises(BudgetExhausted):
        mechanism.draw([0], purse)


def test_a_budget_of_zero_is_refused():
    with pytest.raises(ValueError, match="above zero"):
        gaussian(squared_sensitivity=1, nano_rho=0)

"""What differential privacy allows an attacker, and what a number of trials shows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

from scipy.stats import beta, gamma

ALPHA = 0.001
"""Every bound is one-sided with 99.9 % confidence."""

_NORMAL = NormalDist()


def advantage(mu: float) -> float:
    """Most by which true positives can exceed false ones under μ-GDP: the total variation ``2 Φ(μ/2) - 1``."""
    return 2 * _NORMAL.cdf(mu / 2) - 1


def true_positives(false_positives: float, mu: float) -> float:
    """The highest rate of true positives that μ-GDP allows at a rate of false ones: ``Φ(Φ⁻¹(x) + μ)``."""
    if not 0 < false_positives < 1:
        return false_positives
    return _NORMAL.cdf(_NORMAL.inv_cdf(false_positives) + mu)


@dataclass(frozen=True, slots=True)
class Proportion:
    """So many successes in so many trials, with the bounds of Clopper and Pearson (1934)."""

    successes: int
    trials: int

    @property
    def rate(self) -> float:
        """The part that succeeded; 0 without trials."""
        return self.successes / self.trials if self.trials else 0.0

    def low(self, alpha: float = ALPHA) -> float:
        """The true rate is not below this, but for a chance of ``alpha``."""
        if not self.successes:
            return 0.0
        return float(beta.ppf(alpha, self.successes, self.trials - self.successes + 1))

    def high(self, alpha: float = ALPHA) -> float:
        """The true rate is not above this, but for a chance of ``alpha``."""
        if self.successes == self.trials:
            return 1.0
        return float(beta.ppf(1 - alpha, self.successes + 1, self.trials - self.successes))


def difference(one: Proportion, other: Proportion) -> tuple[float, float]:
    """Lower and upper bound of one rate less another, independent one.

    Newcombe 1998 ("Interval estimation for the difference between independent proportions"), method 10, with the
    wider bounds of Clopper and Pearson in place of Wilson's.
    """
    gap = one.rate - other.rate
    below = math.hypot(one.rate - one.low(), other.high() - other.rate)
    above = math.hypot(one.high() - one.rate, other.rate - other.low())
    return gap - below, gap + above


def mean_high(events: int, trials: int, alpha: float = ALPHA) -> float:
    """Upper bound of a Poisson mean per trial, but for a chance of ``alpha`` (Garwood 1936)."""
    return float(gamma.ppf(1 - alpha, events + 1)) / trials

"""Scores of two worlds -> what they prove: a lower bound on μ that holds at the stated confidence.

A mechanism is μ-GDP if telling its two worlds apart is no easier than telling N(0, 1) from N(μ, 1) (Dong, Roth and
Su 2022, "Gaussian differential privacy"). One threshold on a score gives one point of the attacker's trade-off
between false positives and false negatives, and that point alone refutes every μ below
``z(1 - false positives) - z(false negatives)`` (Nasr et al. 2023, "Tight auditing of differentially private machine
learning", do the same for ε).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

_NORMAL = NormalDist()
_PILOT = 4
"""One trial in so many is kept apart to choose the threshold, and judges nothing."""


@dataclass(frozen=True, slots=True)
class Bound:
    """What the scores of a game prove.

    Attributes:
        mu: The mechanism is μ-GDP for no μ below this one, at the stated confidence; 0 where nothing is proven.
        estimate: The μ of the trade-off point itself, without the confidence; infinite when nothing was mistaken.
        trials: How many trials of each world were judged.
        false_positives: In how many of them the target was said to be there and was not.
        false_negatives: In how many it was said to be away and was there.
    """

    mu: float
    estimate: float
    trials: int
    false_positives: int
    false_negatives: int


def lower_bound(absent: Sequence[float], present: Sequence[float], confidence: float) -> Bound:
    """Bound μ from below by the scores of trials in which the target was absent, and was present.

    The first quarter of the trials chooses the threshold, the others are judged by it. So the threshold does not
    depend on what it judges, and two Clopper-Pearson limits, each at half of the error that ``confidence`` leaves,
    hold together at that confidence.

    Raises:
        ValueError: if there are fewer than eight trials of a world, or not as many of the one as of the other.
    """
    if len(absent) != len(present) or len(absent) < 2 * _PILOT:
        raise ValueError(f"a bound needs as many trials of either world, eight at least, got {len(absent)}")
    pilot = len(absent) // _PILOT
    threshold = _threshold(absent[:pilot], present[:pilot])
    trials = len(absent) - pilot
    wrong = sum(score >= threshold for score in absent[pilot:])
    missed = sum(score < threshold for score in present[pilot:])
    error = (1 - confidence) / 2
    mu = _mu(clopper_pearson(wrong, trials, error), clopper_pearson(missed, trials, error))
    return Bound(max(mu, 0.0), _mu(wrong / trials, missed / trials), trials, wrong, missed)


def clopper_pearson(events: int, trials: int, error: float) -> float:
    """The upper limit of a probability, of which ``events`` in so many trials were seen.

    It is too low with probability ``error`` at most (Clopper and Pearson 1934), whatever the probability is.
    """
    if events >= trials:
        return 1.0
    low, high = events / trials, 1.0
    while high - low > 1e-12:
        middle = (low + high) / 2
        low, high = (middle, high) if _at_most(events, trials, middle) > error else (low, middle)
    return high


def epsilon_of(mu: float, delta: float) -> float:
    """The ε at which μ-GDP has this δ, in both directions (Dong, Roth and Su 2022, corollary 2.13)."""
    if mu <= 0:
        return 0.0

    def delta_at(epsilon: float) -> float:
        away = math.exp(epsilon + math.log(max(_NORMAL.cdf(-epsilon / mu - mu / 2), 1e-300)))
        return _NORMAL.cdf(-epsilon / mu + mu / 2) - away

    low, high = 0.0, mu * (mu / 2 + 10)  # ten standard deviations, beyond any δ that is stated
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if delta_at(middle) > delta else (low, middle)
    return high


def _threshold(absent: Sequence[float], present: Sequence[float]) -> float:
    """The score from which on the target is said to be there: the one that would prove most."""
    trials = len(absent)
    marked = sorted([(score, False) for score in absent] + [(score, True) for score in present])
    wrong, missed = trials, 0
    best, chosen = -math.inf, marked[0][0]
    for (score, there), (following, _) in itertools.pairwise(marked):
        wrong, missed = (wrong, missed + 1) if there else (wrong - 1, missed)
        if following > score:
            # Half of an error more, or rates of none would be taken for certainty.
            proven = _mu((wrong + 0.5) / (trials + 1), (missed + 0.5) / (trials + 1))
            spread = _error_of_mu(wrong, trials) + _error_of_mu(missed, trials)
            if proven - 3 * spread > best:
                best, chosen = proven - 3 * spread, (score + following) / 2
    return chosen


def _error_of_mu(events: int, trials: int) -> float:
    """The standard error of the quantile at a rate that was seen."""
    rate = (events + 0.5) / (trials + 1)
    return math.sqrt(rate * (1 - rate) / trials) / _NORMAL.pdf(_NORMAL.inv_cdf(rate))


def _mu(false_positives: float, false_negatives: float) -> float:
    if false_positives >= 1 or false_negatives >= 1:
        return -math.inf
    if false_positives <= 0 or false_negatives <= 0:
        return math.inf
    return -_NORMAL.inv_cdf(false_positives) - _NORMAL.inv_cdf(false_negatives)


def _at_most(events: int, trials: int, rate: float) -> float:
    """The probability of no more than so many events, for a rate above the one that was seen."""
    logarithm = (
        math.lgamma(trials + 1)
        - math.lgamma(events + 1)
        - math.lgamma(trials - events + 1)
        + events * math.log(rate)
        + (trials - events) * math.log1p(-rate)
        if rate < 1
        else -math.inf
    )
    term = total = math.exp(logarithm) if logarithm > -745 else 0.0
    for event in range(events, 0, -1):  # downwards the terms only fall, for the rate is above the one seen
        term *= event * (1 - rate) / ((trials - event + 1) * rate)
        total += term
        if term < total * 1e-17:
            break
    return total

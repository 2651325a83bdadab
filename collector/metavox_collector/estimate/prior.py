"""What a histogram is like before the noise is looked at: a family of log-Gaussian processes about a first look.

The logarithm of a bucket's content is a Gaussian process (Leonard 1978, "Density estimation, stochastic processes
and prior information"; Riihimäki and Vehtari 2014, "Laplace approximation for logistic Gaussian process density
estimation and regression"): a mean of a simple shape, with deviations that are alike in neighbouring buckets.
Nobody knows beforehand how wide the truth is, how rough, how heavy its tails are or how sharply it ends. So each is
tried as a hypothesis, and the noisy histogram weighs them. The numbers below were chosen by simulation
(docs/decisions/0036).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.special import log_expit, log_ndtr
from scipy.stats import t as student

from metavox_collector.estimate.axis import Array, Axis


@dataclass(frozen=True, slots=True)
class Roughness:
    """How buckets deviate from the mean: a Matérn process of order 5/2.

    Attributes:
        length: Over which deviations are alike, in average buckets.
        deviation: Standard deviation of a bucket's logarithm.
    """

    length: float
    deviation: float


SMOOTH = (Roughness(8, 1.0), Roughness(3, 1.5), Roughness(1.2, 3.0))
HEAVY = (Roughness(8, 1.0), Roughness(3, 1.0), Roughness(1.2, 2.5))
EDGED = SMOOTH[1:]

WIDTHS = (0.7, 1.0, 1.4)
"""Widths of bell-shaped and of heavy-tailed means, in those of the first look."""

HEAVY_WEIGHT = -0.5
"""The logarithm of a heavy-tailed hypothesis' weight; a bell-shaped one has 0."""

EDGES = (-1.0, -0.5, 0.0, 0.5, 1.0)
"""Where a mean with an upper edge ends: steps of a third of the width about the first look's 97 % quantile."""

EDGED_WIDTH = 1.4
EDGED_WEIGHT = 0.5

EDGE_SLOPE = 4.0
"""By how much the logarithm falls in a bucket beyond the edge."""

NARROW = 3.0
"""A first look of at most this width, in buckets, may be a box: a few neighbouring buckets and nothing else."""

BOXES = (1, 2, 3, 4)
BOX_OUTSIDE = -10.0
"""The logarithm of what a bucket outside of the box has."""

LEAST_WIDTH = 0.3
"""No first look is taken to be narrower, in buckets."""

LEAST_SPARE = 6
SIGNAL_A_BUCKET = 8.0
"""How many buckets are looked at on both sides of the first look's 99 %: one for so much signal, and at least six.
Further out noise is all that can be found, and a tail made of it would be longer than any that is there.
"""


@dataclass(frozen=True, slots=True, eq=False)
class Family:
    """Hypotheses about the same buckets.

    Attributes:
        first: The first bucket that is looked at; there is nothing to be found far from the signal.
        means: (hypotheses, buckets), the logarithms of units.
        roots: (hypotheses, buckets, buckets), Cholesky factors of the covariances.
        weights: (hypotheses,), logarithms of prior weights, up to a constant.
        start: (buckets,), a histogram to search from, above zero.
    """

    first: int
    means: Array
    roots: Array
    weights: Array
    start: Array


@dataclass(frozen=True, slots=True, eq=False)
class _Look:
    """The first look in the buckets that are considered; lengths are in average buckets."""

    ends: Array
    places: Array
    centre: float
    width: float
    top: float


_Hypothesis = tuple[Array, Array, float]
"""A mean of total 1 (logarithms), a covariance, the logarithm of a weight."""


def family_about(look: Array, axis: Axis, signal: float) -> Family:
    """The hypotheses about a histogram.

    Args:
        look: The first look at it (buckets,), in units.
        axis: Where the buckets lie.
        signal: How clear of the noise the histogram is; the clearer, the further its tails are followed.
    """
    spare = max(LEAST_SPARE, round(signal / SIGNAL_A_BUCKET))
    total = look.sum()
    below = np.concatenate(([0.0], np.cumsum(look / total)))
    low, high, top = np.interp((0.005, 0.995, 0.97), below, np.arange(len(below)))
    first, end = max(int(low) - spare, 0), min(int(high) + spare + 1, len(look))
    ends, places = axis.ends / axis.unit, axis.places
    centre = float(look @ places / total)
    width = max(float(np.sqrt(look @ (places - centre) ** 2 / total)), LEAST_WIDTH)
    edge = float(np.interp(top, np.arange(len(ends)), ends))
    one = _Look(ends[first : end + 1], places[first:end], centre, width, edge)
    found = [*_whole(one), *_edged(one), *_boxes(one)]
    spread = np.exp(-0.5 * ((one.places - centre) / width / 1.5) ** 2) / width
    return Family(
        first,
        np.stack([mean for mean, _, _ in found]) + np.log(total),
        np.linalg.cholesky(np.stack([covariance for _, covariance, _ in found])),
        np.array([weight for _, _, weight in found]),
        look[first:end] + total * (0.02 * spread + 1e-9),
    )


def _whole(look: _Look) -> Iterator[_Hypothesis]:
    """Means with both tails, light or heavy."""
    for relative in WIDTHS:
        width = relative * look.width
        u = (look.ends - look.centre) / width
        bell = _parts(log_ndtr(u), log_ndtr(-u))
        for rough in SMOOTH:
            yield bell, _covariance(look, bell, width, rough), 0.0
        heavier = _student(u) if relative == 1 else _logistic(u)
        for rough in HEAVY:
            yield heavier, _covariance(look, heavier, width, rough), HEAVY_WEIGHT


def _edged(look: _Look) -> Iterator[_Hypothesis]:
    """Bells that end sharply above, as a mix of a few kinds of requests does."""
    width = EDGED_WIDTH * look.width
    u = (look.ends - look.centre) / width
    bell = _parts(log_ndtr(u), log_ndtr(-u))
    step = max(0.7, 0.35 * look.width)
    for at, rough in itertools.product(EDGES, EDGED):
        beyond = (look.places - look.top - at * step) / 0.35
        mean = bell - EDGE_SLOPE * 0.35 * np.logaddexp(0, beyond)
        yield mean, _covariance(look, bell, width, rough), EDGED_WEIGHT


def _boxes(look: _Look) -> Iterator[_Hypothesis]:
    """A few neighbouring buckets, each as likely as the others to hold more or less."""
    if look.width >= NARROW:
        return
    buckets = len(look.places)
    middle = float(np.interp(look.centre, look.places, np.arange(buckets)))
    covariance = (1.0 + 1e-6) * np.eye(buckets) + 1.0
    for length, shift in itertools.product(BOXES, (-1, 0, 1)):
        start = round(middle - (length - 1) / 2) + shift
        mean = np.full(buckets, BOX_OUTSIDE)
        mean[max(start, 0) : max(start + length, 0)] = -np.log(length)
        yield mean, covariance, 0.0


def _logistic(u: Array) -> Array:
    """Tails that fall like those of an exponential distribution."""
    scaled = u * np.pi / np.sqrt(3)  # of the same standard deviation as the bell
    return _parts(log_expit(scaled), log_expit(-scaled))


def _student(u: Array) -> Array:
    """Tails that fall like a power of the logarithm: Student's distribution of 3 degrees of freedom."""
    scaled = u * 1.3  # rather than of the same standard deviation, which its tails make: of a similar middle
    return _parts(student.logcdf(scaled, 3), student.logsf(scaled, 3))


def _covariance(look: _Look, mean: Array, width: float, rough: Roughness) -> Array:
    """Of the deviations: in the total, in the place, in the steepness of the mean, and in each bucket."""
    apart = np.sqrt(5) / rough.length * np.abs(look.places[:, None] - look.places)
    process = rough.deviation**2 * (1 + apart + apart**2 / 3) * np.exp(-apart)
    place = ((look.places - look.centre) / width).clip(-6, 6)
    steepness = 0.3 * (mean - mean.max()).clip(-12, 0)
    covariance: Array = process + 1.0 + np.outer(place, place) + np.outer(steepness, steepness)
    covariance += 1e-6 * np.trace(covariance) / len(place) * np.eye(len(place))
    return covariance


def _parts(below: Array, above: Array) -> Array:
    """The logarithm of what lies between neighbouring ends, from those of what is below and above each end."""
    lower = below[1:] < above[:-1]  # in the lower tail differences of what is below lose no digits, in the upper
    most = np.where(lower, below[1:], above[:-1])  # tail those of what is above
    least = np.where(lower, below[:-1], above[1:])
    parts: Array = most + np.log(-np.expm1(np.minimum(least - most, -1e-12)))
    return parts.clip(-40)

"""The first look: where the signal is and how wide, by non-negative least squares on bell-shaped bumps."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.optimize import nnls
from scipy.stats import norm

from metavox_collector.estimate.axis import Array, Axis, axis_of
from metavox_privacy.smoothing import RADIUS

WIDTHS = ((2.0, 3.2, 5.0), (1.2,), (0.6, 0.9), (0.25, 0.4))
"""Standard deviations of bumps, in average buckets: each group is used with all that are wider."""

WORSE = 10.0
"""By how much narrower bumps must lower chi-squared to be taken."""

CLEAR = 16.0
"""By how much bumps must lower chi-squared for there to be a signal; noise alone does once in 1,000 times."""

PENALTY = 1.25
"""How many standard deviations of noise a bucket must add to belong to the support."""


def first_look(edges: tuple[float, ...], noisy: Array, scale: float) -> Array | None:
    """The histogram of the widest bumps that fit, in units of the noisy one; None where noise is all there is.

    Bumps have their centre in the contiguous range of buckets that holds the signal. Wide ones let little of the
    noise through, and narrow ones, which fit everything, are for what wide ones cannot describe.
    """
    axis = axis_of(edges)
    support = _support(noisy, scale)
    if support is None:
        return None
    best: Array | None = None
    least = float(noisy @ noisy) / scale**2 - CLEAR + WORSE
    for atoms, centres in _dictionaries(edges):
        used = atoms[:, (centres >= support[0]) & (centres < support[1])]
        if used.shape[1] == 0:
            continue
        weights, residual = nnls(axis.spreading @ used / scale, noisy / scale)
        if weights.any() and residual**2 < least - WORSE:
            best, least = used @ weights, residual**2
    return best


def _support(noisy: Array, scale: float) -> tuple[int, int] | None:
    """The range with the largest sum after a penalty a bucket (Kadane's scan), as buckets before the spreading."""
    best, found = 0.0, None
    start, total = 0, 0.0
    for index, value in enumerate(noisy):
        if total <= 0:
            start, total = index, 0.0
        total += float(value) - PENALTY * scale
        if total > best:
            best, found = total, (start, index + 1)
    if found is None:
        return None
    buckets = len(noisy) - 2 * RADIUS
    low = min(max(found[0] - RADIUS, 0), buckets - 1)
    return low, min(max(found[1] - RADIUS, low + 1), buckets)


@lru_cache(maxsize=32)
def _dictionaries(edges: tuple[float, ...]) -> list[tuple[Array, Array]]:
    """For each smallest width, the bumps (buckets, bumps) of sum 1 and the bucket of each one's centre."""
    axis = axis_of(edges)
    index = np.arange(len(axis.ends))
    atoms: list[Array] = []
    centres: list[float] = []
    result = []
    for group in WIDTHS:
        for width in group:
            for centre in np.arange(axis.ends[0], axis.ends[-1], max(width / 2, 0.5) * axis.unit):
                atoms.append(bell(axis, centre, width * axis.unit))
                centres.append(float(np.interp(centre, axis.ends, index)))
        result.append((np.stack(atoms, axis=1), np.array(centres)))
    return result


def bell(axis: Axis, centre: float, deviation: float) -> Array:
    """A normal distribution of the logarithm as parts by bucket; the open buckets take its tails."""
    cut = norm.cdf((axis.ends - centre) / deviation)
    cut[0], cut[-1] = 0.0, 1.0
    return np.diff(cut)

"""A rate: two noisy numbers, of which the part of the second is asked."""

from __future__ import annotations

import math

from metavox_collector.estimate.axis import Array
from metavox_collector.estimate.figures import Estimate, Figure

NORMAL_95 = 1.959964

SHARE_WITHIN = 0.07
"""A share is given when its interval reaches no further from it, 7 percentage points."""


def estimate_rate(noisy: Array, scale: float) -> Estimate:
    """The share of the second of two buckets.

    Both have the same noise, so as a point of the plane they have an angle, whose 95 % interval is exact (Fieller
    1954). No share is below 0: an angle below it is taken for 0, and likewise at 1.

    Args:
        noisy: Both buckets: it was not so, it was so.
        scale: Standard deviation of their noise.
    """
    length = math.hypot(*noisy)
    signal = max(float(noisy.sum()), 0.0) / scale
    if length <= NORMAL_95 * scale or noisy.sum() <= 0:
        return Estimate((), {"share": None}, 0.0)
    angle = min(max(math.atan2(noisy[1], noisy[0]), 0.0), math.pi / 2)
    half = math.asin(NORMAL_95 * scale / length)
    share, low, high = (_share(at) for at in (angle, angle - half, angle + half))
    given = max(high - share, share - low) <= SHARE_WITHIN
    return Estimate((1 - share, share), {"share": Figure(share, low, high) if given else None}, signal)


def _share(angle: float) -> float:
    """The second coordinate's part of the sum of both."""
    within = min(max(angle, 0.0), math.pi / 2)
    return math.sin(within) / (math.sin(within) + math.cos(within))

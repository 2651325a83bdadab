"""The quantiles of a histogram over public buckets, interpolated where its own resolution ends."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence


def quantile(histogram: Sequence[float], edges: Sequence[float], q: float) -> float | None:
    """The q-quantile, interpolated in log space inside its bucket; None when the histogram is empty.

    Args:
        histogram: Non-negative weights of ``len(edges) + 1`` buckets.
        edges: Ascending inner edges, above zero.
        q: Between 0 and 1.
    """
    total = sum(histogram)
    if total <= 0:
        return None
    target = q * total
    below = list(itertools.accumulate(histogram))
    index = next(i for i, mass in enumerate(below) if mass >= target and histogram[i] > 0)
    part = 1 - (below[index] - target) / histogram[index]
    low, high = _ends(edges, index)
    return low * math.exp(math.log(high / low) * min(max(part, 0.0), 1.0))


def _ends(edges: Sequence[float], index: int) -> tuple[float, float]:
    """A bucket's ends; the two open ones are given their neighbour's width in log space."""
    if index == 0:
        return edges[0] ** 2 / edges[1], edges[0]
    if index == len(edges):
        return edges[-1], edges[-1] ** 2 / edges[-2]
    return edges[index - 1], edges[index]

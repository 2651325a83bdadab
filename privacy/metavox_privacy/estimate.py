"""Noisy histogram -> figures: post-processing, which costs no privacy because it sees nothing but the release."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

SUPPORT_PENALTY = 1.25
"""How many standard deviations of noise a bucket must add to belong to the support."""


def best_support(noisy: Sequence[int], scale: float, penalty: float = SUPPORT_PENALTY) -> tuple[int, int]:
    """The contiguous range of buckets that holds the signal: first and one past the last.

    Every bucket outside holds nothing but noise, and clipping that at zero would give a far tail a weight
    it does not have. The range is the one with the largest sum after a penalty a bucket (Kadane's scan).
    """
    best, best_range = -math.inf, (0, 0)
    start, total = 0, 0.0
    for index, value in enumerate(noisy):
        if total <= 0:
            start, total = index, 0.0
        total += value - penalty * scale
        if total > best:
            best, best_range = total, (start, index + 1)
    return best_range


def denoise(noisy: Sequence[int], scale: float, penalty: float = SUPPORT_PENALTY) -> list[float]:
    """Keep the best support, clip what is negative in it, zero the rest."""
    first, end = best_support(noisy, scale, penalty)
    return [float(max(value, 0)) if first <= i < end else 0.0 for i, value in enumerate(noisy)]


def signal_to_noise(noisy: Sequence[int], scale: float, penalty: float = SUPPORT_PENALTY) -> float:
    """The units in the best support, in standard deviations of the noise on their sum."""
    first, end = best_support(noisy, scale, penalty)
    return sum(max(value, 0) for value in noisy[first:end]) / (scale * math.sqrt(max(end - first, 1)))


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


def mean(histogram: Sequence[float], edges: Sequence[float]) -> float | None:
    """The mean of the buckets' geometric middles; None when the histogram is empty."""
    total = sum(histogram)
    if total <= 0:
        return None
    middles = (math.sqrt(low * high) for low, high in (_ends(edges, i) for i in range(len(histogram))))
    return sum(weight * middle for weight, middle in zip(histogram, middles, strict=True)) / total


def _ends(edges: Sequence[float], index: int) -> tuple[float, float]:
    """A bucket's ends; the two open ones are given their neighbour's width in log space."""
    if index == 0:
        return edges[0] ** 2 / edges[1], edges[0]
    if index == len(edges):
        return edges[-1], edges[-1] ** 2 / edges[-2]
    return edges[index - 1], edges[index]


def share(noisy: Sequence[int]) -> float | None:
    """The part of the second of two buckets, between 0 and 1; None when the noise has eaten the sum."""
    absent, present = noisy
    return min(max(present / (absent + present), 0.0), 1.0) if absent + present > 0 else None

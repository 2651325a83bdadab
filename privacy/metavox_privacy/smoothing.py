"""Units -> what the noise is added to: each unit is spread over the buckets beside it by a public kernel.

This is the strategy of a matrix mechanism (Li, Miklau, Hay, McGregor and Rastogi 2015, "The matrix mechanism").
docs/decisions/0036 says how it was found. The worst report has all its units in one bucket, and so moves a plain
histogram by all of them in L2. Spread, it moves the vector by less than half of that, and the noise is less by as
much; the estimate undoes the spreading.
"""

from __future__ import annotations

from collections.abc import Sequence

from metavox_privacy.fields import Metric

KERNEL = (1, 5, 14, 27, 34, 27, 14, 5, 1)
"""A Gaussian of 1.5 buckets' standard deviation in integers, so that no rounding hides in the sensitivity."""

RADIUS = len(KERNEL) // 2
"""How many buckets further a unit is seen on either side."""

SPREAD = sum(KERNEL)
"""What one unit becomes in all."""

_ALONE = (1,)


def kernel_of(metric: Metric) -> tuple[int, ...]:
    """The weights a unit is spread by; a rate's two buckets are not neighbours and keep theirs."""
    return _ALONE if metric.is_rate else KERNEL


def spread_buckets(metric: Metric) -> int:
    """How long a spread histogram is: no unit is lost at the ends."""
    return metric.buckets + len(kernel_of(metric)) - 1


def spread(histogram: Sequence[int], metric: Metric) -> list[int]:
    """The convolution of a metric's ``buckets`` units with its kernel, ``spread_buckets`` integers long."""
    kernel = kernel_of(metric)
    result = [0] * spread_buckets(metric)
    for bucket, units in enumerate(histogram):
        if units:
            for offset, weight in enumerate(kernel):
                result[bucket + offset] += units * weight
    return result


def squared_norm(metric: Metric) -> int:
    """The square of the L2 norm by which one unit moves the spread histogram, whichever bucket it is in."""
    return sum(weight**2 for weight in kernel_of(metric))

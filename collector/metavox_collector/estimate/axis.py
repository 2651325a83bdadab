"""Where a metric's buckets lie: logarithms, with the average bucket as their unit."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from metavox_privacy.smoothing import KERNEL

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Axis:
    """The buckets of one metric.

    Attributes:
        ends: The natural logarithm of every bucket's ends, one more than there are buckets. The two open buckets
            are given their neighbour's width.
        unit: The average width of a bucket, in the logarithm.
        spreading: The kernel as a matrix (buckets + 2 * RADIUS, buckets): histogram -> what it is spread to.
    """

    ends: Array
    unit: float
    spreading: Array

    @property
    def places(self) -> Array:
        """The middle of every bucket, in average buckets."""
        return (self.ends[1:] + self.ends[:-1]) / 2 / self.unit


@lru_cache(maxsize=32)
def axis_of(edges: tuple[float, ...]) -> Axis:
    """The axis of a metric with these inner edges, ascending and above zero."""
    logs = np.log(edges)
    ends = np.concatenate(([2 * logs[0] - logs[1]], logs, [2 * logs[-1] - logs[-2]]))
    buckets = len(edges) + 1
    spreading = np.zeros((buckets + len(KERNEL) - 1, buckets))
    for bucket in range(buckets):
        spreading[bucket : bucket + len(KERNEL), bucket] = KERNEL
    return Axis(ends, float(np.mean(np.diff(logs))), spreading)

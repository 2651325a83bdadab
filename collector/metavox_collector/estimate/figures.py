"""What an estimate is made of, and the figures of a histogram."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from metavox_collector.estimate.axis import Array, Axis

QUANTILES = {"p50": 0.50, "p75": 0.75, "p90": 0.90, "p95": 0.95, "p99": 0.99}
FIGURES = (*QUANTILES, "mean")
"""What a quantity has; a rate has its ``share``."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure and the interval that holds, in 95 cases of 100, what the same sums without noise would have given.

    Attributes:
        value: In the metric's unit; a share is between 0 and 1.
        low: The interval's lower end.
        high: The interval's upper end.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Estimate:
    """What one noisy histogram says.

    Attributes:
        shares: The estimated part of the contributions in each bucket, of sum 1; empty where noise is all there is.
        figures: ``p50 p75 p90 p95 p99 mean`` of a quantity, ``share`` of a rate; None where noise hides the figure.
        signal_to_noise: The histogram's estimated total over the standard deviation of the noise on one bucket of a
            histogram that were not spread; 0 where noise is all there is.
    """

    shares: tuple[float, ...]
    figures: Mapping[str, Figure | None]
    signal_to_noise: float


def log_figures(histograms: Array, axis: Axis) -> Array:
    """The natural logarithms of FIGURES, a row for each histogram.

    A quantile is interpolated in the logarithm inside its bucket, like
    :func:`metavox_privacy.estimate.quantile`. The mean takes every value as its bucket's geometric middle, so that
    the two open buckets clip it at public ends.

    Args:
        histograms: Weights that are not negative, of shape (n, buckets), no row without any.
        axis: Where the buckets lie.
    """
    below = np.cumsum(histograms, axis=1)
    total = below[:, -1]
    rows = np.arange(len(histograms))
    columns = []
    for q in QUANTILES.values():
        at = (below < q * total[:, None]).sum(axis=1).clip(0, histograms.shape[1] - 1)
        inside = histograms[rows, at]
        part = 1 - (below[rows, at] - q * total) / np.where(inside > 0, inside, 1)
        columns.append(axis.ends[at] + (axis.ends[at + 1] - axis.ends[at]) * part.clip(0, 1))
    columns.append(np.log(histograms @ np.exp(axis.places * axis.unit) / total))
    return np.stack(columns, axis=1)

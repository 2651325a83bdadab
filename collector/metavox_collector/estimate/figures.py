"""What an estimate is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

QUANTILES = {"p50": 0.50, "p75": 0.75, "p90": 0.90, "p95": 0.95, "p99": 0.99}


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure and the interval that holds, in 95 of 100 cases, what the sums without noise would have given.

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
        signal_to_noise: The histogram's estimated total over the noise's standard deviation on one bucket, were it
            not spread; 0 where noise is all there is.
    """

    shares: tuple[float, ...]
    figures: Mapping[str, Figure | None]
    signal_to_noise: float

"""Released cells -> rows: quantiles, means and shares, computed from the noisy histograms alone."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TypeAlias

from metavox_collector.dataset.columns import QUANTILES
from metavox_collector.store import LabelledRelease
from metavox_privacy.estimate import best_support, denoise, mean, quantile, share
from metavox_privacy.fields import Metric, Table
from metavox_privacy.release import ReleasedCell, ReleasedTable
from metavox_privacy.report import Histogram
from metavox_privacy.schema import Schema

LEAST_SIGNAL = 5.0
"""Below this signal-to-noise a histogram gives no figure: noise alone reaches 4 once in a hundred histograms.

On a simulated fleet of 5,000 the median error of p50 was 900 % for a signal below 3, and 5 % from 5 on.
"""

LEAST_RATE_SIGNAL = 20.0
"""The same for a rate, whose standard error is then at most 3.5 percentage points."""

Value: TypeAlias = str | int | float | bool | list[int] | None
Row: TypeAlias = Mapping[str, Value]


def rows_of(labelled: LabelledRelease, released: ReleasedTable, schema: Schema) -> Iterator[Row]:
    """The rows of one table, most contributors first."""
    table = next(table for table in schema.tables if table.name == released.name)
    for cell in released.cells:
        common = _common(labelled, table, cell)
        if not table.metrics:
            yield common
        for name in table.metrics:
            yield {**common, **_measured(schema.metric[name], cell.histograms[name], released.histogram_scale)}


def _common(labelled: LabelledRelease, table: Table, cell: ReleasedCell) -> Row:
    return {
        "week": str(labelled.release.week),
        **dict(zip(table.dimensions, cell.key, strict=True)),
        "contributors": cell.contributors,
        "synthetic": labelled.synthetic,
    }


def _measured(metric: Metric, noisy: Histogram, scale: float) -> Row:
    return {
        "metric": metric.name,
        "unit": metric.unit,
        **_figures(metric, noisy, scale),
        "histogram": list(noisy),
    }


def _figures(metric: Metric, noisy: Histogram, scale: float) -> Row:
    signal = signal_to_noise(metric, noisy, scale)
    none: Row = {**dict.fromkeys((*QUANTILES, "mean", "share")), "signal_to_noise": signal}
    if signal < (LEAST_RATE_SIGNAL if metric.is_rate else LEAST_SIGNAL):
        return none
    if metric.is_rate:
        return {**none, "share": share(noisy)}
    weights = denoise(noisy, scale)
    quantiles = {name: quantile(weights, metric.edges, q) for name, q in QUANTILES.items()}
    return {**none, **quantiles, "mean": mean(weights, metric.edges)}


def signal_to_noise(metric: Metric, noisy: Histogram, scale: float) -> float:
    """The units in the histogram's best support, in standard deviations of the noise on their sum."""
    first, end = (0, len(noisy)) if metric.is_rate else best_support(noisy, scale)
    return sum(max(value, 0) for value in noisy[first:end]) / (scale * math.sqrt(max(end - first, 1)))

"""Released cells -> rows: quantiles, means and shares, computed from the noisy histograms alone."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TypeAlias

from metavox_collector.dataset.columns import LEAST_SIGNAL, QUANTILES
from metavox_collector.store import LabelledRelease
from metavox_privacy.estimate import denoise, mean, quantile, share, signal_to_noise
from metavox_privacy.fields import Metric, Table
from metavox_privacy.release import ReleasedCell, ReleasedTable
from metavox_privacy.report import Histogram
from metavox_privacy.schema import Schema

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
        **figures_of(metric, noisy, scale),
        "histogram": list(noisy),
    }


def figures_of(metric: Metric, noisy: Histogram, scale: float) -> Row:
    """Every figure that stands clear enough of the noise; None for the others."""
    if metric.is_rate:
        signal = sum(max(value, 0) for value in noisy) / (scale * math.sqrt(len(noisy)))
        found: dict[str, float | None] = {"share": share(noisy)}
    else:
        signal = signal_to_noise(noisy, scale)
        weights = denoise(noisy, scale)
        found = {name: quantile(weights, metric.edges, q) for name, q in QUANTILES.items()}
        found["mean"] = mean(weights, metric.edges)
    given = {name: found.get(name) if signal >= least else None for name, least in LEAST_SIGNAL.items()}
    return {**given, "signal_to_noise": signal}

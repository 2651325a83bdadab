"""A fleet's records, and those that an attacker would make up from its release."""

from __future__ import annotations

import csv
import math
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from metavox_collector.estimate import estimate
from metavox_collector.proof.attacks.fleet import Fleet
from metavox_privacy.cells import Cell
from metavox_privacy.fields import Metric, Table
from metavox_privacy.release import Release, ReleasedCell, ReleasedTable
from metavox_privacy.schema import Schema

Record = Mapping[str, str | float]


def performance(fleet: Fleet) -> Table:
    return next(table for table in fleet.parameters.tables if table.metrics)


def quantities(table: Table, schema: Schema) -> list[Metric]:
    return [schema.metric[name] for name in table.metrics if not schema.metric[name].is_rate]


def true_records(fleet: Fleet) -> Iterator[Record]:
    """One for each installation and cell: its key, and of each quantity its geometric mean."""
    table, schema = performance(fleet), fleet.parameters.schema
    for cells in fleet.contributions(table):
        for key, cell in cells.items():
            yield dict(zip(table.dimensions, key, strict=True)) | {
                metric.name: _mean(cell, metric) for metric in quantities(table, schema)
            }


def synthetic_records(release: Release, fleet: Fleet, chance: random.Random) -> Iterator[Record]:
    """As many for each published cell as it says there are, with values drawn from its estimated histograms."""
    table, schema = performance(fleet), fleet.parameters.schema
    released = next(found for found in release.tables if found.name == table.name)
    for cell in released.cells:
        drawn = [_drawn(cell, metric, released, chance) for metric in quantities(table, schema)]
        for values in zip(*drawn, strict=True):
            names = (metric.name for metric in quantities(table, schema))
            yield dict(zip(table.dimensions, cell.key, strict=True)) | dict(zip(names, values, strict=True))


def write(records: Iterable[Record], path: Path) -> int:
    listed = list(records)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(listed[0]))
        writer.writeheader()
        writer.writerows(listed)
    return len(listed)


def _mean(cell: Cell, metric: Metric) -> float:
    histogram = cell.histograms[metric.name]
    ends = _ends(metric)
    logs = [math.log(ends[i] * ends[i + 1]) / 2 for i in range(len(histogram))]
    return math.exp(sum(u * x for u, x in zip(histogram, logs, strict=True)) / sum(histogram))


def _drawn(cell: ReleasedCell, metric: Metric, table: ReleasedTable, chance: random.Random) -> Sequence[float]:
    shares = estimate(metric, cell.histograms[metric.name], table.histogram_scales[metric.name]).shares
    ends = _ends(metric)
    if not shares:  # noise is all there is: any bucket is as likely
        shares = (1 / metric.buckets,) * metric.buckets
    buckets = chance.choices(range(metric.buckets), shares, k=max(cell.contributors, 0))
    return [ends[b] * (ends[b + 1] / ends[b]) ** chance.random() for b in buckets]


def _ends(metric: Metric) -> list[float]:
    """All ends of the buckets; the open ones as wide as their neighbours."""
    edges = metric.edges
    return [edges[0] ** 2 / edges[1], *edges, edges[-1] ** 2 / edges[-2]]

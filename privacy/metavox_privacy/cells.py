"""Reports -> Cells: sums by table and key, in which no installation weighs more than any other one.

The bound on what one report can change is made here and priced in
:func:`squared_count_sensitivity` and :func:`squared_histogram_sensitivity`; the two belong together.

A report with k keys gives each 1/sqrt(k) of the units: the L2 distance by which it moves all histograms together is
then the same for every k, and the noise need not be scaled to those few that have K.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from metavox_privacy.anonymize import CellKey
from metavox_privacy.fields import Metric, Table
from metavox_privacy.report import Report, apportion
from metavox_privacy.schema import Schema
from metavox_privacy.smoothing import squared_norm


@dataclass(slots=True)
class Cell:
    """Sums over the reports that share a key.

    Attributes:
        contributors: How many reports.
        histograms: Units by bucket, by metric name.
    """

    contributors: int = 0
    histograms: dict[str, list[int]] = field(default_factory=dict)

    def add(self, metric: str, units: Iterable[int]) -> None:
        """Add units to a metric's histogram, bucket by bucket."""
        mine = self.histograms.get(metric)
        self.histograms[metric] = list(units) if mine is None else [a + b for a, b in zip(mine, units, strict=True)]


def weight(keys: int, units: int) -> int:
    """How many units each histogram of a report with so many keys in a table is worth there: units / sqrt(keys)."""
    return math.isqrt(units**2 // keys)


def project(report: Report, table: Table, schema: Schema) -> dict[CellKey, Cell]:
    """What one report adds to a table: at most K keys, each with one contributor and as many units.

    Cells that differ only in dimensions outside the table's key become one. Every histogram is then divided anew
    into the units that its report's number of keys leaves it.
    """
    positions = [schema.position[name] for name in table.dimensions]
    merged: dict[CellKey, Cell] = {}
    for cell in report.cells:
        target = merged.setdefault(tuple(cell.key[i] for i in positions), Cell(contributors=1))
        for name in table.metrics:
            if name in cell.histograms:
                target.add(name, cell.histograms[name])
    units = weight(len(merged), schema.units) if merged else 0
    for target in merged.values():
        target.histograms = {n: list(apportion(h, units)) for n, h in target.histograms.items()}
    return merged


def fold(reports: Iterable[Report], schema: Schema, tables: Sequence[Table]) -> dict[str, dict[CellKey, Cell]]:
    """Sum reports by table name and key, in one pass."""
    sums: dict[str, dict[CellKey, Cell]] = {table.name: {} for table in tables}
    for report in reports:
        for table in tables:
            for key, part in project(report, table, schema).items():
                total = sums[table.name].setdefault(key, Cell())
                total.contributors += part.contributors
                for name, units in part.histograms.items():
                    total.add(name, units)
    return sums


def squared_count_sensitivity(schema: Schema, weeks: int) -> int:
    """K keys in each of the weeks, each changed by one; at worst the same K keys in all of them."""
    return schema.cells_per_report * weeks**2


def squared_histogram_sensitivity(metric: Metric, schema: Schema, weeks: int) -> int:
    """The worst number of keys, in each all units in one bucket, spread, in every one of the weeks."""
    worst = max(k * weight(k, schema.units) ** 2 for k in range(1, schema.cells_per_report + 1))
    return worst * squared_norm(metric) * weeks**2

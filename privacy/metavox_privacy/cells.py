"""Reports -> Cells: sums by table and key, in which one installation weighs what every other one does.

The bound on what one report can change is made here and priced in
:func:`squared_count_sensitivity` and :func:`squared_histogram_sensitivity`; the two belong together.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from metavox_privacy.anonymize import CellKey
from metavox_privacy.fields import Table
from metavox_privacy.report import Report, apportion
from metavox_privacy.schema import Schema


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


def project(report: Report, table: Table, schema: Schema) -> dict[CellKey, Cell]:
    """What one report adds to a table: at most K keys, each with one contributor and full histograms.

    Cells that differ only in dimensions outside the table's key become one, and its histograms are
    normalised again, so that they too hold the schema's units.
    """
    positions = [schema.position[name] for name in table.dimensions]
    merged: dict[CellKey, Cell] = {}
    for cell in report.cells:
        target = merged.setdefault(tuple(cell.key[i] for i in positions), Cell(contributors=1))
        for name in table.metrics:
            if name in cell.histograms:
                target.add(name, cell.histograms[name])
    for target in merged.values():
        target.histograms = {n: list(apportion(h, schema.units)) for n, h in target.histograms.items()}
    return merged


def fold(reports: Iterable[Report], schema: Schema) -> dict[str, dict[CellKey, Cell]]:
    """Sum reports by table name and key, in one pass."""
    tables: dict[str, dict[CellKey, Cell]] = {table.name: {} for table in schema.tables}
    for report in reports:
        for table in schema.tables:
            for key, part in project(report, table, schema).items():
                total = tables[table.name].setdefault(key, Cell())
                total.contributors += part.contributors
                for name, units in part.histograms.items():
                    total.add(name, units)
    return tables


def squared_count_sensitivity(schema: Schema) -> int:
    """K keys, each changed by one."""
    return schema.cells_per_report


def squared_histogram_sensitivity(table: Table, schema: Schema) -> int:
    """K keys, in each every metric, in each at worst all units in one bucket."""
    return schema.cells_per_report * len(table.metrics) * schema.units**2

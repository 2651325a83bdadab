"""Staged rows -> sums, in numpy; bit for bit what :func:`metavox_privacy.cells.fold` says, the specification.

Nothing here knows of a database, so it runs on whichever machine reads the rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from metavox_collector.fold.batch import unpack
from metavox_collector.fold.table import SummedTable, TableSums
from metavox_collector.packing import SYNTHETIC, Packing
from metavox_privacy.anonymize import CellKey
from metavox_privacy.cells import Cell
from metavox_privacy.fields import Purpose, Scope
from metavox_privacy.schema import Schema

if TYPE_CHECKING:
    from metavox_collector.store.rows import StagedRow


class Sums:
    """The sums over reports, for each purpose by table and key.

    Attributes:
        scope: Whose tables are summed.
        reports: How many reports were added.
        cells: How many cells they have, which is how many rows were read.
        synthetic: How many of the reports were simulated.
    """

    def __init__(self, schema: Schema, packing: Packing, scope: Scope = "full") -> None:
        self.scope = scope
        self.reports = 0
        self.cells = 0
        self.synthetic = 0
        self._packing = packing
        self._tables = {table.name: TableSums(table, packing) for table in schema.in_scope(scope)}

    def add(self, rows: Sequence[StagedRow]) -> None:
        """Add whole reports: all rows of one after another, and none of them in another call.

        Raises:
            ValueError: if a row is no cell of the schema, or a report weighs more than one report may.
        """
        if not rows:
            return
        batch = unpack(rows, self._packing)
        self.reports += len(batch.flags)
        self.cells += len(batch.report)
        self.synthetic += int(np.count_nonzero(batch.flags & SYNTHETIC))
        for table in self._tables.values():
            table.add(batch)

    def merge(self, other: Sums) -> None:
        """Add the sums over other reports under the same schema."""
        self.reports += other.reports
        self.cells += other.cells
        self.synthetic += other.synthetic
        for name, table in self._tables.items():
            table.merge(other._tables[name])

    def tables(self, purpose: Purpose) -> dict[str, Mapping[CellKey, Cell]]:
        """The sums over the reports that permit a purpose, by table name and key."""
        return {name: SummedTable(table, purpose) for name, table in self._tables.items()}

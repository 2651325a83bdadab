"""Record -> Tally: counts in memory, of which nothing of any single request can be had back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from metavox_privacy.anonymize import CellKey, Record
from metavox_privacy.week import Week

MOST_CELLS = 256
"""How many cells may wait in memory, about 1 MiB of them at the very worst."""


@dataclass(slots=True)
class CellTally:
    """One cell's counts.

    Attributes:
        requests: How many requests.
        buckets: How many of them in each bucket that has any, by metric name.
    """

    requests: int = 0
    buckets: dict[str, dict[int, int]] = field(default_factory=dict)

    def add(self, record: Record) -> None:
        """Count a request."""
        self.requests += 1
        for name, bucket in record.buckets.items():
            counts = self.buckets.get(name)
            if counts is None:
                counts = self.buckets[name] = {}
            counts[bucket] = counts.get(bucket, 0) + 1


class Tally:
    """What was counted since the last write. Not safe for threads.

    Args:
        most_cells: With as many, requests of other cells are dropped; a report has room for four.
    """

    def __init__(self, most_cells: int = MOST_CELLS) -> None:
        self._weeks: dict[Week, dict[CellKey, CellTally]] = {}
        self._room = most_cells

    def __bool__(self) -> bool:
        return bool(self._weeks)

    def __iter__(self) -> Iterator[tuple[Week, dict[CellKey, CellTally]]]:
        """Each week with its cells."""
        return iter(self._weeks.items())

    @property
    def requests(self) -> int:
        """How many requests were counted."""
        return sum(cell.requests for cells in self._weeks.values() for cell in cells.values())

    def add(self, record: Record) -> None:
        """Count a request."""
        cells = self._weeks.get(record.week)
        cell = None if cells is None else cells.get(record.cell)
        if cell is None:
            if self._room <= 0:
                return
            self._room -= 1
            cell = self._weeks.setdefault(record.week, {}).setdefault(record.cell, CellTally())
        cell.add(record)

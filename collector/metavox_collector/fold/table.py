"""One table's sums: in each key a report counts once, and weighs what every other report does."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

import numpy as np

from metavox_collector.fold.batch import Batch, Integers
from metavox_collector.fold.counters import Counters
from metavox_collector.fold.keys import KeySpace
from metavox_collector.packing import PERMITS, Packing
from metavox_privacy.anonymize import CellKey
from metavox_privacy.cells import Cell, weight
from metavox_privacy.fields import Purpose, Table

_ALL = sum(PERMITS.values())
_PERMITTED = range(1, _ALL + 1)


class TableSums:
    """A table's contributors and units by key, apart for each set of purposes that reports permit.

    Most permit all of them, and so are added once and not once for each purpose.

    Attributes:
        keys: All keys that there can be.
        metrics: Where each metric's buckets are in a row of units, by the metric's name.
        contributors: (keys,) Reports by key, by their flags for purposes.
        units: (keys, buckets of all metrics) Units by key, by the same.
    """

    def __init__(self, table: Table, packing: Packing) -> None:
        schema = packing.schema
        self.keys = KeySpace([schema.dimension[name].vocabulary for name in table.dimensions])
        self._positions = [schema.position[name] for name in table.dimensions]
        ends = list(itertools.accumulate((schema.metric[name].buckets for name in table.metrics), initial=0))
        self.metrics = {name: slice(*ends[i : i + 2]) for i, name in enumerate(table.metrics)}
        self._width = ends[-1]
        # What a histogram of a report with so many keys is worth; no report has none.
        self._weights = np.array([0, *(weight(k, schema.units) for k in range(1, schema.cells_per_report + 1))])
        self._column = _columns(self.metrics, packing)
        self.contributors = {permitted: np.zeros(self.keys.size, np.int64) for permitted in _PERMITTED}
        self.units = {permitted: Counters(self.keys.size, self._width) for permitted in _PERMITTED}

    def add(self, batch: Batch) -> None:
        """Add whole reports."""
        code = self.keys.codes(batch.codes[:, self._positions])
        pairs, pair = np.unique(batch.report * self.keys.size + code, return_inverse=True)
        report, code = np.divmod(pairs, self.keys.size)  # a pair: one report, and one of its keys
        keys = np.bincount(report)[report]
        histograms = self._histograms(batch, pair, keys)
        order = np.argsort(code, kind="stable")
        flags = batch.flags[report[order]] & _ALL
        for permitted in _PERMITTED:
            mine = order[flags == permitted]
            if mine.size:
                codes, first, reports = np.unique(code[mine], return_index=True, return_counts=True)
                self.contributors[permitted][codes] += reports
                self.units[permitted].add(codes, np.add.reduceat(histograms[mine], first, dtype=np.int64))

    def merge(self, other: TableSums) -> None:
        """Add another's sums."""
        for permitted in _PERMITTED:
            self.contributors[permitted] += other.contributors[permitted]
            for codes, units in other.units[permitted].parts():
                self.units[permitted].add(codes, units)

    def _histograms(self, batch: Batch, pair: Integers, keys: Integers) -> Integers:
        """(pairs, buckets) The units of a report in one of its keys, by how many keys that report has."""
        pairs = len(keys)
        column = self._column[batch.place]
        mine = column >= 0
        at = pair[batch.cell[mine]] * self._width + column[mine]
        flat = np.bincount(at, batch.units[mine], pairs * self._width)  # floats, which hold such integers exactly
        histograms = flat.astype(np.int32).reshape(pairs, self._width)
        changed = np.flatnonzero((np.bincount(pair, minlength=pairs) > 1) | (keys > 1))
        for part in self.metrics.values():
            histograms[changed, part] = apportioned(histograms[changed, part], self._weights[keys[changed]])
        return histograms


class SummedTable(Mapping[CellKey, Cell]):
    """A table's sums for one purpose, as the release reads them: each cell is made when it is asked for."""

    def __init__(self, sums: TableSums, purpose: Purpose) -> None:
        self._sums = sums
        mine = [permitted for permitted in _PERMITTED if permitted & PERMITS[purpose]]
        self._contributors = sum((sums.contributors[permitted] for permitted in mine), np.zeros(1, np.int64))
        self._units = [sums.units[permitted] for permitted in mine]

    def __getitem__(self, key: CellKey) -> Cell:
        code = self._sums.keys.find(key)
        if code is None or not self._contributors[code]:
            raise KeyError(key)
        return Cell(int(self._contributors[code]), self._histograms(code) if self._sums.metrics else {})

    def __contains__(self, key: object) -> bool:
        """Without the histograms, which cost most: a release asks for every key that there can be."""
        code = self._sums.keys.find(key)
        return code is not None and bool(self._contributors[code])

    def __iter__(self) -> Iterator[CellKey]:
        return (self._sums.keys.key(int(code)) for code in np.flatnonzero(self._contributors))

    def __len__(self) -> int:
        return int(np.count_nonzero(self._contributors))

    def _histograms(self, code: int) -> dict[str, list[int]]:
        row = np.array([code])
        (units,) = np.sum([part.values(row) for part in self._units], axis=0).tolist()
        histograms = {name: units[part] for name, part in self._sums.metrics.items()}
        return {name: histogram for name, histogram in histograms.items() if any(histogram)}


def apportioned(histograms: Integers, units: Integers) -> Integers:
    """Each row as :func:`metavox_privacy.report.apportion` divides it; rows of zeros stay.

    Args:
        histograms: (n, buckets) Units, none below zero.
        units: (n,) What each row of the result sums to.
    """
    totals = np.maximum(histograms.sum(axis=1, keepdims=True, dtype=np.int64), 1)
    whole, remainder = np.divmod(histograms * units[:, None], totals)
    left = np.where(histograms.any(axis=1), units - whole.sum(axis=1), 0)
    by_remainder = np.argsort(-remainder, axis=1, kind="stable")
    rank = np.empty_like(by_remainder)
    np.put_along_axis(rank, by_remainder, np.arange(histograms.shape[1])[None, :], axis=1)
    result: Integers = whole + (rank < left[:, None])
    return result


def _columns(metrics: Mapping[str, slice], packing: Packing) -> Integers:
    """(width of a packed cell,) Where in a row of units each place is; -1 where the table has not its metric."""
    columns = np.full(packing.width, -1)
    for name, part in metrics.items():
        first = packing.slots[name]
        columns[first : first + part.stop - part.start] = np.arange(part.start, part.stop)
    return columns

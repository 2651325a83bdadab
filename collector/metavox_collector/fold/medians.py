"""Staged rows -> for each key of a table and each metric, how many reports have their median in which bucket.

The release adds up units, in which a report that is far from all others cannot be seen any more; this keeps apart
where each report is. It is for the operator's eyes: see :mod:`metavox_collector.outliers`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from metavox_collector.fold.batch import Integers, unpack
from metavox_collector.fold.counters import Counters
from metavox_collector.fold.keys import KeySpace
from metavox_collector.packing import PERMITS, Packing
from metavox_privacy.anonymize import CellKey
from metavox_privacy.fields import Purpose, Table

if TYPE_CHECKING:
    from metavox_collector.store.rows import StagedRow


@dataclass(frozen=True, slots=True)
class KeyMedians:
    """One key of the table.

    Attributes:
        key: Its words.
        contributors: How many reports have it.
        medians: By metric, how many of them have their median in each bucket.
    """

    key: CellKey
    contributors: int
    medians: dict[str, Integers]


class Medians:
    """What each report's middle is, for one table and purpose; rates, of two buckets, are left out.

    It takes 2 bytes for each bucket of each key that is reported: 190 MB in the worst week, when all keys are.
    """

    def __init__(self, table: Table, purpose: Purpose, packing: Packing) -> None:
        schema = packing.schema
        metrics = [schema.metric[name] for name in table.metrics if not schema.metric[name].is_rate]
        ends = itertools.pairwise(itertools.accumulate((metric.buckets for metric in metrics), initial=0))
        self.reports = 0
        self._packing = packing
        self._permitted = PERMITS[purpose]
        self._keys = KeySpace([schema.dimension[name].vocabulary for name in table.dimensions])
        self._positions = [schema.position[name] for name in table.dimensions]
        self._metrics = {metric.name: slice(*part) for metric, part in zip(metrics, ends, strict=True)}
        self._contributors = np.zeros(self._keys.size, np.int64)
        self._counts = Counters(self._keys.size, sum(metric.buckets for metric in metrics))

    def add(self, rows: Sequence[StagedRow]) -> None:
        """Add some reports, all rows of each one after another and none of them elsewhere.

        Raises:
            ValueError: if a row is no cell of the schema, or a report is more than one report may be.
        """
        rows = [row for row in rows if row.flags & self._permitted]
        if not rows:
            return
        batch = unpack(rows, self._packing)
        self.reports += len(batch.flags)
        size = self._keys.size
        code = batch.report * size + self._keys.codes(batch.codes[:, self._positions])
        pairs, pair = np.unique(code, return_inverse=True)  # a pair: one report, and one of its keys
        units = np.bincount(
            pair[batch.cell] * self._packing.width + batch.place, batch.units, len(pairs) * self._packing.width
        )
        middles = self._middles(units.reshape(len(pairs), -1))
        order = np.argsort(pairs % size, kind="stable")
        codes, first, reports = np.unique(pairs[order] % size, return_index=True, return_counts=True)
        self._contributors[codes] += reports
        self._counts.add(codes, np.add.reduceat(middles[order], first, dtype=np.int64))

    def keys(self, least: int) -> Iterator[KeyMedians]:
        """The keys of at least so many reports, one after another."""
        for code in np.flatnonzero(self._contributors >= least):
            (counts,) = self._counts.values(np.array([code]))
            medians = {name: counts[part] for name, part in self._metrics.items()}
            yield KeyMedians(self._keys.key(int(code)), int(self._contributors[code]), medians)

    def _middles(self, units: Integers) -> Integers:
        """(pairs, buckets) 1 in the bucket of each metric in which half of the units are reached."""
        middles = np.zeros((len(units), self._counts.width), np.int64)
        for name, part in self._metrics.items():
            first = self._packing.slots[name]
            below = np.cumsum(units[:, first : first + part.stop - part.start], axis=1)
            measured = np.flatnonzero(below[:, -1])
            middle = np.argmax(2 * below[measured] >= below[measured, -1:], axis=1)
            middles[measured, part.start + middle] = 1
        return middles

"""Staged rows -> arrays: whole reports' cells, checked against the bound that the noise is scaled to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from metavox_collector.packing import Packing

if TYPE_CHECKING:  # what sums on another machine needs no database
    from metavox_collector.store.rows import StagedRow

Integers: TypeAlias = npt.NDArray[np.integer[Any]]

_PLACE = np.dtype([("place", "<u2"), ("less", "u1")])
_ID_BYTES = 32


@dataclass(frozen=True, slots=True)
class Batch:
    """The cells of whole reports.

    Attributes:
        flags: (reports,) The bits of each report.
        report: (cells,) Which of those reports each cell is in, rising.
        codes: (cells, dimensions) The place of each word in its vocabulary.
        cell: (filled,) Which cell each bucket that is not empty is in, rising.
        place: (filled,) The bucket, counted through all metrics.
        units: (filled,) The units in it, from 1.
    """

    flags: Integers
    report: Integers
    codes: Integers
    cell: Integers
    place: Integers
    units: Integers


def unpack(rows: Sequence[StagedRow], packing: Packing) -> Batch:
    """Read rows, all of each report one after another.

    Raises:
        ValueError: if a row is no cell of the schema, or a report is more than one report may be.
    """
    ids, positions, flags, cells, histograms = zip(*rows, strict=True)
    report, first = _reports(ids)
    _require_bounded(report, np.array(positions), np.array(flags), first, packing)
    codes = _codes(cells, packing)
    lengths = np.fromiter(map(len, histograms), np.int64, len(rows))
    _require(not (lengths % _PLACE.itemsize).any(), "a histogram of half a bucket")
    filled = np.frombuffer(b"".join(histograms), _PLACE)
    cell = np.repeat(np.arange(len(rows)), lengths // _PLACE.itemsize)
    place, units = filled["place"].astype(np.int64), filled["less"].astype(np.int64) + 1
    _require_full(cell, place, units, len(rows), packing)
    return Batch(np.array(flags, np.int64)[first], report, codes, cell, place, units)


def _reports(ids: Sequence[bytes]) -> tuple[Integers, Integers]:
    """Which report each row is of, and the first row of each."""
    _require(set(map(len, ids)) == {_ID_BYTES}, "a report's name of another length")
    names = np.frombuffer(b"".join(ids), "<u8").reshape(len(ids), -1)
    begins = np.append(True, (names[1:] != names[:-1]).any(axis=1))
    return np.cumsum(begins) - 1, np.flatnonzero(begins)


def _require_bounded(
    report: Integers, position: Integers, flags: Integers, first: Integers, packing: Packing
) -> None:
    """K cells with other numbers and the same flags: one cell more would weigh more than the noise hides."""
    rising = (np.diff(position) > 0) | (np.diff(report) > 0)
    inside = (position >= 0) & (position < packing.schema.cells_per_report)
    _require(bool(rising.all() and inside.all()), f"a report of more than {packing.schema.cells_per_report} cells")
    _require(bool((flags == flags[first][report]).all()), "a report that permits one thing here and another there")


def _codes(cells: Sequence[bytes], packing: Packing) -> Integers:
    sizes = np.array([len(dimension.vocabulary) for dimension in packing.schema.dimensions])
    _require(set(map(len, cells)) == {2 * len(sizes)}, "a key of another length")
    codes = np.frombuffer(b"".join(cells), "<u2").reshape(-1, len(sizes)).astype(np.int64)
    _require(bool((codes < sizes).all()), "a word that is in no vocabulary")
    return codes


def _require_full(cell: Integers, place: Integers, units: Integers, cells: int, packing: Packing) -> None:
    """Rising buckets, and the schema's units in each metric that a cell has."""
    rising = (np.diff(place) > 0) | (np.diff(cell) > 0)
    _require(bool(rising.all() and (place < packing.width).all()), "buckets out of order, or beyond the last")
    metric = np.searchsorted(list(packing.slots.values()), place, side="right") - 1
    sums = np.bincount(cell * len(packing.slots) + metric, units, cells * len(packing.slots))
    _require(bool(np.isin(sums, (0, packing.schema.units)).all()), f"other than {packing.schema.units} units")


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ValueError(f"what is staged holds {otherwise}")

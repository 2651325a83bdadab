"""What a Spark executor does: it reads one slice of a week as Arrow batches and yields the slice's sums.

It imports no database: a cluster's machines need numpy and pyarrow, and are sent our own code.
"""

from __future__ import annotations

import pickle
import zlib
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, TypeAlias, cast

import pyarrow as pa  # type: ignore[import-untyped]  # it ships no types

from metavox_collector.fold.sums import Sums
from metavox_collector.packing import Packing
from metavox_privacy.fields import Scope

if TYPE_CHECKING:  # the store's modules bring SQLAlchemy along
    from metavox_collector.store.rows import StagedRow

Batches: TypeAlias = Iterator[pa.RecordBatch]

COLUMN = "sums"
"""The one column, binary, of what :func:`summing` yields."""


def summing(packing: Packing, scope: Scope) -> Callable[[Batches], Batches]:
    """What turns the batches of one slice, by report and position, into one row: the slice's sums, packed.

    It raises ValueError for rows that are no cells or not in that order.
    """

    def summed(batches: Batches) -> Batches:
        sums = Sums(packing.schema, packing, scope)
        for rows in whole_reports(map(_rows, batches)):
            sums.add(rows)
        yield pa.RecordBatch.from_pydict({COLUMN: [pack(sums)]})

    return summed


def merged(one: bytes, other: bytes) -> bytes:
    """Packed sums over the reports of both."""
    sums = unpack(one)
    sums.merge(unpack(other))
    return pack(sums)


def pack(sums: Sums) -> bytes:
    """Sums as they are sent; a hundredth of their size in memory where most keys are nobody's."""
    return zlib.compress(pickle.dumps(sums), level=1)


def unpack(packed: bytes) -> Sums:
    """The sums that were packed, by our own executors alone: the release rests on their word anyway."""
    sums = pickle.loads(zlib.decompress(packed))  # noqa: S301  # PySpark unpickles what executors return anyway
    assert isinstance(sums, Sums)
    return sums


def whole_reports(batches: Iterable[list[StagedRow]]) -> Iterator[list[StagedRow]]:
    """The same rows, cut between reports: each batch's last report waits until it is seen to be whole.

    Raises:
        ValueError: if a report's rows are not together, for else it would weigh more than one report may.
    """
    rows: list[StagedRow] = []
    for batch in batches:
        rows += batch
        names = [row[0] for row in rows]
        if names != sorted(names):
            raise ValueError("what is staged was not read in order")
        whole = bisect_left(names, names[-1]) if names else 0
        if whole:
            yield rows[:whole]
            rows = rows[whole:]
    if rows:
        yield rows


def _rows(batch: pa.RecordBatch) -> list[StagedRow]:
    return cast("list[StagedRow]", list(zip(*(column.to_pylist() for column in batch.columns), strict=True)))

"""Poisoning made visible: in which cells of a week do some reports say something quite different from the others?

For the operator, before the week is closed. It is computed from staged reports without noise, so it is NOT
differentially private, protects nobody and must never be published or passed on. What it shows is coarse all the
same: no count below 20, and every other one rounded down to tens, so that two of these reports, made one after the
other, hardly tell what somebody sent in between.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from metavox_collector.fold.batch import Integers
from metavox_collector.fold.medians import KeyMedians, Medians
from metavox_collector.store import Database, Transaction
from metavox_privacy.anonymize import CellKey
from metavox_privacy.fields import Metric, Purpose, Table
from metavox_privacy.release import MINIMUM_CONTRIBUTORS, ReleasedTable
from metavox_privacy.schema import Schema
from metavox_privacy.week import Week

NOT_PRIVATE = (
    "computed from reports without any noise: NOT differentially private; for the operator's eyes alone, never to "
    "be published, passed on or kept beyond the close"
)

_TABLE = "performance"
_TENS = 10
_EARLIER = 4
"""With how many releases before it a week is compared."""

_SPREADS = 3.5
"""How many robust standard deviations from the middle is far (Iglewicz and Hoaglin, 1993)."""

_NORMAL = 1.4826
"""Standard deviations in one median absolute deviation, for a normal distribution."""

_NEAR = 6
"""Buckets from the middle that are never far: a factor of about 3, as a laptop on its battery may be slower."""

_JUMP = 2
"""A cell has jumped when it has more than so many times the contributors it had, beyond what noise explains."""


@dataclass(frozen=True, slots=True)
class Spread:
    """Where the reports of one cell are in one metric.

    Attributes:
        metric: Its name.
        reports: How many say something of it, in tens.
        near: From which value to which one a report's median is not far from the others', in the metric's unit;
            None at an open end.
        far: How many are far, in tens; None when it is fewer than 20, be it none at all.
    """

    metric: str
    reports: int
    near: tuple[float | None, float | None]
    far: int | None

    @property
    def share(self) -> float:
        """Which part of the reports is far; 0 when that are fewer than are counted."""
        return (self.far or 0) / self.reports


@dataclass(frozen=True, slots=True)
class SuspectCell:
    """One cell of the performance table with at least 20 contributors.

    Attributes:
        key: A word for each of the table's dimensions.
        contributors: How many, in tens.
        earlier: How many there were in the middle of the last four releases, noisy as they were published, and the
            threshold where it was not; None before the first release.
        jumped: Whether it has more than twice as many, beyond what the noise explains.
        spreads: One for each metric of which at least 20 reports say something.
    """

    key: CellKey
    contributors: int
    earlier: int | None
    jumped: bool
    spreads: tuple[Spread, ...]

    @property
    def worst(self) -> Spread | None:
        """The metric in which the largest part is far."""
        return max(self.spreads, key=lambda spread: spread.share, default=None)


@dataclass(frozen=True, slots=True)
class Outliers:
    """What an operator should look at before closing a week.

    Attributes:
        week: Which week.
        purpose: The reports that permit it are looked at.
        synthetic: Whether they are a sandbox's.
        dimensions: The names of the parts of a cell's key.
        cells: Those with the largest part far away first.
    """

    week: Week
    purpose: Purpose
    synthetic: bool
    dimensions: tuple[str, ...]
    cells: tuple[SuspectCell, ...]


def find(database: Database, week: Week, purpose: Purpose) -> Outliers:
    """Look at a week that is staged; nothing is changed, and reports go on being staged meanwhile.

    Raises:
        StoreUnavailable: if the database is busy or away.
        ValueError: if something staged is no cell of the schema.
    """
    schema = database.schema
    table = next(table for table in schema.tables if table.name == _TABLE)
    medians = Medians(table, purpose, database.packing)
    with database.read() as transaction:
        for rows in transaction.staged_rows(week):
            medians.add(rows)
        earlier = _earlier(transaction, week, purpose)
    cells = [_cell(key, table, schema, earlier) for key in medians.keys(MINIMUM_CONTRIBUTORS)]
    cells.sort(key=lambda cell: (-(cell.worst.share if cell.worst else 0), not cell.jumped, -cell.contributors))
    return Outliers(week, purpose, database.sandbox, table.dimensions, tuple(cells))


def _earlier(transaction: Transaction, week: Week, purpose: Purpose) -> list[ReleasedTable]:
    """The table in the last releases of single weeks before a week, as far as they were cut as finely."""
    summaries = [one for one in transaction.release_summaries(purpose) if (one.weeks, one.scope) == (1, "full")]
    weeks = [summary.week for summary in summaries if summary.week < week]
    kept = [transaction.release(each, purpose) for each in weeks[-_EARLIER:]]
    return [table for one in kept if one for table in one.release.tables if table.name == _TABLE]


def _cell(of: KeyMedians, table: Table, schema: Schema, earlier: Sequence[ReleasedTable]) -> SuspectCell:
    before = _before(of.key, earlier)
    noise = max((table.count_scale for table in earlier), default=0.0)
    return SuspectCell(
        key=of.key,
        contributors=_tens(of.contributors),
        earlier=before,
        jumped=before is not None and of.contributors > _JUMP * before + 3 * noise,
        spreads=tuple(_spreads(of, schema)),
    )


def _before(key: CellKey, earlier: Sequence[ReleasedTable]) -> int | None:
    counts = [
        next((cell.contributors for cell in table.cells if cell.key == key), table.threshold) for table in earlier
    ]
    return round(statistics.median(counts)) if counts else None


def _spreads(of: KeyMedians, schema: Schema) -> Iterator[Spread]:
    for name, reports in of.medians.items():
        if reports.sum() >= MINIMUM_CONTRIBUTORS:
            yield _spread(schema.metric[name], reports)


def _spread(metric: Metric, reports: Integers) -> Spread:
    """Judge by the middle of the reports' middles, which less than half of them cannot move far."""
    buckets = np.arange(len(reports))
    middle = _median(reports)
    distance = np.abs(buckets - middle)
    deviation = _median(np.bincount(distance, reports).astype(np.int64))
    reach = max(_NEAR, math.floor(_SPREADS * _NORMAL * deviation))
    far = int(reports[distance > reach].sum())
    low, high = middle - reach, middle + reach
    near = (metric.edges[low - 1] if low > 0 else None, metric.edges[high] if high < len(metric.edges) else None)
    return Spread(metric.name, _tens(int(reports.sum())), near, _tens(far) if far >= MINIMUM_CONTRIBUTORS else None)


def _median(counts: Integers) -> int:
    """The first place at which half of the counts is reached."""
    below = np.cumsum(counts)
    return int(np.searchsorted(2 * below, below[-1]))


def _tens(count: int) -> int:
    return count // _TENS * _TENS

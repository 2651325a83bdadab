"""Fold on one machine: stream a week's rows from SQL, some thousand at a time."""

from __future__ import annotations

from metavox_collector.fold.sums import Sums
from metavox_collector.store import Transaction
from metavox_privacy.fields import Scope
from metavox_privacy.week import Week

ROWS_AT_A_TIME = 2048
"""Enough for numpy to be quick, and in the worst case 30 MB of arrays."""


def fold_week(transaction: Transaction, week: Week, scope: Scope) -> Sums:
    """The sums of a week, for all purposes in one pass; raises ValueError for a row that is no cell."""
    sums = Sums(transaction.schema, transaction.packing, scope)
    for rows in transaction.staged_rows(week, ROWS_AT_A_TIME):
        sums.add(rows)
    return sums

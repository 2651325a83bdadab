"""Fold on one machine: stream a week's rows through the shared core's sum."""

from __future__ import annotations

from metavox_collector.store import Transaction
from metavox_privacy.anonymize import CellKey
from metavox_privacy.cells import Cell, fold
from metavox_privacy.fields import Purpose
from metavox_privacy.week import Week


def fold_week(transaction: Transaction, week: Week, purpose: Purpose) -> dict[str, dict[CellKey, Cell]]:
    """The sums, by table name and key, over the reports that permit a purpose."""
    return fold(transaction.staged_reports(week, purpose), transaction.schema)

"""Ledger entries <-> rows."""

from __future__ import annotations

from dataclasses import asdict

from sqlalchemy import Connection, select

from metavox_collector.store.driver import ask
from metavox_collector.store.tables import Tables
from metavox_privacy.budget import LedgerEntry
from metavox_privacy.week import Week


def entries(connection: Connection, tables: Tables) -> list[LedgerEntry]:
    """Every entry, first to last."""
    rows = connection.execute(select(tables.ledger).order_by(tables.ledger.c.sequence)).mappings()
    return [LedgerEntry(**{**row, "week": Week.parse(row["week"])}) for row in rows]


def weeks(connection: Connection) -> frozenset[Week]:
    """The weeks that were released, each alone or together with others."""
    periods = ask(connection, "SELECT DISTINCT week, weeks FROM ledger")
    return frozenset(Week.parse(last).before(n) for last, weeks in periods for n in range(weeks))


def add(connection: Connection, tables: Tables, entry: LedgerEntry) -> None:
    """Append one entry."""
    connection.execute(tables.ledger.insert(), {**asdict(entry), "week": str(entry.week)})

"""Database -> one file with the ledger and every release: all that could not be had again.

Staged reports stay out unless they are asked for. People are promised that a report dies with its week, and that
they can delete it until then; a copy in a file that nobody looks after would break both promises. What is kept of
deleted reports, until their week is closed, stays out as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from metavox_collector.errors import CollectorError
from metavox_collector.operate import pg_tools
from metavox_collector.operate.check import ledger_head
from metavox_collector.operate.files import new_file
from metavox_collector.settings import Settings
from metavox_collector.store import Database, Transaction, copies, inspection
from metavox_privacy.week import Week


@dataclass(frozen=True)
class Backup:
    """What was written.

    Attributes:
        file: Where.
        ledger_head: The hash of the last ledger entry in it, which a restore asks for.
        staged: The weeks of which it holds reports.
        destroy_before: When the first of them has to be destroyed at the latest; None without reports.
    """

    file: Path
    ledger_head: str
    staged: tuple[Week, ...]
    destroy_before: datetime | None


def back_up(database: Database, settings: Settings, file: Path, *, with_staged: bool) -> Backup:
    """Write a backup while others use the database.

    Raises:
        TargetExists: if there is something at the target.
        NotAllowed: if PostgreSQL's programs are not installed, or too old.
        CollectorError: if it cannot be done, or a week was closed meanwhile.
        StoreUnavailable: if the database is busy or away.
    """
    with new_file(file) as part:
        with database.read() as transaction:
            head, server = ledger_head(transaction.ledger()), inspection.server(transaction)
        if database.dialect == "sqlite":
            copies.copy(copies.file_of(settings.db), part, with_staged=with_staged)
        else:
            pg_tools.require("pg_dump", server.major)
            with_data = ["--table=staged_cell_*"] if with_staged else ["--exclude-table-data=deleted_report"]
            pg_tools.dump(pg_tools.Target.of(settings.db), part, inspection.TABLES, with_data)
        with database.read() as transaction:  # what was staged meanwhile may be in it
            staged = held_weeks(transaction) if with_staged else ()
            _require_at(transaction, head)
    destroy_before = staged[0].end + settings.accepted_for if staged else None
    return Backup(file, head, staged, destroy_before)


def held_weeks(transaction: Transaction) -> tuple[Week, ...]:
    """The weeks of which at least one report is staged, oldest first."""
    return tuple(week for week in transaction.staged_weeks() if transaction.count_staged(week))


def _require_at(transaction: Transaction, head: str) -> None:
    if ledger_head(transaction.ledger()) != head:
        raise CollectorError("a week was closed while the backup was made; nothing was kept: make it again")

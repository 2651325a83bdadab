"""Whether a database is what it should be: its structure, its ledger, every release, every staged row."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from metavox_collector.close import require_intact
from metavox_collector.operate.findings import Finding, error, ok, warning
from metavox_collector.packing import Packing
from metavox_collector.settings import Settings
from metavox_collector.store import Database, StagedRow, Transaction, copies, inspection
from metavox_privacy.budget import GENESIS, LedgerBroken, LedgerEntry, verify
from metavox_privacy.week import Week

_NEEDED = {
    "synchronous": ("full", "extra"),
    "journal_mode": ("wal",),
    "fsync": ("on",),
    "full_page_writes": ("on",),
}
"""What a commit needs to be on the disk for good. PostgreSQL's synchronous_commit must not be off."""

_SILENT = {
    "log_statement": "none",
    "log_min_duration_statement": "-1",
    "log_min_duration_sample": "-1",
    "log_transaction_sample_rate": "0",
}
"""PostgreSQL's settings by which it logs statements, and their values by which it logs none."""


def check(database: Database, settings: Settings, now: datetime) -> Iterator[Finding]:
    """Look at everything, in one state of the database, while others use it; it reads all of it.

    Raises:
        StoreUnavailable: if the database is busy or away.
    """
    with database.read() as transaction:
        server = inspection.server(transaction)
        yield ok("server", server.name)
        yield ok("revision", str(inspection.revision(transaction)))
        yield from durability(server)
        yield from discretion(server)
        yield from permissions(settings)
        yield from _structure(transaction)
        yield from _ledger(transaction)
        yield from _staged(transaction, settings, now)


def ledger_head(history: Sequence[LedgerEntry]) -> str:
    """The hash of the last entry; of an empty ledger, what its first entry will be chained to."""
    return history[-1].hash if history else GENESIS


def durability(server: inspection.Server) -> Iterator[Finding]:
    """Whether what is answered 200 survives a power cut."""
    held = server.durability
    lost = "what was acknowledged can be lost; set it to"
    wrong = [
        f"{name} is {held[name]}: {lost} {good[0]}"
        for name, good in _NEEDED.items()
        if held.get(name, good[0]) not in good
    ]
    if held.get("synchronous_commit") == "off":
        wrong.append(f"synchronous_commit is off: {lost} on")
    yield from (error("durability", words) for words in wrong)
    if not wrong:
        yield ok("durability", ", ".join(f"{name} {value}" for name, value in held.items()))
    if held.get("data_checksums") == "off":
        yield warning("checksums", "the server keeps none of its pages; stop it once and run pg_checksums --enable")


def discretion(server: inspection.Server) -> Iterator[Finding]:
    """Whether PostgreSQL keeps what the collector does not have it store: moments, and reports in its log."""
    telling = server.telling
    if telling.get("track_commit_timestamp") == "on":
        yield error("moments", "track_commit_timestamp is on: it tells when each report came; set it to off")
    logged = [name for name, silent in _SILENT.items() if telling.get(name, silent) != silent]
    if logged and telling.get("log_parameter_max_length") != "0":
        names = ", ".join(logged)
        yield error("server's log", f"by {names} it can hold reports; set log_parameter_max_length to 0")
    if telling.get("log_parameter_max_length_on_error", "0") != "0":
        yield error("server's log", "log_parameter_max_length_on_error is not 0: it can hold reports; set it to 0")
    if telling.get("log_error_verbosity", "terse") != "terse":
        words = "log_error_verbosity is not terse: an error's detail can quote a row; as a superuser ALTER DATABASE"
        yield warning("server's log", f"{words} ... SET log_error_verbosity = 'terse'")


def permissions(settings: Settings) -> Iterator[Finding]:
    """Whether others on this machine may read what SQLite holds."""
    if not settings.db.startswith("sqlite"):
        return
    file = copies.file_of(settings.db).absolute()
    for part in (file, *(file.with_name(f"{file.name}{end}") for end in ("-wal", "-shm"))):
        if part.is_file() and part.stat().st_mode & 0o077:
            yield error("permissions", f"others may read {part}; run: chmod 600 {part}")


def _structure(transaction: Transaction) -> Iterator[Finding]:
    damages = inspection.damages(transaction)
    yield from (error("structure", f"{words}; restore the last backup") for words in damages)
    if not damages:
        yield ok("structure", "nothing is broken")


def _ledger(transaction: Transaction) -> Iterator[Finding]:
    history = transaction.ledger()
    try:
        verify(history)
        require_intact(transaction)
    except LedgerBroken as broken:
        yield error("ledger", f"{broken}; the database was altered: restore the last backup")
    else:
        yield ok(
            "ledger", f"{len(history)} entries, each with what was released; the head is {ledger_head(history)}"
        )


def _staged(transaction: Transaction, settings: Settings, now: datetime) -> Iterator[Finding]:
    closed, oldest = transaction.closed_weeks(), Week.of(now - settings.accepted_for)
    for week in transaction.staged_weeks():
        held = _held(transaction, week)
        if held.reports:
            yield from _too_long(week, closed, oldest)
            yield _sound(week, held)


@dataclass
class _Held:
    """What was counted of a week."""

    reports: int = 0
    cells: int = 0
    broken: int = 0


def _held(transaction: Transaction, week: Week) -> _Held:
    held = _Held()
    for rows in transaction.staged_rows(week):
        for _, report in itertools.groupby(rows, key=lambda row: row.report_id):
            mine = list(report)
            held.reports += 1
            held.cells += len(mine)
            held.broken += not _is_whole(mine, transaction.packing)
    return held


def _too_long(week: Week, closed: frozenset[Week], oldest: Week) -> Iterator[Finding]:
    if week in closed:
        yield error("staged", f"{week} was released and reports of it are there still; the database was altered")
    elif week < oldest:
        yield error("staged", f"{week} is older than what may be kept; start the service, which destroys it")


def _sound(week: Week, held: _Held) -> Finding:
    if held.broken:
        words = f"{held.broken} of {held.reports} reports are none of this schema; the database was altered"
        return error("staged", f"{week}: {words}")
    return ok("staged", f"{week}: {held.reports} reports, {held.cells} cells")


def _is_whole(rows: Sequence[StagedRow], packing: Packing) -> bool:
    """Whether these are a report's rows: all of them, of one mind, and each a cell of the schema."""
    try:
        for row in rows:
            packing.unpack(row.cell, row.histograms)
    except ValueError:
        return False
    numbered = [row.position for row in rows] == list(range(len(rows)))
    return numbered and len(rows) <= packing.schema.cells_per_report and len({row.flags for row in rows}) == 1

"""The journal: anonymous counts by week, cell and bucket, and the reports made of them. Nothing raw is ever in it.

One small SQLite file, opened for one call at a time, so that processes and threads can share it, nothing
has to be flushed when the program ends, and whoever deletes it has deleted it.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import sqlite3
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from metavox.telemetry.home import Home, make_private_folder
from metavox_privacy.anonymize import CellKey, Record
from metavox_privacy.consent import Consent
from metavox_privacy.report import CellCounts, Counts
from metavox_privacy.schema import Schema
from metavox_privacy.week import Week

KEPT = timedelta(days=28)
"""How long after its end a week stays in the journal."""

_WAIT = 2.0  # seconds for another process's commit, which takes about a millisecond
_LAYOUT = 2
_TABLES = """
DROP TABLE IF EXISTS consent;
DROP TABLE IF EXISTS requests;
DROP TABLE IF EXISTS counts;
DROP TABLE IF EXISTS reports;
CREATE TABLE consent (since TEXT NOT NULL, purposes TEXT NOT NULL, notice TEXT NOT NULL);
CREATE TABLE requests (week TEXT, cell TEXT, n INTEGER NOT NULL, PRIMARY KEY (week, cell)) WITHOUT ROWID;
CREATE TABLE counts (
    week TEXT, cell TEXT, metric TEXT, bucket INTEGER, n INTEGER NOT NULL,
    PRIMARY KEY (week, cell, metric, bucket)
) WITHOUT ROWID;
CREATE TABLE reports (
    week TEXT PRIMARY KEY, token BLOB NOT NULL, body BLOB, outcome TEXT
) WITHOUT ROWID;
"""
# A report is open (no body), then built (a body, never to change again), then has an outcome: sent, refused or
# withdrawn (the consent ended after it was built, and perhaps sent: of such a one only the token stays).
_OPEN = "body IS NULL AND outcome IS NULL"
_END_OF_CONSENT = """
DELETE FROM consent;
DELETE FROM requests;
DELETE FROM counts;
DELETE FROM reports WHERE body IS NULL AND outcome IS NULL;
UPDATE reports SET body = NULL, outcome = coalesce(outcome, 'withdrawn');
"""


@dataclass(frozen=True, slots=True)
class StoredReport:
    """A week's report, as far as it has come.

    Attributes:
        week: The week it reports.
        token: The secret that names it and can delete it at the collector.
        body: The exact bytes to send, None while the week still counts, and after the end of its consent.
        outcome: "sent", "refused" or "withdrawn" when that is settled, else None.
    """

    week: Week
    token: bytes
    body: bytes | None
    outcome: str | None


def built_tokens(path: Path) -> dict[Week, bytes]:
    """The tokens of the reports that were built, under whatever consent; {} when there is no journal to read.

    Each of them may be at a collector: an attempt to send it can succeed without an answer that says so.
    """
    built = "SELECT week, token FROM reports WHERE body IS NOT NULL OR outcome IS NOT NULL ORDER BY week"
    try:
        with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True)) as sql:
            return {Week.parse(week): bytes(token) for week, token in sql.execute(built).fetchall()}
    except (sqlite3.Error, TypeError, ValueError):
        return {}


def weeks_kept(path: Path) -> dict[Week, str]:
    """Each week with its outcome, or "kept" while there is none; {} when there is no journal.

    For looking while contributions are off: nothing is counted, built, deleted or written.

    Raises:
        sqlite3.Error, OSError: the journal cannot be read.
    """
    if not os.path.exists(path):  # Path.exists raises where a folder on the way is closed to us
        return {}
    kept = "SELECT week, coalesce(outcome, 'kept') FROM reports ORDER BY week"
    with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as sql:
        return {Week.parse(week): outcome for week, outcome in sql.execute(kept).fetchall()}


def withdraw(home: Home) -> dict[Week, bytes]:
    """After a no: delete all that could only have been sent under a yes, and the journal with it if that is all.

    Returns:
        The tokens that stay, of the reports that were built.

    Raises:
        sqlite3.Error, OSError: the disk does not let it.
    """
    tokens = built_tokens(home.journal_file)
    if not tokens:
        home.delete_journal()
        return {}
    with contextlib.closing(_connect(home.journal_file)) as sql, sql:
        sql.execute("BEGIN IMMEDIATE")
        _run(sql, _END_OF_CONSENT)
    return tokens


class Journal:
    """The journal of one consent; counts that were made under another one are deleted, never sent.

    Constructing it touches nothing. Methods raise ``sqlite3.Error`` or ``OSError`` when the disk does.

    Args:
        path: The file; it and its folder are made, for the owner alone, by the first write.
        consent: The granted consent in force.
        schema: The list of what may be counted; rows outside it are not read.
        now: For the weeks that have become too old.
    """

    def __init__(self, path: Path, consent: Consent, schema: Schema, now: datetime) -> None:
        if not consent.granted:
            raise ValueError("there is no journal without a consent")
        self._path = path
        self._era = (str(consent.since), ",".join(sorted(consent.purposes)), consent.notice)
        self._schema = schema
        self._oldest = Week.of(now - KEPT)

    def add(self, records: Sequence[Record]) -> None:
        """Count requests, all in one transaction; a week whose report is built counts no more."""
        rows = [(str(record.week), json.dumps(record.cell), record.buckets) for record in records]
        requests = Counter((week, cell) for week, cell, _ in rows)
        buckets = Counter((week, cell, *pair) for week, cell, found in rows for pair in found.items())
        with self._transaction(durable=False) as sql:
            for week in {week for week, _, _ in rows}:
                # The token exists from the first request on, so a preview and the report have the same name.
                sql.execute(
                    "INSERT OR IGNORE INTO reports (week, token) VALUES (?, ?)", (week, secrets.token_bytes(32))
                )
            sql.executemany(
                f"INSERT INTO requests SELECT ?, ?, ? FROM reports WHERE week = ? AND {_OPEN} "  # noqa: S608
                "ON CONFLICT DO UPDATE SET n = n + excluded.n",
                [(*key, n, key[0]) for key, n in requests.items()],
            )
            sql.executemany(
                f"INSERT INTO counts SELECT ?, ?, ?, ?, ? FROM reports WHERE week = ? AND {_OPEN} "  # noqa: S608
                "ON CONFLICT DO UPDATE SET n = n + excluded.n",
                [(*key, n, key[0]) for key, n in buckets.items()],
            )

    def reports(self) -> list[StoredReport]:
        """Every week that the journal knows of, the oldest first; [] when there is no journal."""
        if not self._path.exists():
            return []
        with self._transaction() as sql:
            rows = sql.execute("SELECT week, token, body, outcome FROM reports ORDER BY week").fetchall()
        return [StoredReport(Week.parse(week), token, body, outcome) for week, token, body, outcome in rows]

    def counts(self, week: Week) -> Counts:
        """The counts of a week whose report is not built."""
        cells: dict[CellKey, tuple[int, dict[str, list[int]]]] = {}
        with self._transaction() as sql:
            for cell, n in sql.execute("SELECT cell, n FROM requests WHERE week = ?", (str(week),)):
                key = self._key(cell)
                if key is not None and n > 0:
                    cells[key] = (n, {})
            rows = sql.execute("SELECT cell, metric, bucket, n FROM counts WHERE week = ?", (str(week),)).fetchall()
        for cell, name, bucket, n in rows:
            key, metric = self._key(cell), self._schema.metric.get(name)
            if key in cells and metric is not None and 0 <= bucket < metric.buckets and n > 0:
                cells[key][1].setdefault(name, [0] * metric.buckets)[bucket] += n
        return Counts(
            week,
            {
                key: CellCounts(n, {name: tuple(units) for name, units in histograms.items()})
                for key, (n, histograms) in cells.items()
            },
        )

    def build(self, week: Week, body: bytes) -> bytes | None:
        """Fix the bytes of a week's report before they are first sent; its counts are needed no more.

        Returns:
            The bytes to send: the given ones, or those that another process fixed before; None when the
            report was withdrawn meanwhile.
        """
        with self._transaction() as sql:
            sql.execute(f"UPDATE reports SET body = ? WHERE week = ? AND {_OPEN}", (body, str(week)))  # noqa: S608
            sql.execute("DELETE FROM requests WHERE week = ?", (str(week),))
            sql.execute("DELETE FROM counts WHERE week = ?", (str(week),))
            fixed = sql.execute("SELECT body FROM reports WHERE week = ?", (str(week),)).fetchone()
        return None if fixed is None or fixed[0] is None else bytes(fixed[0])

    def settle(self, week: Week, outcome: str) -> None:
        """Note that a report was "sent" or finally "refused", so that it is never sent again."""
        with self._transaction() as sql:
            sql.execute("UPDATE reports SET outcome = ? WHERE week = ?", (outcome, str(week)))

    def _key(self, cell: str) -> CellKey | None:
        """A stored cell, None unless the schema knows every word of it."""
        words = tuple(json.loads(cell))
        dimensions = self._schema.dimensions
        if len(words) != len(dimensions):
            return None
        known = all(word in d.vocabulary for word, d in zip(words, dimensions, strict=True))
        return words if known else None

    @contextlib.contextmanager
    def _transaction(self, *, durable: bool = True) -> Iterator[sqlite3.Connection]:
        """One transaction; not ``durable``, it survives a crash of the program, and perhaps not a power cut."""
        try:
            with contextlib.closing(_connect(self._path)) as connection:
                if not durable:  # a busy disk takes 20 ms to confirm a write, and a request must not wait for it
                    connection.execute("PRAGMA synchronous = OFF")
                with connection:
                    connection.execute("BEGIN IMMEDIATE")
                    self._prepare(connection)
                    yield connection
        except sqlite3.DatabaseError as error:
            if type(error) is sqlite3.DatabaseError:  # damaged, or no database at all: nothing to save in it
                self._path.unlink(missing_ok=True)
            raise

    def _prepare(self, sql: sqlite3.Connection) -> None:
        """Make the tables, and delete what is too old or was counted under another consent."""
        if sql.execute("PRAGMA user_version").fetchone() != (_LAYOUT,):
            _run(sql, _TABLES)
            sql.execute(f"PRAGMA user_version = {_LAYOUT}")
        if sql.execute("SELECT since, purposes, notice FROM consent").fetchone() != self._era:
            _run(sql, _END_OF_CONSENT)
            sql.execute("INSERT INTO consent VALUES (?, ?, ?)", self._era)
        for table in ("requests", "counts", "reports"):
            sql.execute(f"DELETE FROM {table} WHERE week < ?", (str(self._oldest),))  # noqa: S608  # our names


def _connect(path: Path) -> sqlite3.Connection:
    make_private_folder(path.parent)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    connection = sqlite3.connect(path, timeout=_WAIT, isolation_level=None)
    connection.execute("PRAGMA secure_delete = ON")  # what is deleted is overwritten, not only forgotten
    return connection


def _run(sql: sqlite3.Connection, script: str) -> None:
    """Run statements inside the transaction that is open; ``executescript`` would commit it."""
    for statement in filter(str.strip, script.split(";")):
        sql.execute(statement)

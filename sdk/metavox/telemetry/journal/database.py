"""The journal's one small SQLite file: shared by processes, opened for one transaction at a time, never in the way.

Whoever deletes the file has deleted the journal. A process that is killed leaves it whole, since SQLite's rollback
journal survives it; a full disk refuses a transaction and keeps what was there.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from metavox.telemetry.home.private_files import make_private_folder
from metavox.telemetry.journal.forks import transactions

PATIENCE = 1.0
"""Seconds to wait for another process's transaction, which takes about a millisecond."""
LARGEST = 2**20
"""Bytes that the file may grow to; what does not fit is not counted."""

_PAGE = 4096
_LAYOUT = 3
_TABLES = """
DROP TABLE IF EXISTS consent;
DROP TABLE IF EXISTS requests;
DROP TABLE IF EXISTS counts;
DROP TABLE IF EXISTS cells;
DROP TABLE IF EXISTS reports;
CREATE TABLE consent (since TEXT NOT NULL, purposes TEXT NOT NULL, notice TEXT NOT NULL, list TEXT NOT NULL);
CREATE TABLE cells (
    week TEXT NOT NULL, cell TEXT NOT NULL, requests INTEGER NOT NULL, buckets TEXT NOT NULL,
    PRIMARY KEY (week, cell)
);
CREATE TABLE reports (
    week TEXT PRIMARY KEY, token BLOB NOT NULL, due_at INTEGER NOT NULL, body BLOB, outcome TEXT,
    collector TEXT, tries INTEGER NOT NULL DEFAULT 0, tried_at INTEGER, busy_until INTEGER
);
"""
# A report is open (no body), then built (a body, never to change again), then has an outcome: sent, refused or
# withdrawn (the consent ended after it was tried, and perhaps sent: of such a one only the token stays).
END_OF_CONSENT = """
DELETE FROM consent;
DELETE FROM cells;
DELETE FROM reports WHERE tries = 0;
UPDATE reports SET body = NULL, outcome = coalesce(outcome, 'withdrawn');
"""

Era = tuple[str, str, str, str]
"""One consent to one list, as the journal knows it: since when, to which purposes, words and list."""


class OtherLayout(sqlite3.OperationalError):
    """The file was written by another version of MetaVox; an earlier one's is begun anew by the next count."""


@contextlib.contextmanager
def transaction(
    path: Path, era: Era, oldest: str, *, durable: bool, patience: float
) -> Iterator[sqlite3.Connection]:
    """One transaction of a consent's journal; what another consent counted, and what is too old, is deleted first.

    Args:
        path: The file; it and its folder are made, for the owner alone.
        era: The consent.
        oldest: The first week that is kept.
        durable: Whether it must survive a power cut too, and not only a crash of the program.
        patience: Seconds to wait for other processes, and as many for this one's other threads.

    Raises:
        sqlite3.Error, OSError: when the disk does; a damaged file is set aside.
    """
    with transactions.within(patience), setting_aside(path), contextlib.closing(_connect(path, patience)) as sql:
        sql.execute("PRAGMA secure_delete = ON")  # what is deleted is overwritten, not only forgotten
        sql.execute(f"PRAGMA max_page_count = {LARGEST // _PAGE}")
        if not durable:  # a busy disk takes 20 ms to confirm a write, and a program's end must not wait for it
            sql.execute("PRAGMA synchronous = OFF")
        with sql:
            sql.execute("BEGIN IMMEDIATE")
            _prepare(sql, era, oldest)
            yield sql


@contextlib.contextmanager
def existing(path: Path, *, write: bool = False) -> Iterator[sqlite3.Connection]:
    """The journal as it is, under whatever consent; makes no file. Raises sqlite3.Error, OSError."""
    mode = "rw" if write else "ro"
    with transactions, setting_aside(path) if write else contextlib.nullcontext():
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}", uri=True, timeout=PATIENCE)
        with contextlib.closing(connection) as sql, sql:
            if write:
                sql.execute("PRAGMA secure_delete = ON")
            if sql.execute("PRAGMA user_version").fetchone() != (_LAYOUT,):
                raise OtherLayout("the journal was written by another version of MetaVox")
            yield sql


@contextlib.contextmanager
def setting_aside(path: Path) -> Iterator[None]:
    """Where the file turns out to be damaged, or no database at all, move it away; everything is off then."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        if type(error) is sqlite3.DatabaseError:
            os.replace(path, path.with_name(path.name + ".damaged"))
            path.with_name(path.name + "-journal").unlink(missing_ok=True)  # it belonged to the damaged one
        raise


def run(sql: sqlite3.Connection, script: str) -> None:
    """Run statements inside the transaction that is open; ``executescript`` would commit it."""
    for statement in filter(str.strip, script.split(";")):
        sql.execute(statement)


def _connect(path: Path, patience: float) -> sqlite3.Connection:
    make_private_folder(path.parent)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    return sqlite3.connect(path, timeout=patience, isolation_level=None)


def _prepare(sql: sqlite3.Connection, era: Era, oldest: str) -> None:
    (layout,) = sql.execute("PRAGMA user_version").fetchone()
    if layout > _LAYOUT:  # a later release is used beside this one, and its tokens are nobody's to drop
        raise OtherLayout("the journal was written by a later version of MetaVox")
    if layout < _LAYOUT:
        run(sql, _TABLES)
        sql.execute(f"PRAGMA user_version = {_LAYOUT}")
    if sql.execute("SELECT since, purposes, notice, list FROM consent").fetchone() != era:
        run(sql, END_OF_CONSENT)
        sql.execute("INSERT INTO consent VALUES (?, ?, ?, ?)", era)
    sql.execute("DELETE FROM cells WHERE week < ?", (oldest,))
    sql.execute("DELETE FROM reports WHERE week < ?", (oldest,))

"""What SQLite alone needs: a file for its owner, a log that is emptied, transactions that begin as said."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import URL

from metavox_collector.errors import StoreUnavailable, WrongDatabase

WRITES = "metavox_writes"
"""The execution option of a transaction that will write."""

_TRIES = 3


def require_file(url: URL) -> None:
    """Refuse a database that is no file; raises WrongDatabase."""
    named = url.database or ":memory:"
    if named == ":memory:" or named.startswith("file:") or url.query or Path(named).is_dir():
        raise WrongDatabase("an SQLite database must be a file and nothing else, like sqlite:///collector.db")


def make_private(url: URL) -> None:
    """Make the file for its owner alone, unless it is there; SQLite gives its log the same permissions."""
    with suppress(OSError):  # it is there, or SQLite itself will say what is wrong
        os.close(os.open(str(url.database), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def prepare(engine: Engine, busy_timeout: float) -> None:
    """Set up every connection of an engine, and how its transactions begin."""

    @event.listens_for(engine, "connect")
    def _on_connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # SQLAlchemy's BEGIN below, not the driver's own late one
        for pragma in (
            f"busy_timeout={int(busy_timeout * 1000)}",
            "synchronous=FULL",
            "foreign_keys=ON",
            "cache_size=-16384",  # in KiB: the inner pages of a week of some million reports
            "secure_delete=ON",  # destroyed reports are overwritten, not only unlinked
            "temp_store=MEMORY",  # nothing that is staged goes into a file under /var/tmp
        ):
            connection.execute(f"PRAGMA {pragma}").close()
        _keep_a_log(connection, busy_timeout)

    @event.listens_for(engine, "begin")
    def _on_begin(connection: Connection) -> None:
        # A transaction that begins by reading cannot become a writer once somebody else has written.
        writes = connection.get_execution_options().get(WRITES, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _keep_a_log(connection: Any, busy_timeout: float) -> None:
    """Switch to a write-ahead log; of several that do so at once on a new file SQLite has all but one fail."""
    until = time.monotonic() + busy_timeout
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL").close()
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > until:
                raise
        time.sleep(0.01)


@contextmanager
def turn(url: URL) -> Iterator[bool]:
    """Whether no other process has the turn; this one then has it until the block ends, or its own end.

    A lock on an empty database beside ours, for one on ours would keep senders waiting.
    """
    beside = url.set(database=f"{url.database}-housekeeping")
    make_private(beside)
    # It is entered and left on different threads, one after the other.
    lock = sqlite3.connect(str(beside.database), timeout=0, isolation_level=None, check_same_thread=False)
    with closing(lock):
        yield _is_taken(lock)


def _is_taken(lock: sqlite3.Connection) -> bool:
    try:
        lock.execute("BEGIN EXCLUSIVE").close()
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            return False
        raise StoreUnavailable(f"the database's folder cannot be used now: {error}", type(error).__name__) from None
    return True


def empty_log(engine: Engine) -> bool:
    """Write the whole write-ahead log into the database and truncate it; False while a reader prevents that.

    Each of a few tries waits for readers as long as the busy timeout says.
    """
    with engine.connect() as connection:
        cursor = connection.connection.cursor()
        try:
            return any(_truncated(cursor) for _ in range(_TRIES))
        finally:
            cursor.close()


def _truncated(cursor: Any) -> bool:
    # A busy checkpoint is no error: the first column of its row says so (https://sqlite.org/pragma.html).
    busy, _, _ = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return not busy

"""SQLite: one database -> a new file, table by table.

SQLite's own online backup copies pages, and with them every staged report and what is left of deleted ones in the
unused parts of pages. Here rows are copied, out of one snapshot, and what is not to be in a copy never touches it.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from metavox_collector.errors import StoreUnavailable, WrongDatabase
from metavox_collector.store import sqlite

_STAGED, _TOMBSTONES = "staged_cell_", "deleted_report"


def file_of(url: str) -> Path:
    """The file of an SQLite database; raises WrongDatabase if it is none."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise WrongDatabase("the database's URL is not understood; write it like sqlite:///collector.db") from None
    sqlite.require_file(parsed)
    return Path(str(parsed.database))


def copy(source: Path, target: Path, *, with_staged: bool) -> None:
    """Copy a database while others use it; the target is on the disk when this returns.

    Args:
        source: The database's file.
        target: An empty file, whose permissions stay as they are.
        with_staged: Whether the staged reports are copied too, and what keeps deleted ones out.

    Raises:
        WrongDatabase: if the source is no database.
        StoreUnavailable: if it cannot be read or the copy cannot be written.
    """
    with _told(), closing(sqlite3.connect(_uri(target), uri=True, isolation_level=None)) as connection:
        connection.execute("PRAGMA main.journal_mode=OFF").close()  # a copy that was not finished is thrown away
        connection.execute("PRAGMA main.synchronous=OFF")
        connection.execute("ATTACH DATABASE ? AS source", (_uri(source),))
        connection.execute("BEGIN")
        for name, sql in _tables(connection, with_staged=with_staged):
            connection.execute(sql)
            if with_staged or name != _TOMBSTONES:
                connection.execute(f'INSERT INTO main."{name}" SELECT * FROM source."{name}"')  # noqa: S608  # our names
        connection.execute("COMMIT")
    _flush(target)


def ledger_head(source: Path) -> str | None:
    """The hash of the last ledger entry; None when nothing was ever released.

    Raises:
        WrongDatabase: if the source is no collector's database.
        StoreUnavailable: if it cannot be read.
    """
    return _first(source, "SELECT hash FROM ledger ORDER BY sequence DESC LIMIT 1")


def revision(source: Path) -> str | None:
    """The last migration that ran; None when none has. Raises as :func:`ledger_head`."""
    return _first(source, "SELECT version_num FROM alembic_version")


def _first(source: Path, query: str) -> str | None:
    with _told(), closing(sqlite3.connect(_uri(source), uri=True)) as connection:
        row = connection.execute(query).fetchone()
        return None if row is None else str(row[0])


def _tables(connection: sqlite3.Connection, *, with_staged: bool) -> list[tuple[str, str]]:
    """The name of each table and the statement that makes it."""
    rows = connection.execute("SELECT name, sql FROM source.sqlite_master WHERE type = 'table'").fetchall()
    return [(name, sql) for name, sql in rows if with_staged or not name.startswith(_STAGED)]


def _uri(file: Path) -> str:
    return f"file:{quote(str(file.absolute()))}?mode=rw"  # never makes one; only a writer clears away its own log


def _flush(file: Path) -> None:
    with file.open("rb") as opened:
        os.fsync(opened.fileno())


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        raise StoreUnavailable(f"the copy could not be made: {error}", type(error).__name__) from None
    except sqlite3.DatabaseError as error:
        raise WrongDatabase(f"that is no collector's database: {error}") from None

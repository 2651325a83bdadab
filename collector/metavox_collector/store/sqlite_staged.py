"""What is staged, in SQLite: a table for each week, so that a close can drop it and overwrite every page of it.

SQLite's ``secure_delete`` overwrites a row where it lies, and not the copies that are left in the unused part of a
page when SQLite splits one. A page that is freed is overwritten whole. So after single deletions a week moves, a
piece at a time, to a table beside its own, which takes new reports meanwhile; the old one is then dropped. Each
piece is a transaction: neither memory nor the time for which senders wait grows with the number of reports, a crash
loses nothing, and whoever comes next goes on, in this process or another. What there is to do is told by which
tables exist.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

from sqlalchemy import Connection

from metavox_collector.store.driver import ask
from metavox_collector.store.rows import StagedRow

T = TypeVar("T")

_PREFIX, _ANEW = "staged_cell_", "_anew"
_COLUMNS = "report_id, position, flags, cell, histograms"
_NAMED = "SELECT name FROM sqlite_master WHERE type = 'table' AND name GLOB 'staged_cell_[0-9]*' ORDER BY name"
_CHUNKS = (256, 64, 16, 4, 1)
"""Rows of one statement: of few sizes, so that each is prepared once; five times 256 is below every SQLite's limit
of variables."""

_REPORTS_AT_A_TIME = 500  # some tens of milliseconds


def weeks(connection: Connection) -> list[int]:
    """The weeks that have a table."""
    return sorted({int(name[len(_PREFIX) :].removesuffix(_ANEW)) for name in _names(connection)})


def add(connection: Connection, week: int, reports: Mapping[bytes, Sequence[StagedRow]]) -> int:
    """Insert the reports whose ids are not in the week; returns how many that were."""
    tables = _tables(connection, week) or [_make(connection, week)]
    known = set().union(*(_known(connection, table, list(reports)) for table in tables))
    new = sorted(reports.keys() - known)  # by name, so that those of one page are together
    _insert(connection, tables[-1], [row for name in new for row in reports[name]])
    return len(new)


def buried(connection: Connection, tombstones: Sequence[bytes]) -> set[bytes]:
    """Those of the tombstones that are there."""
    return _among(connection, "SELECT tombstone FROM deleted_report WHERE tombstone", tombstones)


def rows(connection: Connection, week: int, batch: int) -> Iterator[Sequence[StagedRow]]:
    """All rows of a week by report and position, about so many at a time."""
    parts = [f"SELECT {_COLUMNS} FROM {table}" for table in _tables(connection, week)]  # noqa: S608  # our names
    if not parts:
        return
    cursor = connection.connection.cursor()  # the driver's own: SQLAlchemy's rows cost as much as reading them
    try:
        cursor.execute(f"{' UNION ALL '.join(parts)} ORDER BY report_id, position")
        while found := cursor.fetchmany(batch):
            yield [StagedRow._make(row) for row in found]
    finally:
        cursor.close()


def find(connection: Connection, report_id: bytes) -> list[int]:
    """The weeks in which a report of this name is staged."""
    return [
        week
        for week in weeks(connection)
        if any(_known(connection, table, [report_id]) for table in _tables(connection, week))
    ]


def remove(connection: Connection, week: int, report_id: bytes) -> None:
    """Delete the report of this name from a week."""
    for table in _tables(connection, week):
        connection.exec_driver_sql(f"DELETE FROM {table} WHERE report_id = ?", (report_id,))  # noqa: S608


def count(connection: Connection, week: int) -> int:
    """How many reports of a week are staged."""
    return sum(
        int(connection.exec_driver_sql(f"SELECT count(*) FROM {table} WHERE position = 0").scalar_one())  # noqa: S608
        for table in _tables(connection, week)
    )


def any_flagged(connection: Connection, week: int, flag: int) -> bool:
    """Whether a report of a week has a flag."""
    return any(
        connection.exec_driver_sql(f"SELECT 1 FROM {table} WHERE flags & ? LIMIT 1", (flag,)).first()  # noqa: S608
        for table in _tables(connection, week)
    )


def is_free(_connection: Connection, _week: int) -> bool:
    """Always: there is one writer at a time."""
    return True


def destroy(connection: Connection, week: int) -> None:
    """Drop a week; its pages are overwritten."""
    for table in _tables(connection, week):
        connection.exec_driver_sql(f"DELETE FROM {table}")  # noqa: S608  # to drop it full would take its size in memory
        connection.exec_driver_sql(f"DROP TABLE {table}")


def moving(connection: Connection) -> list[int]:
    """The weeks that have moved in part."""
    return [int(name[len(_PREFIX) : -len(_ANEW)]) for name in _names(connection) if name.endswith(_ANEW)]


def begin_to_move(connection: Connection, week: int) -> None:
    """Make the table to which a week moves, if there is any of it."""
    if _tables(connection, week):
        _make(connection, week, _ANEW)


def move(connection: Connection, week: int) -> None:
    """Move the first reports by name; with the last of them the old table goes. Nothing if no week moves."""
    if week not in moving(connection):
        return
    old, new = f"{_PREFIX}{week}", f"{_PREFIX}{week}{_ANEW}"
    end = connection.exec_driver_sql(
        f"SELECT report_id FROM {old} WHERE position = 0 ORDER BY report_id LIMIT 1 OFFSET ?",  # noqa: S608
        (_REPORTS_AT_A_TIME,),
    ).scalar()
    which, parameters = ("", ()) if end is None else (" WHERE report_id < ?", (end,))
    connection.exec_driver_sql(f"INSERT INTO {new} SELECT * FROM {old}{which}", parameters)  # noqa: S608
    if end is None:
        connection.exec_driver_sql(f"DROP TABLE {old}")
        connection.exec_driver_sql(f"ALTER TABLE {new} RENAME TO {old}")
    else:
        connection.exec_driver_sql(f"DELETE FROM {old}{which}", parameters)  # noqa: S608


def _names(connection: Connection) -> list[str]:
    return [name for (name,) in ask(connection, _NAMED)]


def _tables(connection: Connection, week: int) -> list[str]:
    """The tables of a week; the last of them takes new reports."""
    base = f"{_PREFIX}{week}"
    return [name for name in _names(connection) if name in (base, base + _ANEW)]


def _make(connection: Connection, week: int, end: str = "") -> str:
    name = f"{_PREFIX}{week}{end}"
    connection.exec_driver_sql(
        f"CREATE TABLE {name} (report_id BLOB NOT NULL, position INTEGER NOT NULL, flags INTEGER NOT NULL, "
        "cell BLOB NOT NULL, histograms BLOB NOT NULL, PRIMARY KEY (report_id, position)) WITHOUT ROWID"
    )
    return name


def _known(connection: Connection, table: str, ids: Sequence[bytes]) -> set[bytes]:
    return _among(connection, f"SELECT report_id FROM {table} WHERE position = 0 AND report_id", ids)  # noqa: S608


def _among(connection: Connection, select: str, values: Sequence[bytes]) -> set[bytes]:
    """What a query finds whose last words are to be ``IN`` and some values."""
    found: set[bytes] = set()
    for start in range(0, len(values), _CHUNKS[0]):
        part = values[start : start + _CHUNKS[0]]
        size = min(size for size in _CHUNKS if size >= len(part))
        marks = ", ".join("?" * size)
        padded = [*part, *[part[-1]] * (size - len(part))]
        found.update(value for (value,) in ask(connection, f"{select} IN ({marks})", padded))
    return found


def _insert(connection: Connection, table: str, rows: Sequence[StagedRow]) -> None:
    for part in _chunked(rows):
        marks = ", ".join(["(?, ?, ?, ?, ?)"] * len(part))
        statement = f"INSERT INTO {table} ({_COLUMNS}) VALUES {marks}"  # noqa: S608
        ask(connection, statement, [*itertools.chain.from_iterable(part)])


def _chunked(items: Sequence[T]) -> Iterator[Sequence[T]]:
    start = 0
    for size in _CHUNKS:
        while len(items) - start >= size:
            yield items[start : start + size]
            start += size

"""Writing the staged reports anew, a piece at a time, so that no byte is left of rows that were deleted among them.

SQLite's ``secure_delete`` overwrites a row where it lies, and not the copies that are left in the unused part of a
page when SQLite splits one. A page that is freed is overwritten whole. So there are two pairs of staging tables:
what is staged moves from one to the other, which takes new reports meanwhile, and the one that is then empty is
dropped and made again. Each piece is a transaction: neither memory nor the time for which senders wait grows with
the number of reports, a crash loses nothing, and whoever comes next goes on, in this process or another.

Elsewhere than in SQLite nothing moves, for PostgreSQL's VACUUM does it, which no transaction can hold.
"""

from __future__ import annotations

from sqlalchemy import Connection, Table, delete, insert, select

from metavox_collector.store import sqlite
from metavox_collector.store.tables import Staging, Tables

_REPORTS_AT_A_TIME = 500  # some tens of milliseconds


def receiving(connection: Connection, tables: Tables) -> Staging:
    """The tables that take new reports."""
    return tables.staging[_turn(connection, tables)]


def ask(connection: Connection, tables: Tables) -> None:
    """Note that rows were deleted, so that all that is staged by now has to move once."""
    _note(connection, tables, due=True)


def is_due(connection: Connection, tables: Tables) -> bool:
    """Whether there is anything to do."""
    if connection.dialect.name != "sqlite":
        return False
    asked = connection.scalar(select(tables.rewriting.c.due))
    return bool(asked) or _first(connection, _emptying(connection, tables).report) is not None


def do_a_piece(connection: Connection, tables: Tables) -> bool:
    """Move some reports; whether there is more to do."""
    if not is_due(connection, tables):
        return False
    if _first(connection, _emptying(connection, tables).report) is None:
        _make_anew(connection, tables)  # a close may have emptied it
        _note(connection, tables, receiving=1 - _turn(connection, tables), due=False)
    if _move(connection, _emptying(connection, tables), receiving(connection, tables)):
        _make_anew(connection, tables)
        sqlite.rewrite(connection, tables.deleted_report)
    return is_due(connection, tables)


def _turn(connection: Connection, tables: Tables) -> int:
    return connection.scalar(select(tables.rewriting.c.receiving)) or 0


def _emptying(connection: Connection, tables: Tables) -> Staging:
    return tables.staging[1 - _turn(connection, tables)]


def _note(connection: Connection, tables: Tables, **facts: int | bool) -> None:
    if not connection.execute(tables.rewriting.update().values(**facts)).rowcount:
        connection.execute(tables.rewriting.insert().values(**{"id": 1, "receiving": 0, "due": False, **facts}))


def _first(connection: Connection, report: Table, offset: int = 0) -> str | None:
    name: str | None = connection.scalar(
        select(report.c.report_id).order_by(report.c.report_id).limit(1).offset(offset)
    )
    return name


def _move(connection: Connection, source: Staging, target: Staging) -> bool:
    """Move the first reports by name; whether those were the last."""
    end = _first(connection, source.report, _REPORTS_AT_A_TIME)
    pairs = ((source.report, target.report), (source.cell, target.cell))
    for old, new in pairs:
        some = select(old) if end is None else select(old).where(old.c.report_id < end)
        connection.execute(insert(new).from_select([column.name for column in old.c], some))
    for old, _ in reversed(pairs):
        connection.execute(delete(old) if end is None else delete(old).where(old.c.report_id < end))
    return end is None


def _make_anew(connection: Connection, tables: Tables) -> None:
    """Drop the tables that are empty, for the last page of a table is not overwritten otherwise."""
    empty = _emptying(connection, tables)
    tables.metadata.drop_all(connection, tables=[empty.cell, empty.report])
    tables.metadata.create_all(connection, tables=[empty.report, empty.cell])

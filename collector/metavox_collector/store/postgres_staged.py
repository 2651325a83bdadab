"""What is staged, in PostgreSQL: a partition for each week, which a close drops.

Rows are written to and read from a week's partition itself, so that no lock on the parent stands between the weeks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from psycopg.errors import LockNotAvailable, UndefinedTable
from sqlalchemy import Connection

from metavox_collector.errors import BeingClosed, StoreUnavailable
from metavox_collector.store import postgres
from metavox_collector.store.driver import ask
from metavox_collector.store.rows import StagedRow, week_number, week_of
from metavox_privacy.week import Week

_PREFIX = "staged_cell_"
_COLUMNS = "report_id, position, flags, cell, histograms"
_PARTITIONS = (
    "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "
    "WHERE i.inhparent = 'staged_cell'::regclass ORDER BY c.relname"
)
UNSORTED = "SET LOCAL enable_sort = off"
"""So that a week is read by its key: to sort it would leave a copy of it in temporary files, on a disk."""

# The first row of a report is its claim: of two deliveries at the same moment the later one waits for the other's
# commit, and then none of its rows is taken. By name, so that two of them cannot wait for each other.
_ADD = """
WITH given AS (
    SELECT * FROM unnest(%b::bytea[], %b::smallint[], %b::smallint[], %b::bytea[], %b::bytea[])
        AS row ({columns})
), claimed AS (
    INSERT INTO {table} (week, {columns}) SELECT {week}, * FROM given WHERE position = 0 ORDER BY report_id
    ON CONFLICT DO NOTHING RETURNING report_id
), rest AS (
    INSERT INTO {table} (week, {columns})
    SELECT {week}, given.* FROM given JOIN claimed USING (report_id) WHERE given.position > 0
)
SELECT count(*) FROM claimed
"""


def weeks(connection: Connection) -> list[int]:
    """The weeks that have a partition."""
    return [int(name[len(_PREFIX) :]) for (name,) in ask(connection, _PARTITIONS)]


def make(connection: Connection, week: int) -> None:
    """Make a week's partition, unless it is there."""
    if _exists(connection, week):
        return
    postgres.lock_partitions(connection)
    if not _exists(connection, week):
        name = f"{_PREFIX}{week}"
        # Attached and not made as a partition, which would wait for whoever reads the parent, a backup above all.
        connection.exec_driver_sql(f"CREATE TABLE {name} (LIKE staged_cell INCLUDING ALL)")
        connection.exec_driver_sql(f"ALTER TABLE staged_cell ATTACH PARTITION {name} FOR VALUES IN ({week})")


def make_all(connection: Connection, oldest: int, newest: int) -> None:
    """Make the partitions of all weeks from one to another."""
    week, last = week_of(oldest), week_of(newest)
    while week <= last:
        make(connection, week_number(week))
        week = Week.of(week.end)


def add(connection: Connection, week: int, reports: Mapping[bytes, Sequence[StagedRow]]) -> int:
    """Insert the reports whose ids are not in the week; returns how many that were."""
    make(connection, week)
    rows = [row for name in sorted(reports) for row in reports[name]]
    columns = [list(column) for column in zip(*rows, strict=True)]
    statement = _ADD.format(table=f"{_PREFIX}{week}", week=week, columns=_COLUMNS)
    ((number,),) = ask(connection, statement, columns)
    return int(number)


def buried(connection: Connection, tombstones: Sequence[bytes]) -> set[bytes]:
    """Those of the tombstones that are there."""
    query = "SELECT tombstone FROM deleted_report WHERE tombstone = ANY(%b)"
    return {name for (name,) in ask(connection, query, [list(tombstones)])}


def rows(connection: Connection, week: int, batch: int) -> Iterator[Sequence[StagedRow]]:
    """All rows of a week by report and position, about so many at a time, by a cursor of the server's."""
    if not _held(connection, week):
        return
    driver = connection.connection.driver_connection
    assert driver is not None
    connection.exec_driver_sql(UNSORTED)
    with driver.cursor("staged_rows", binary=True) as cursor:
        cursor.execute(query(week))
        while found := cursor.fetchmany(batch):
            yield [StagedRow._make(row) for row in found]


def query(week: int) -> str:
    """Selects all rows of a week that has a partition, by report and position, in the order of its key."""
    return f"SELECT {_COLUMNS} FROM {_PREFIX}{week} WHERE week = {week} ORDER BY report_id, position"  # noqa: S608


def find(connection: Connection, report_id: bytes) -> list[int]:
    """The weeks in which a report of this name is staged.

    Raises:
        BeingClosed: if it would have to wait to look into one of the weeks, and all senders with it.
    """
    mine = weeks(connection)
    if not mine:
        return []
    try:  # the parent first, as DROP does, or the two would wait for each other
        tables = ", ".join(["ONLY staged_cell", *[f"{_PREFIX}{week}" for week in mine]])
        ask(connection, f"LOCK TABLE {tables} IN ACCESS SHARE MODE NOWAIT")
    except LockNotAvailable:
        raise BeingClosed(mine) from None
    query = "SELECT week FROM staged_cell WHERE week = ANY(%s) AND report_id = %s AND position = 0"
    return list(connection.exec_driver_sql(query, (mine, report_id)).scalars())


def remove(connection: Connection, week: int, report_id: bytes) -> None:
    """Delete the report of this name from a week; raises BeingClosed."""
    if not postgres.share_week(connection, week):
        raise BeingClosed([week])
    connection.exec_driver_sql(f"DELETE FROM {_PREFIX}{week} WHERE report_id = %s", (report_id,))  # noqa: S608


def count(connection: Connection, week: int) -> int:
    """How many reports of a week are staged."""
    if not _held(connection, week):
        return 0
    query = f"SELECT count(*) FROM {_PREFIX}{week} WHERE position = 0"  # noqa: S608
    return int(connection.exec_driver_sql(query).scalar_one())


def cells(connection: Connection, week: int) -> int:
    """How many rows a week has."""
    if not _exists(connection, week):
        return 0
    return int(connection.exec_driver_sql(f"SELECT count(*) FROM {_PREFIX}{week}").scalar_one())  # noqa: S608


def any_flagged(connection: Connection, week: int, flag: int) -> bool:
    """Whether a report of a week has a flag."""
    query = f"SELECT 1 FROM {_PREFIX}{week} WHERE flags & %s <> 0 LIMIT 1"  # noqa: S608
    return connection.exec_driver_sql(query, (flag,)).first() is not None


def is_free(connection: Connection, week: int) -> bool:
    """Whether nobody closes a week or writes it anew; nobody will until this transaction ends."""
    return postgres.try_week(connection, week)


def destroy(connection: Connection, week: int) -> None:
    """Drop a week's partition."""
    connection.exec_driver_sql(f"DROP TABLE IF EXISTS {_PREFIX}{week}")


def moving(_connection: Connection) -> list[int]:
    """None: a week is written anew at once."""
    return []


def begin_to_move(connection: Connection, week: int) -> None:
    """Write a week anew by name: neither a copy of a deleted row is left in its files, nor the order of arrival.

    Raises:
        StoreUnavailable: if a deleted row would be, because a transaction that began before still sees it.
    """
    if not _exists(connection, week):
        return
    name = f"{_PREFIX}{week}"
    ask(connection, f"CLUSTER {name} USING {name}_pkey")
    # The new index counts the dead rows that CLUSTER had to keep and the table does not; exactly up to 2**24 rows.
    counted = "SELECT count(DISTINCT reltuples) FROM pg_class WHERE oid IN (%s::regclass, %s::regclass)"
    if ask(connection, counted, (name, f"{name}_pkey")) != [(1,)]:
        raise StoreUnavailable(
            "an older transaction keeps what was deleted in PostgreSQL's files; end it, or wait for the next try",
            "an older transaction",
        )


def move(_connection: Connection, _week: int) -> None:
    """Nothing: that was all."""


def _held(connection: Connection, week: int) -> bool:
    """Whether a week has a partition, which is not dropped then before this transaction ends."""
    if not _exists(connection, week):
        return False
    try:
        with connection.begin_nested():
            ask(connection, f"LOCK TABLE {_PREFIX}{week} IN ACCESS SHARE MODE")
    except UndefinedTable:  # it was dropped, which a snapshot that is older does not show
        return False
    return True


def _exists(connection: Connection, week: int) -> bool:
    # Not by to_regclass, which remembers that there was none while another transaction made one.
    return week in weeks(connection)
